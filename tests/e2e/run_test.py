"""fptq run, with a model that follows a script."""
import pathlib
import re
import signal
import subprocess
import unittest

import harness
import tiny

CYCLE = 'abc\u20ac '  # the euro sign is three tokens


class Run(harness.ProgramTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        config = tiny.config()
        follows = tiny.cycle(CYCLE) | {tiny.FIRST_BYTE + ord('q'): tiny.EOS}
        cls.model = tiny.write_checkpoint(cls.folder / 'model', config,
                                          tiny.scripted_tensors(config, follows))

    def run_json(self, *flags, prompt='a', tokens=14):
        return self.json_of('run', self.model, '-p', prompt, '-n', tokens, *flags)

    def test_greedy_takes_the_most_probable_token(self):
        found = self.run_json('--temp', '0')
        self.assertEqual('bc\u20ac abc\u20ac a', found['text'])
        self.assertEqual(tiny.ids_of('bc\u20ac abc\u20ac a')[1:], found['ids'])
        self.assertEqual((2, 14, 'length'), (found['prompt_tokens'], found['generated_tokens'],
                                             found['finish']))

    def test_stdout_has_the_prompt_and_the_text_and_nothing_else(self):
        text = self.succeed('run', self.model, '-p', 'a', '-n', '14', '--temp', '0')
        self.assertEqual('abc\u20ac abc\u20ac a\n', text)

    def test_a_character_cut_short_is_still_utf8(self):
        for tokens in (3, 4):  # after one and two bytes of the euro sign
            result = harness.fptq('run', self.model, '-p', 'a', '-n', tokens, '--temp', '0')
            self.assertEqual('abc\ufffd\n', result.stdout.decode().replace('\ufffd\ufffd', '\ufffd'))

    def test_a_prompt_can_come_from_a_file(self):
        file = self.folder / 'prompt'
        file.write_text('c\u20ac')
        self.assertEqual('c\u20ac ab\n', self.succeed('run', self.model, '-f', file, '-n', '3',
                                                      '--temp', '0'))
        self.fail_with(2, 'run', self.model, '-f', file, '-p', 'a', says='--prompt')
        self.fail_with(3, 'run', self.model, '-f', self.folder / 'absent', says='absent')

    def test_no_prompt_begins_with_bos(self):
        found = self.json_of('run', self.model, '-n', '2', '--temp', '0')
        self.assertEqual((1, 2), (found['prompt_tokens'], found['generated_tokens']))

    def test_the_same_seed_gives_the_same_text_and_another_gives_another(self):
        first = self.run_json('--temp', '1', '--seed', '7')
        self.assertEqual(first['ids'], self.run_json('--temp', '1', '--seed', '7', '-t', '1')['ids'])
        self.assertNotEqual(first['ids'], self.run_json('--temp', '1', '--seed', '8')['ids'])

    def test_every_narrowing_of_the_choice_ends_at_the_most_probable_token(self):
        greedy = self.run_json('--temp', '0')['ids']
        for flags in (['--temp', '0.01'], ['--temp', '1', '--top-k', '1'],
                      ['--temp', '1', '--top-p', '0.0001'], ['--temp', '1', '--min-p', '1']):
            self.assertEqual(greedy, self.run_json(*flags, '--seed', '3')['ids'], flags)

    def test_sampling_options_out_of_range(self):
        for flag, value in (('--temp', '-1'), ('--top-p', '2'), ('--min-p', '-0.5'),
                            ('--repeat-penalty', '0'), ('--temp', 'hot')):
            self.fail_with(2, 'run', self.model, '-p', 'a', f'{flag}={value}')

    def test_a_stop_string_ends_the_text_before_it(self):
        found = self.run_json('--temp', '0', '--stop', 'zzz', '--stop', '\u20ac a')
        self.assertEqual(('bc', 'stop_string'), (found['text'], found['finish']))

    def test_the_end_of_the_text_ends_it_unless_ignored(self):
        found = self.run_json('--temp', '0', prompt='q')
        self.assertEqual(('', 'stop', [tiny.EOS]), (found['text'], found['finish'], found['ids']))
        found = self.run_json('--temp', '0', '--ignore-eos', prompt='q')
        self.assertEqual((14, 'length'), (len(found['ids']), found['finish']))

    def test_drafts_change_the_number_of_passes_only(self):
        for flags in (['--temp', '0'], ['--temp', '0.9', '--seed', '4'],
                      ['--temp', '0.7', '--seed', '5', '--repeat-penalty', '1.1'],
                      ['--temp', '0', '--stop', '\u20ac abc\u20ac a'], ['--temp', '0', '--ctx', '40']):
            plain = self.run_json(*flags, prompt=CYCLE * 3, tokens=60)
            drafted = self.run_json(*flags, '--lookup', '8', prompt=CYCLE * 3, tokens=60)
            for key in ('text', 'ids', 'finish', 'generated_tokens'):
                self.assertEqual(plain[key], drafted[key], (key, flags))
            self.assertEqual((0, 0), (plain['drafted_tokens'], plain['accepted_tokens']))
            self.assertEqual(plain['generated_tokens'] - 1, plain['decode_passes'])
            self.assertGreaterEqual(drafted['drafted_tokens'], drafted['accepted_tokens'])
        drafted = self.run_json('--temp', '0', '--lookup', '8', prompt=CYCLE * 3, tokens=60)
        self.assertLess(drafted['decode_passes'], 20)
        self.assertGreater(drafted['accepted_tokens'], 40)
        self.assertGreater(drafted['tokens_per_pass'], 3)

    def test_drafts_are_reported_only_where_they_were_asked_for(self):
        note = harness.fptq('run', self.model, '-p', CYCLE * 3, '-n', '9', '--lookup', '8').stderr
        self.assertIn(b' drafted tokens, ', note)
        note = harness.fptq('run', self.model, '-p', CYCLE * 3, '-n', '9').stderr
        self.assertNotIn(b'drafted', note)
        self.assertIsNone(self.run_json('--temp', '0', '--lookup', '8', tokens=1)['tokens_per_pass'])
        self.fail_with(2, 'run', self.model, '-p', 'a', '--lookup', '65', says='--lookup')

    def test_a_full_context_ends_the_text(self):
        found = self.run_json('--temp', '0', '--ctx', '6')
        self.assertEqual('context', found['finish'])
        self.assertEqual(5, found['generated_tokens'])  # the last one needs no place

    def test_a_prompt_longer_than_the_context(self):
        self.fail_with(4, 'run', self.model, '-p', 'a' * 300, says=['256', '301', '--ctx'])
        self.fail_with(4, 'run', self.model, '-p', 'abc', '--ctx', '3', says=['3', '4', '--ctx'])

    def test_a_context_beyond_the_models_is_worth_a_warning(self):
        result = harness.fptq('run', self.model, '-p', 'a' * 300, '-n', '2', '--ctx', '400')
        self.assertEqual(0, result.returncode)
        self.assertIn('warning: --ctx 400: ', result.stderr.decode())
        self.assertIn(' 256 ', result.stderr.decode())
        result = harness.fptq('run', self.model, '-p', 'a', '-n', '2', '--ctx', '256')
        self.assertNotIn('warning', result.stderr.decode())

    def test_quantized_and_quiet(self):
        quantized = self.folder / 'quantized'
        self.succeed('quantize', self.model, '-o', quantized, '--recipe', 'int8')
        result = harness.fptq('run', quantized, '-p', 'a', '-n', '7', '--temp', '0', '--quiet',
                              '--require', 'w8c-a8t')
        self.assertEqual(('abc\u20ac a\n', ''), (result.stdout.decode(), result.stderr.decode()))

    def test_an_interruption_keeps_the_text_so_far(self):
        report = self.folder / 'interrupted.json'
        process = subprocess.Popen(
            [harness.PROGRAM, 'run', self.model, '-p', 'a', '-n', '60000', '--ctx', '60000',
             '--temp', '0', '-t', '1', '--json', report],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=harness.clean_environment())
        self.assertEqual('abc\u20ac abc'.encode(), process.stdout.read(10))
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        self.assertEqual(130, process.returncode, stderr)
        self.assertIn(b'error: interrupted', stderr)
        self.assertEqual([], list(self.folder.glob('interrupted*')))

    def test_an_interruption_is_heard_while_the_prompt_is_read(self):
        prompt = self.folder / 'long.txt'
        prompt.write_text('abc' * 10000)
        process = subprocess.Popen(
            [harness.PROGRAM, 'run', self.model, '-f', prompt, '-n', '1', '--ctx', '60000',
             '-t', '1'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=harness.clean_environment())
        # The program asks for the signal once it is about to read the prompt.
        caught = 0
        while process.poll() is None and not caught >> (signal.SIGINT - 1) & 1:
            status = pathlib.Path(f'/proc/{process.pid}/status').read_text()
            caught = int(re.search(r'SigCgt:\s*([0-9a-f]+)', status)[1], 16)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        self.assertEqual((130, b''), (process.returncode, stdout), stderr)
        self.assertRegex(stderr, rb'error: prompt: interrupted after \d+ of 30001 tokens')


if __name__ == '__main__':
    unittest.main()
