"""fptq bench: what it reports, not how fast anything is."""
import json
import unittest

import harness
import tiny


class Bench(harness.ProgramTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_checkpoint(cls.folder / 'model')

    def test_reports_the_machine_the_speeds_and_what_ran(self):
        quantized = self.folder / 'quantized'
        self.succeed('quantize', self.model, '-o', quantized, '--recipe', 'rtn')
        found = self.json_of('bench', quantized, '-p', '8,16', '-n', '4', '-d', '0,8', '-b', '1,2',
                             '-r', '2', '-t', '1', '--isa', 'scalar')
        self.assertLessEqual({'cpu', 'isa', 'threads', 'dram_read_gb_s', 'int8_gops', 'f32_gflops'},
                             set(found['machine']))
        self.assertEqual(('scalar', 1), (found['machine']['isa'], found['machine']['threads']))
        self.assertEqual([8, 16], [entry['tokens'] for entry in found['prefill']])
        self.assertEqual([(0, 1), (0, 2), (8, 1), (8, 2)],
                         sorted((entry['depth'], entry['batch']) for entry in found['decode']))
        for entry, keys in ([(entry, {'gops', 'fraction_of_int8_peak'}) for entry in found['prefill']] +
                            [(entry, {'gb_s', 'fraction_of_dram'}) for entry in found['decode']]):
            self.assertLessEqual(keys, set(entry))
            self.assertGreater(entry['tok_s_min'], 0)
            self.assertLessEqual(entry['tok_s_min'], entry['tok_s_median'])
            self.assertLessEqual(entry['tok_s_median'], entry['tok_s_max'])
        layers = {entry['layer']: entry for entry in found['receipt']}
        for name in tiny.shapes(tiny.config()):
            if name.endswith('_proj.weight'):
                entry = layers[name.removesuffix('.weight')]
                self.assertEqual(('w4g32-a8t', 'scalar'), (entry['scheme'], entry['isa']))
                self.assertGreater(entry['calls'], 0)

    def test_random_weights_of_a_shape(self):
        found = self.json_of('bench', '--shape', self.model / 'config.json', '--weights', 'w8c',
                             '-p', '8', '-n', '2', '-r', '1')
        self.assertIn('w8c-a8t', {entry['scheme'] for entry in found['receipt']})

    def test_profile_of_every_operation(self):
        found = self.json_of('bench', self.model, '-p', '8', '-n', '2', '-r', '2', '--profile')
        for entry, passes in ((found['prefill'][0], 2), (found['decode'][0], 4)):
            operations = {part['operation']: part for part in entry['profile']}
            self.assertLessEqual({'norm', 'q_proj', 'attention', 'silu_mul', 'down_proj',
                                  'classifier'}, set(operations))
            self.assertAlmostEqual(1, sum(part['fraction'] for part in entry['profile']))
            # Runs that warm up are not in it.
            self.assertEqual(passes, operations['classifier']['calls'])
            self.assertEqual(sorted((part['seconds'] for part in entry['profile']), reverse=True),
                             [part['seconds'] for part in entry['profile']])
        self.assertNotIn('profile', self.json_of('bench', self.model, '-p', '8', '-n', '0',
                                                 '-r', '1')['prefill'][0])

    def test_wrong_usage(self):
        self.fail_with(2, 'bench', says=['MODEL', '--shape'])
        self.fail_with(2, 'bench', self.model, '--shape', 'llama-3.2-1b', says='--shape')
        self.fail_with(2, 'bench', self.model, '-r', '0', says='repeats')
        self.fail_with(2, 'bench', self.model, '-p', 'many', says='--prompt-tokens')
        self.fail_with(3, 'bench', '--shape', self.folder / 'absent.json', says='absent.json')


if __name__ == '__main__':
    unittest.main()
