"""fptq eval: perplexity under every protocol, KL divergence, and texts that it cannot use."""
import hashlib
import math
import pathlib
import signal
import statistics
import subprocess
import time
import unittest

import harness
import tiny

# 1,200 bytes, and with BOS as many tokens more: 4 windows of 256.
TEXT = 'the quick brown fox jumps over the lazy dog.\n' * 26 + 'and then it slept for a day..\n'

PERPLEXITY_KEYS = {'protocol', 'value', 'stderr', 'nll', 'tokens', 'words', 'bytes', 'ctx'}
KL_KEYS = {'mean', 'stderr', 'median', 'p90', 'p99', 'max', 'top1_agreement', 'rms_delta_p', 'tokens'}
RESOURCE_KEYS = {'disk_bytes', 'weights_bytes', 'peak_rss_bytes', 'load_s', 'prefill_tok_s',
                 'decode_tok_s', 'gpu_peak_bytes'}


class Eval(harness.ProgramTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_checkpoint(cls.folder / 'model')
        cls.quantized = cls.folder / 'quantized'
        harness.fptq('quantize', cls.model, '-o', cls.quantized, '--recipe',
                     'rtn').check_returncode()
        cls.text = cls.folder / 'text'
        cls.text.write_text(TEXT)

    def perplexities(self, *flags, model=None):
        found = self.json_of('eval', model or self.model, '--ppl', self.text, *flags)
        return {entry['protocol']: entry for entry in found['ppl']}

    def test_every_protocol_side_by_side(self):
        found = self.perplexities('--protocol', 'all')
        self.assertEqual({'gptq', 'llamacpp', 'lm-eval'}, set(found))
        for protocol, entry in found.items():
            self.assertLessEqual(PERPLEXITY_KEYS, set(entry))
            per = entry['words'] if protocol == 'lm-eval' else entry['tokens']
            self.assertAlmostEqual(1, entry['value'] / math.exp(entry['nll'] / per), places=9)
            self.assertEqual(256, entry['ctx'])
            # Random weights know nothing: each of the 320 rows is about as probable.
            self.assertAlmostEqual(math.log(tiny.VOCABULARY), entry['nll'] / entry['tokens'], delta=1)
            self.assertEqual(entry['windows'], len(entry['window_nll']))
            self.assertEqual(entry['tokens'], sum(entry['window_tokens']))
            self.assertAlmostEqual(entry['nll'], sum(entry['window_nll']), places=6)
            self.assertTrue(entry['bos'] and entry['all_windows'])
            low, high = entry['ci95']
            self.assertTrue(low < entry['value'] < high)
            self.assertEqual(('windows', entry['windows']),
                             (entry['cluster_unit'], entry['clusters']))
            self.assertEqual(hashlib.sha256(TEXT.encode()).hexdigest(), entry['text_sha256'])
        self.assertEqual(4 * 255, found['gptq']['tokens'])
        self.assertEqual(4 * 127, found['llamacpp']['tokens'])
        lm_eval = found['lm-eval']
        # BOS is the prefix, and scored where the tokenizer adds its own.
        self.assertEqual((len(TEXT) + 1, len(TEXT)), (lm_eval['tokens'], lm_eval['bytes']))
        self.assertAlmostEqual(lm_eval['nll'] / len(TEXT) / math.log(2), lm_eval['bits_per_byte'])
        self.assertAlmostEqual(math.exp(lm_eval['nll'] / len(TEXT)), lm_eval['byte_perplexity'])

    def test_one_protocol_alone_gives_the_same_numbers(self):
        every = self.perplexities('--protocol', 'all')
        for protocol in every:
            self.assertEqual({protocol: every[protocol]}, self.perplexities('--protocol', protocol))
        self.assertEqual(['gptq'], list(self.perplexities()))

    def test_what_published_figures_are_of(self):
        result = harness.fptq('eval', self.model, '--ppl', self.text, '--protocol', 'all')
        for how in ('gptq ctx 256 on this text compares with no published figure: those are of '
                    'WikiText-2 test (wiki.test.raw), --ctx 2048',
                    'wiki.test.raw), --ctx 512'):
            self.assertIn(how, result.stderr.decode())
        self.assertEqual([], self.perplexities()['gptq']['published'])

    def test_threads_do_not_change_a_digit(self):
        self.assertEqual(self.perplexities('-t', '1', model=self.quantized),
                         self.perplexities('-t', '3', model=self.quantized))

    def test_a_smaller_context_and_fewer_windows(self):
        entry = self.perplexities('--ctx', '64', '--windows', '3')['gptq']
        self.assertEqual((64, 3 * 63), (entry['ctx'], entry['tokens']))

    def test_what_was_not_measured_is_null(self):
        found = self.json_of('eval', self.quantized)
        self.assertEqual((str(self.quantized), 'w4g32-a8t'), (found['model'], found['scheme']))
        self.assertEqual(([], {}, None), (found['ppl'], found['tasks'], found['kl']))
        resources = found['resources']
        self.assertLessEqual(RESOURCE_KEYS, set(resources))
        for key in ('prefill_tok_s', 'decode_tok_s', 'gpu_peak_bytes'):
            self.assertIsNone(resources[key])
        self.assertEqual((self.quantized / 'model.safetensors').stat().st_size,
                         resources['disk_bytes'])

    def test_a_model_does_not_diverge_from_itself(self):
        kl = self.json_of('eval', self.model, '--kl', self.model, '--kl-text', self.text)['kl']
        self.assertLessEqual(KL_KEYS, set(kl))
        self.assertEqual((0, 0, 1, 0), (kl['mean'], kl['max'], kl['top1_agreement'],
                                        kl['rms_delta_p']))
        self.assertEqual(4 * 127, kl['tokens'])

    def test_a_quantized_model_diverges(self):
        kl = self.json_of('eval', self.quantized, '--kl', self.model, '--ppl', self.text)['kl']
        self.assertGreater(kl['mean'], 0)
        self.assertGreater(kl['stderr'], 0)
        for smaller, larger in (('median', 'p90'), ('p90', 'p99'), ('p99', 'max'), ('mean', 'max')):
            self.assertLessEqual(kl[smaller], kl[larger])

    def test_what_a_divergence_is_made_of(self):
        kl = self.json_of('eval', self.quantized, '--kl', self.model, '--kl-text', self.text)['kl']
        self.assertEqual([127] * 4, kl['window_tokens'])
        self.assertAlmostEqual(kl['mean'], sum(kl['window_kl']) / 4)
        self.assertAlmostEqual(kl['stderr'], statistics.stdev(kl['window_kl']) / 2)
        self.assertTrue(kl['ci95'][0] < kl['mean'] < kl['ci95'][1])
        for key in ('median', 'p90', 'p99', 'top1_agreement', 'rms_delta_p'):
            self.assertGreater(kl['stderr_of'][key], 0)
        self.assertAlmostEqual(1 - kl['flips'] / kl['tokens'], kl['top1_agreement'])
        bins = kl['by_confidence']
        self.assertEqual([0, .25, .5, .75, .9], [entry['from'] for entry in bins])
        self.assertEqual(kl['tokens'], sum(entry['tokens'] for entry in bins))
        self.assertEqual(kl['flips'], sum(entry['flips'] for entry in bins))
        histogram = kl['histogram']
        self.assertEqual((1e-6, 100), (histogram['edges'][0], histogram['edges'][-1]))
        self.assertEqual(kl['tokens'], sum(histogram['counts']) + histogram['below'] + histogram['above'])

    def test_a_divergence_is_shown_in_full(self):
        table = self.succeed('eval', self.quantized, '--kl', self.model, '--kl-text', self.text)
        for says in ('p99', 'same top token', '0.90 to 1.00',
                     '508 positions in 4 windows of 256; \u00b1: standard error over windows'):
            self.assertIn(says, table)

    def test_what_a_cache_costs_is_divergence(self):
        kl = {kv: self.json_of('eval', self.model, '--kl', self.model, '--kl-text', self.text,
                               '--kv', kv)['kl']['mean'] for kv in ('f32', 'bf16', 'int8')}
        self.assertEqual(0, kl['f32'])
        self.assertGreater(kl['bf16'], 0)
        self.assertGreater(kl['int8'], kl['bf16'])

    def test_the_budget_of_divergence(self):
        flags = ['eval', self.quantized, '--kl', self.model, '--kl-text', self.text, '--kl-budget']
        self.succeed(*flags, '100')
        result = harness.fptq(*flags, '0')
        self.assertEqual(1, result.returncode)
        self.assertIn('--kl-budget 0: ', result.stderr.decode())
        self.assertIn('w4g32-a8t', result.stdout.decode())  # the table is there all the same

    def test_divergence_needs_a_text_and_the_same_vocabulary(self):
        self.fail_with(2, 'eval', self.quantized, '--kl', self.model, says='--kl-text')
        config = tiny.config(vocab_size=384)
        other = tiny.write_checkpoint(self.folder / 'other', config)
        self.fail_with(2, 'eval', self.quantized, '--kl', other, '--kl-text', self.text,
                       says=['320', '384'])

    def test_texts_that_cannot_be_used(self):
        text = self.folder / 'short'
        for contents, says in (('', 'empty'), ('short', 'at least 256 tokens')):
            text.write_text(contents)
            for flags in (['--ppl', text], ['--kl', self.model, '--kl-text', text]):
                self.fail_with(3, 'eval', self.model, *flags, says=['short: ', 'expected', says])
        text.write_text('')
        self.fail_with(3, 'eval', self.model, '--ppl', text, '--protocol', 'lm-eval', says='empty')
        text.write_bytes(b'\xff' * 2000)
        self.fail_with(3, 'eval', self.model, '--ppl', text, says='UTF-8')
        self.fail_with(3, 'eval', self.model, '--ppl', self.folder / 'absent', says='absent')
        self.fail_with(3, 'eval', self.model, '--ppl', self.folder, says='regular file')

    def test_bytes_on_disk_by_kind(self):
        for model in (self.model, self.quantized):
            resources = self.json_of('eval', model)['resources']
            kinds = resources['disk_bytes_of']
            self.assertEqual(resources['disk_bytes'], sum(kinds.values()))
            for kind in ('embedding', 'linears', 'norms', 'other'):
                self.assertGreater(kinds[kind], 0)
            self.assertEqual([], resources['rounds'])

    def test_costs_of_fresh_processes(self):
        resources = self.json_of('eval', self.quantized, '--bench', '--bench-rounds', 2,
                                 '--bench-tokens', 5, '--bench-prompt', 40)['resources']
        self.assertEqual(2, len(resources['rounds']))
        for entry in resources['rounds']:
            self.assertEqual((40, 5), (entry['prompt_tokens'], len(entry['token_s'])))
            for key in ('load_s', 'first_token_s', 'prefill_tok_s', 'decode_tok_s'):
                low, high = resources['range_of'][key]
                self.assertTrue(0 < low <= entry[key] <= high)
                self.assertTrue(low <= resources[key] <= high)
            self.assertTrue(0 <= (entry['cpu_others_during'] or 0) <= 1)  # null: too short to tell
        times = sorted(each for entry in resources['rounds'] for each in entry['token_s'])
        self.assertAlmostEqual(statistics.median(times), resources['token_s_median'])
        self.assertLessEqual(resources['token_s_p95'], times[-1])
        self.assertIsNone(resources['gpu_peak_bytes'])
        # The process that measures holds nothing of an evaluation.
        self.assertGreater(resources['peak_rss_bytes'], 1 << 20)

    def test_measure_alone(self):
        found = self.json_of('measure', self.model, '--bench-tokens', 3)
        self.assertEqual(3, len(found['token_s']))
        self.assertEqual(256 - 3, found['prompt_tokens'])  # of 512: the model has 256 positions
        self.assertIn('first token', self.succeed('measure', self.model, '--bench-tokens', 3))

    def test_errors_of_a_fresh_process_are_those_of_the_program(self):
        bench = ['--bench', '--bench-rounds', 1, '--bench-tokens', 2]
        self.fail_with(3, 'eval', self.folder / 'absent', *bench, says='absent')
        self.fail_with(1, 'eval', self.model, *bench, '--require', 'w4g32-a8t',
                       says='--require w4g32-a8t: ')
        self.fail_with(4, 'eval', self.quantized, *bench, '--ram-limit', '10K',
                       says='10240 bytes (--ram-limit), got ')
        self.fail_with(2, 'eval', self.model, '--bench', '--bench-tokens', 0, says='--bench-tokens')

    def test_a_fresh_process_ends_with_the_program(self):
        for signal_number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
            # A session of its own, whose members can be counted afterwards.
            program = subprocess.Popen(
                [harness.PROGRAM, 'eval', self.model, '--bench', '--bench-rounds', '1000'],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                env=harness.clean_environment())
            self.wait_for_members(program.pid, lambda count: count > 1)
            program.send_signal(signal_number)
            _, stderr = program.communicate(timeout=60)
            self.assertEqual(code, program.returncode, stderr)
            if code == 130:
                self.assertIn(b'interrupted', stderr)
            self.wait_for_members(program.pid, lambda count: count == 0)

    def wait_for_members(self, group, enough):
        """Waits until the number of processes in a process group is as wanted."""
        for _ in range(1200):
            count = 0
            for stat in pathlib.Path('/proc').glob('[0-9]*/stat'):
                try:
                    fields = stat.read_text().rsplit(')', 1)[1].split()
                except (FileNotFoundError, ProcessLookupError):
                    continue  # it has just ended
                count += fields[0] != 'Z' and int(fields[2]) == group
            if enough(count):
                return
            time.sleep(0.05)
        self.fail(f'{count} processes in the group')

    def test_require_and_ram_limit(self):
        self.fail_with(1, 'eval', self.model, '--ppl', self.text, '--require', 'w4g32-a8t',
                       says='--require w4g32-a8t')
        stderr = self.fail_with(4, 'eval', self.quantized, '--ppl', self.text, '--ram-limit', '10K',
                                says='10240 bytes (--ram-limit), got ')
        needed = int(stderr.rsplit('got ')[-1].split()[0])
        self.succeed('eval', self.quantized, '--ppl', self.text, '--ram-limit', needed)
        both = ['eval', self.quantized, '--kl', self.quantized, '--kl-text', self.text]
        self.fail_with(4, *both, '--ram-limit', needed, says='--ram-limit')
        self.succeed(*both, '--ram-limit', 10 * needed)

    def test_unknown_protocol_and_flag(self):
        self.fail_with(2, 'eval', self.model, '--ppl', self.text, '--protocol', 'hf', says='lm-eval')
        self.fail_with(2, 'eval', self.model, '--pdl', self.text, says='--pdl')


if __name__ == '__main__':
    unittest.main()
