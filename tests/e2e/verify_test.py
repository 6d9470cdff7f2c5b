"""fptq verify: every changed byte is found, and the base's tensors make the same bytes again."""
import json
import shutil
import unittest

import harness
import tiny


class Verify(harness.ProgramTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_checkpoint(cls.folder / 'model')
        cls.text = cls.folder / 'calibration.txt'
        cls.text.write_text('the quick brown fox jumps over the lazy dog. ' * 200)
        cls.outputs = {}
        for recipe in ('rtn', 'int8', 'nf4', 'fptq'):
            output = cls.folder / recipe
            flags = ['--calib', cls.text, '--samples', 4, '--seqlen', 64] if recipe == 'fptq' else []
            harness.fptq('quantize', cls.model, '-o', output, '--recipe', recipe,
                         *flags).check_returncode()
            cls.outputs[recipe] = output

    def test_a_rotated_output_whose_classifier_was_tied(self):
        output = self.folder / 'rotated'
        self.succeed('quantize', self.model, '-o', output, '--recipe', 'rtn', '--rotate', 'hadamard')
        self.succeed('verify', output)
        self.succeed('verify', output, '--base', self.model)

    def copy(self, recipe, name):
        return shutil.copytree(self.outputs[recipe], self.folder / name)

    def fails(self, *arguments):
        """verify has to exit with 1. Returns its findings."""
        result = harness.fptq('verify', *arguments, '--json', '-')
        self.assertEqual(1, result.returncode, result.stderr.decode())
        self.assertIn('error: ', result.stderr.decode())
        report = json.loads(result.stdout)
        self.assertFalse(report['passed'])
        self.assertEqual(report['findings_total'], len(report['findings']))
        return report['findings']

    def test_what_was_written_passes_for_every_recipe(self):
        for recipe, output in self.outputs.items():
            report = self.json_of('verify', output, '--base', self.model)
            self.assertTrue(report['passed'])
            self.assertEqual([], report['findings'])
            self.assertEqual(report['tensors'], report['rederived_tensors'])
            self.assertEqual('repeated' if recipe == 'fptq' else 'streamed', report['rederivation'])
            self.assertEqual(recipe, report['recipe'])
            self.assertEqual(report['version'], report['written_by']['version'])
        self.assertEqual([], [path.name for path in self.folder.iterdir() if '.verify-' in path.name])

    def test_a_changed_byte_in_any_file_is_found_and_named(self):
        output = self.copy('rtn', 'damaged')
        for file in sorted(output.iterdir()):
            original = file.read_bytes()
            for at in (0, len(original) // 3, len(original) // 2, len(original) - 1):
                damaged = bytearray(original)
                damaged[at] ^= 4
                file.write_bytes(damaged)
                self.assertIn(file.name, {finding['file'] for finding in self.fails(output)},
                              (file.name, at))
            file.write_bytes(original)
        self.succeed('verify', output)

    def test_a_changed_weight_is_named_with_its_bytes(self):
        output = self.copy('rtn', 'weight')
        file = output / 'model.safetensors'
        data = bytearray(file.read_bytes())
        data[-3] ^= 1
        file.write_bytes(data)
        finding, = self.fails(output)
        self.assertTrue(finding['tensor'])
        self.assertLessEqual(finding['begin_byte'], len(data) - 3)
        self.assertGreater(finding['end_byte'], len(data) - 3)
        exact = self.fails(output, '--base', self.model)[-1]
        self.assertEqual((len(data) - 3, len(data) - 2), (exact['begin_byte'], exact['end_byte']))

    def test_missing_and_unknown_files_are_named(self):
        output = self.copy('rtn', 'files')
        (output / 'tokenizer.json').unlink()
        (output / 'extra.bin').write_text('x')
        self.assertEqual({'tokenizer.json', 'extra.bin'}, {f['file'] for f in self.fails(output)})

    def test_one_tensor_alone(self):
        report = self.json_of('verify', self.outputs['rtn'], '--base', self.model, '--tensor',
                              r'layers\.1\.mlp\.down_proj')
        self.assertEqual(1, report['source_tensors'])
        self.assertEqual(4, report['rederived_tensors'])  # codes, scales, zero points, shape

    def test_another_base_is_told(self):
        other = tiny.write_checkpoint(self.folder / 'other',
                                      tensors=tiny.random_tensors(tiny.config(), seed=2))
        whats = {finding['what'] for finding in self.fails(self.outputs['rtn'], '--base', other)}
        self.assertTrue(any('not the source that was quantized' in what for what in whats))

    def test_another_calibration_text_is_told(self):
        changed = self.folder / 'changed.txt'
        changed.write_text(self.text.read_text() + '!')
        finding, = self.fails(self.outputs['fptq'], '--base', self.model, '--calib', changed)
        self.assertIn('not the text that it was calibrated with', finding['what'])
        self.fail_with(3, 'verify', self.outputs['fptq'], '--base', self.model, '--calib',
                       self.folder / 'absent', says='--calib FILE')

    def test_wrong_usage(self):
        self.fail_with(3, 'verify', self.folder / 'absent', says='absent')
        self.fail_with(3, 'verify', self.model, says='fptq_manifest.json')
        self.fail_with(2, 'verify', self.outputs['rtn'], '--tensor', 'x', says='--base MODEL')
        self.fail_with(2, 'verify', self.outputs['rtn'], '--base', self.model, '--tensor', 'x_y_z',
                       says='no tensor has such a name')


if __name__ == '__main__':
    unittest.main()
