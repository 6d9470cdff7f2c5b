"""fptq quantize and inspect."""
import json
import os
import pathlib
import resource
import signal
import subprocess
import time
import unittest

import harness
import tiny


def bytes_of(folder):
    """Name -> contents of a checkpoint's files, the manifest excepted: it has times."""
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()
            if path.name != 'fptq_manifest.json'}


class Quantize(harness.ProgramTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_checkpoint(cls.folder / 'model')

    def quantize(self, name, *flags, model=None):
        output = self.folder / name
        if '--recipe' not in flags:
            flags = ('--recipe', 'rtn', *flags)
        self.succeed('quantize', model or self.model, '-o', output, *flags)
        return output

    def test_writes_a_hugging_face_directory(self):
        output = self.quantize('rtn')
        names = sorted(path.name for path in output.iterdir())
        self.assertEqual(['config.json', 'fptq_manifest.json', 'model.safetensors', 'recipe.yaml',
                          'tokenizer.json'], names)
        config = json.loads((output / 'config.json').read_text())
        self.assertEqual('compressed-tensors', config['quantization_config']['quant_method'])
        self.assertEqual(self.model.joinpath('tokenizer.json').read_bytes(),
                         output.joinpath('tokenizer.json').read_bytes())

    def test_inspect_tells_the_scheme_and_bits_of_every_tensor(self):
        found = self.json_of('inspect', self.quantize('inspected', '--recipe', 'rtn'))
        tensors = {tensor['name']: tensor for tensor in found['tensors']}
        self.assertEqual(set(tiny.shapes(tiny.config())), set(tensors))
        for name, shape in tiny.shapes(tiny.config()).items():
            self.assertEqual(shape, tensors[name]['shape'])
            if name.endswith('norm.weight'):
                self.assertEqual('bf16', tensors[name]['scheme'])
            elif name.startswith('model.layers.'):
                self.assertEqual('w4g32-a8t', tensors[name]['scheme'])
            else:
                self.assertIn(tensors[name]['scheme'], ('w8c', 'w8c-a8t'))
        # 4 bits, and for 32 weights a 16-bit scale and a 4-bit zero point; some bytes of padding.
        self.assertGreaterEqual(found['linear_bits_per_weight'], 4.625)
        self.assertLess(found['linear_bits_per_weight'], 4.9)
        self.assertEqual('LlamaForCausalLM', found['architecture'])

    def test_nf4_is_written_as_bitsandbytes_does(self):
        output = self.quantize('nf4', '--recipe', 'nf4')
        config = json.loads((output / 'config.json').read_text())['quantization_config']
        self.assertEqual('bitsandbytes', config['quant_method'])
        self.assertTrue(config['load_in_4bit'])
        self.assertEqual('nf4', config['bnb_4bit_quant_type'])
        found = self.json_of('inspect', output)
        tensors = {tensor['name']: tensor for tensor in found['tensors']}
        self.assertEqual(set(tiny.shapes(tiny.config())), set(tensors))
        for name, shape in tiny.shapes(tiny.config()).items():
            self.assertEqual(shape, tensors[name]['shape'])
            linear = name.startswith('model.layers.') and not name.endswith('norm.weight')
            self.assertEqual('nf4b64-dq' if linear else 'bf16', tensors[name]['scheme'])
        manifest = json.loads((output / 'fptq_manifest.json').read_text())
        schemes = {tensor['scheme'] for tensor in manifest['tensors']}
        self.assertEqual({'nf4b64-dq', 'BF16'}, schemes)
        self.assertIn('weights: nf4b64-dq\n', (output / 'recipe.yaml').read_text())

    def test_nf4_gives_the_same_bytes_however_it_is_asked_for(self):
        expected = bytes_of(self.quantize('nf4-plain', '--recipe', 'nf4'))
        recipe = self.folder / 'nf4.yaml'
        recipe.write_text(self.succeed('quantize', '--recipe', 'nf4', '--print-recipe'))
        self.assertEqual(expected, bytes_of(self.quantize('nf4-file', '--recipe', recipe)))
        self.assertEqual(expected, bytes_of(self.quantize('nf4-thread', '--recipe', 'nf4',
                                                          '--threads', '3')))
        by_flag = bytes_of(self.quantize('nf4-flag', '--weights', 'nf4'))
        for name in expected:
            if name != 'recipe.yaml':  # it has the name of the recipe
                self.assertEqual(expected[name], by_flag[name])

    def test_nf4_computes_what_its_weights_in_floating_point_compute(self):
        for scheme in ('nf4', 'fp4b32', 'nf4b128-dq'):
            output = self.quantize(f'table-{scheme}', '--weights', scheme)
            dense = self.folder / f'dense-{scheme}'
            self.succeed('convert', output, '-o', dense, '--to', 'dense')
            self.assertNotIn('quantization_config', json.loads((dense / 'config.json').read_text()))
            logits = []
            for model in (output, dense):
                file = self.folder / 'logits.npy'
                self.succeed('logits', model, '--ids', '1,2,3,4,5,6,7', '-o', file)
                logits.append(harness.read_npy(file))
            self.assertEqual(*logits)

    def test_nf4_runs_where_it_is_required(self):
        output = self.quantize('nf4-required', '--recipe', 'nf4')
        ids = ('logits', output, '--ids', '1,2', '-o', self.folder / 'logits.npy')
        self.succeed(*ids, '--require', 'nf4b64-dq')
        self.fail_with(1, *ids, '--require', 'w4g32-a8t', says='nf4b64-dq')

    def test_whole_rows_with_zero_points_are_told_from_groups_and_from_symmetric_ones(self):
        for flag, scheme in (('--asymmetric', 'w4c-asym-a8t'), ('--symmetric', 'w4c-a8t')):
            output = self.quantize(f'rows{flag}', '--weights', 'w4c', flag)
            schemes = {tensor['scheme'] for tensor in self.json_of('inspect', output)['tensors']
                       if tensor['name'].endswith('_proj.weight')}
            self.assertEqual({scheme}, schemes)
            found = self.json_of('run', output, '-p', 'a', '-n', '1', '--require', scheme)
            self.assertEqual(scheme, found['scheme'])

    def test_the_table_of_inspect_has_room_for_long_schemes(self):
        output = self.quantize('long_names', '--weights', 'w4g128', '--symmetric')
        lines = self.succeed('inspect', output, '--no-outliers').splitlines()
        self.assertTrue(any('  w4g128-sym-a8t  ' in line for line in lines))
        self.assertEqual({len(lines[2])}, {len(line) for line in lines[2:]})

    def test_a_required_scheme_may_be_spelled_out(self):
        output = self.quantize('spelled')
        self.succeed('run', output, '-p', 'a', '-n', '1', '--require', 'w4g32-asym-a8t')
        result = harness.fptq('run', output, '-p', 'a', '-n', '1', '--require', 'w4g32-sym-a8t')
        self.assertEqual(1, result.returncode)

    def test_int8_stores_a_byte_a_weight(self):
        found = self.json_of('inspect', self.quantize('int8', '--recipe', 'int8'))
        self.assertGreater(found['linear_bits_per_weight'], 8)
        self.assertLess(found['linear_bits_per_weight'], 8.6)

    def test_the_printed_recipe_and_the_stored_one_give_the_same_bytes(self):
        flags = ['--recipe', 'rtn', '--weights', 'w4g64', '--override', 'down_proj=w8c']
        first = self.quantize('first', *flags)
        printed = self.folder / 'printed.yaml'
        printed.write_text(self.succeed('quantize', '--print-recipe', *flags))
        self.assertEqual((first / 'recipe.yaml').read_text(), printed.read_text())
        for name, recipe in (('second', printed), ('third', first / 'recipe.yaml')):
            self.assertEqual(bytes_of(first), bytes_of(self.quantize(name, '--recipe', recipe)))

    def test_threads_do_not_change_the_bytes(self):
        self.assertEqual(bytes_of(self.quantize('one', '-t', '1')),
                         bytes_of(self.quantize('three', '-t', '3')))

    def test_shards_do_not_change_the_tensors(self):
        sharded = tiny.write_checkpoint(self.folder / 'sharded', shards=3)
        self.assertEqual(bytes_of(self.quantize('whole')),
                         bytes_of(self.quantize('parts', model=sharded)))

    def test_the_names_of_a_bare_model_do_not_change_the_output(self):
        tensors = {name.removeprefix('model.'): tensor
                   for name, tensor in tiny.random_tensors(tiny.config()).items()}
        bare = tiny.write_checkpoint(self.folder / 'bare', tensors=tensors)
        self.assertEqual(bytes_of(self.quantize('prefixed')),
                         bytes_of(self.quantize('unprefixed', model=bare)))
        tensors['model.norm.weight'] = tensors['norm.weight']
        mixed = tiny.write_checkpoint(self.folder / 'mixed_names', tensors=tensors)
        self.fail_with(3, 'quantize', mixed, '-o', self.folder / 'never_mixed',
                       says=['embed_tokens.weight', 'model.norm.weight', 'two checkpoints'])

    def test_overrides_apply_where_the_name_matches(self):
        output = self.quantize('mixed', '--override', r'layers\.1\.mlp=w8c')
        schemes = {tensor['name']: tensor['scheme']
                   for tensor in self.json_of('inspect', output)['tensors']}
        self.assertEqual('w8c-a8t', schemes['model.layers.1.mlp.up_proj.weight'])
        self.assertEqual('w4g32-a8t', schemes['model.layers.0.mlp.up_proj.weight'])

    def test_an_existing_output_is_left_alone_unless_told_otherwise(self):
        output = self.folder / 'existing'
        output.mkdir()
        (output / 'mine').write_text('mine')
        self.fail_with(2, 'quantize', self.model, '-o', output, says='existing')
        self.assertEqual(['mine'], [path.name for path in output.iterdir()])
        self.quantize('existing', '--overwrite')
        self.assertIn('model.safetensors', [path.name for path in output.iterdir()])

    def test_json_on_stdout_is_alone_there(self):
        report = self.json_of('quantize', self.model, '-o', self.folder / 'json', '--recipe', 'rtn')
        self.assertLess(report['output_bytes'], report['source_bytes'])
        self.assertGreater(report['relative_error'], 0)

    def test_wrong_recipes_and_flags(self):
        output = self.folder / 'never'
        for flags, code, says in (
                (['--recipe', 'rtm'], 3, 'rtm'),
                (['--recipe', 'nf4', '--embed', 'w8c'], 3,
                 'module "model.embed_tokens": expected nf4b64-dq or floating point'),
                (['--recipe', 'nf4', '--embed', 'nf4'], 3,
                 'module "model.embed_tokens": expected floating point'),
                (['--recipe', 'nf4', '--override', 'up_proj=w4g32'], 3,
                 'expected nf4b64-dq or floating point'),
                (['--recipe', 'nf4', '--override', 'up_proj=fp4'], 3, 'got fp4b64-dq'),
                (['--override', 'up_proj=nf4'], 3, 'expected nf4b64-dq or floating point'),
                (['--recipe', self.folder / 'absent.yaml'], 3, 'absent.yaml'),
                (['--weights', 'w5g32'], 2, '--weights'),
                (['--override', 'nothing_matches=w8c'], 2, 'nothing_matches'),
                (['--override', 'down_proj'], 2, 'REGEX=SCHEME'),
                (['--symmetric', '--asymmetric'], 2, '--symmetric')):
            self.fail_with(code, 'quantize', self.model, '-o', output, *flags, says=says)
            self.assertFalse(output.exists())
        self.fail_with(2, 'quantize', self.model, says='-o')

    def test_what_is_not_offered_is_refused_before_any_work(self):
        absent = self.folder / 'absent'  # were it opened, the message would be about it
        for flag, value, code, says in (
                ('--activations', 'a9t', 2, ['"a9t"', 'expected a8t', 'a16']),
                ('--weights', 'nf4b48', 2, ['"nf4b48"', 'expected w4g32']),
                ('--weights', 'nf4-a8t', 2, ['weights alone']),
                ('--weights', 'w4g32-a8s', 2, ['"w4g32-a8s"', 'weights alone']),
                ('--head', 'w8c-a8s', 3, ['w8c-a8s', 'expected -a8t or -a16', 'no static range']),
                ('--head', 'nf4-a8t', 3, ['"nf4-a8t"', 'expected a16 with nf4b64-dq']),
                ('--equalize', 'more', 2, ['"more"', 'expected none, lae']),
                ('--rounding', 'best', 2, ['"best"', 'expected rtn'])):
            with self.subTest(flag, value=value):
                self.fail_with(code, 'quantize', absent, '-o', self.folder / 'never', flag, value,
                               says=[f'error: {flag}: ', *says])
        for flags in (['--recipe', 'nf4'], ['--weights', 'nf4']):
            self.fail_with(3, 'quantize', absent, '-o', self.folder / 'never', *flags,
                           '--activations', 'a8t',
                           says='--activations: expected a16 with nf4b64-dq')
        self.assertFalse((self.folder / 'never').exists())

    def test_help_offers_what_is_offered(self):
        text = self.succeed('quantize', '--help')
        for word in ('a8s', 'gptq', '--calib', '--resume', '--equalize', '--samples', 'fptq-paper'):
            self.assertIn(word, text)

    def test_an_output_that_cannot_be_written(self):
        under_a_file = self.model / 'config.json' / 'out'
        self.fail_with(3, 'quantize', self.model, '-o', under_a_file, says='config.json')
        self.fail_with(3, 'quantize', self.model, '-o', self.folder / 'no' / 'parent', says='parent')

    def test_a_full_disk(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        output = self.folder / 'full'
        result = harness.fptq('quantize', self.model, '-o', output, '--recipe', 'rtn',
                              preexec_fn=limit)
        self.assertEqual(4, result.returncode, result.stderr)
        self.assertIn('Free some space', result.stderr.decode())
        self.assertEqual([], list(self.folder.glob('full*')))

    def test_too_little_memory(self):
        output = self.folder / 'memory'
        stderr = self.fail_with(4, 'quantize', self.model, '-o', output, '--recipe', 'rtn', '--ram-limit', '1K',
                                says=['--ram-limit', '1024'])
        self.assertRegex(stderr.replace('1024', ''), r'\d{4,} bytes|got \d{4,}')  # what is needed
        self.assertFalse(output.exists())

    def test_an_interruption_leaves_nothing_behind(self):
        config = tiny.config(hidden_size=1024, intermediate_size=4096, num_hidden_layers=8)
        large = tiny.write_checkpoint(self.folder / 'large', config)
        output = self.folder / 'interrupted'
        process = subprocess.Popen([harness.PROGRAM, 'quantize', large, '-o', output, '-t', '1', '--recipe', 'rtn'],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=harness.clean_environment())
        deadline = time.monotonic() + 60
        while not list(self.folder.glob('interrupted*')) and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        self.assertEqual(130, process.returncode, stderr)
        self.assertIn(b'interrupted', stderr)
        self.assertEqual([], list(self.folder.glob('interrupted*')))


class Inspect(harness.ProgramTest):

    def test_warns_of_values_that_are_not_finite(self):
        config = tiny.config()
        tensors = tiny.random_tensors(config)
        dtype, shape, data = tensors['lm_head.weight']
        tensors['lm_head.weight'] = (dtype, shape, data[:6] + b'\xc0\x7f' + data[8:])
        model = tiny.write_checkpoint(self.folder / 'nan', config, tensors)
        result = harness.fptq('inspect', model)
        self.assertEqual(0, result.returncode)
        self.assertIn('warning: lm_head.weight: 1 of 20480 values are NaN or infinite, the first '
                      'at index 3', result.stderr.decode())

    def test_a_full_standard_output(self):
        model = tiny.write_checkpoint(self.folder / 'model')
        with open('/dev/full', 'w') as full:
            result = subprocess.run([harness.PROGRAM, 'inspect', model], stdout=full,
                                    stderr=subprocess.PIPE)
        self.assertEqual(4, result.returncode)
        self.assertIn(b'standard output', result.stderr)


if __name__ == '__main__':
    unittest.main()
