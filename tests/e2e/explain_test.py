"""fptq explain: shares that add up, and the part that is to blame."""
import struct
import unittest

import harness
import tiny

TEXT = 'It was the best of times, it was the worst of times, it was the age of wisdom. ' * 6
WORST = 'model.layers.0.mlp.gate_proj'


class Explain(harness.ProgramTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.text = cls.folder / 'text'
        cls.text.write_text(TEXT)
        cls.model = tiny.write_checkpoint(cls.folder / 'model')
        cls.quantized = cls.quantize(cls.model, 'rtn')

    @classmethod
    def quantize(cls, model, name, *flags):
        output = cls.folder / name
        harness.fptq('quantize', model, '-o', output, *flags).check_returncode()
        return output

    def explain(self, candidate, *flags):
        return self.json_of('explain', self.model, candidate, '--text', self.text, '--ctx', 64,
                            '--windows', 2, *flags)

    def test_groups_and_parts_add_up_to_the_divergence(self):
        found = self.explain(self.quantized, '--kv', 'int8')
        self.assertEqual(['embedding', 'weights', 'activations', 'classifier', 'cache'],
                         [share['group'] for share in found['budget']])
        for column in ('forward', 'reverse', 'mean'):
            self.assertEqual(found['total'], sum(share[column] for share in found['budget']))
        self.assertEqual(2 * 7 + 3, len(found['parts']))
        self.assertEqual(found['total'],
                         sum(part['nats'] for part in found['parts']) + found['interaction'])
        self.assertEqual(0, found['noise_floor'])
        self.assertGreater(found['total'], 0)

    def test_the_total_is_what_compare_measures(self):
        found = self.explain(self.quantized, '--per', 'none')
        kl = self.json_of('eval', self.quantized, '--kl', self.model, '--kl-text', self.text, '--ctx',
                          64, '--windows', 2)['kl']
        self.assertAlmostEqual(kl['mean'], found['total'], delta=1e-11)
        self.assertEqual(kl['tokens'], found['tokens'])
        self.assertEqual([], found['parts'])
        self.assertIsNone(found['interaction'])

    def test_rotated_inputs_are_rotated_for_the_parts_of_the_candidate_only(self):
        plain = self.explain(self.quantize(self.model, 'int8', '--recipe', 'int8'))
        rotated = self.explain(self.quantize(self.model, 'rotated', '--recipe', 'int8',
                                             '--rotate-down', 'hadamard'))
        # With a rotation too many or too few there would be another function, not another rounding.
        for part in rotated['parts']:
            with self.subTest(part=part):
                self.assertLess(part['nats'], 3 * plain['total'])
        self.assertLess(rotated['total'], 3 * plain['total'])

    def test_the_base_itself_is_all_zeros(self):
        found = self.explain(self.model)
        self.assertEqual(0, found['total'])
        self.assertEqual({0}, {part['nats'] for part in found['parts']})

    def test_a_damaged_linear_is_the_worst(self):
        tensors = tiny.random_tensors(tiny.config())
        dtype, shape, data = tensors[WORST + '.weight']
        damaged = bytearray(data)
        damaged[0:2] = struct.pack('<H', 0x4248)  # 50 in bfloat16
        tensors[WORST + '.weight'] = (dtype, shape, bytes(damaged))
        model = tiny.write_checkpoint(self.folder / 'damaged', tensors=tensors)
        found = self.explain(self.quantize(model, 'damaged_rtn'))
        self.assertEqual(WORST, max(found['parts'], key=lambda part: part['nats'])['name'])
        blocks = self.explain(self.folder / 'damaged_rtn', '--per', 'block')
        self.assertEqual(2 + 2, len(blocks['parts']))
        self.assertEqual('model.layers.0', max(blocks['parts'], key=lambda p: p['nats'])['name'])

    def test_the_page_needs_nothing_else(self):
        page = self.folder / 'page.html'
        table = self.succeed('explain', self.model, self.quantized, '--text', self.text, '--ctx', 64,
                             '--html', page)
        self.assertIn('interaction', table)
        self.assertIn('classifier', table)
        html = page.read_text()
        self.assertIn('<rect', html)
        for foreign in ('<script', 'javascript:', '<link', '<img', '@import', 'src='):
            self.assertNotIn(foreign, html)

    def test_wrong_usage(self):
        flags = ['--text', self.text]
        self.fail_with(2, 'explain', self.model, self.quantized, says='--text')
        self.fail_with(2, 'explain', self.model, self.quantized, *flags, '--per', 'word', says='--per')
        self.fail_with(2, 'explain', self.model, self.quantized, *flags, '--ctx', 2, says='context')
        self.fail_with(3, 'explain', self.quantized, self.model, *flags, says='floating point')
        self.fail_with(3, 'explain', self.model, self.folder / 'absent', *flags, says='absent')
        other = tiny.write_checkpoint(self.folder / 'other', tiny.config(num_hidden_layers=3))
        self.fail_with(2, 'explain', self.model, other, *flags, says='num_hidden_layers')


if __name__ == '__main__':
    unittest.main()
