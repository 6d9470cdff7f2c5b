"""fptq logits, and the flags that every model is run with."""
import unittest

import harness
import tiny

IDS = '1,70,101,111,3,200,9,9'


class Logits(harness.ProgramTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_checkpoint(cls.folder / 'model', dtype='F32')
        cls.quantized = cls.folder / 'quantized'
        harness.fptq('quantize', cls.model, '-o', cls.quantized, '--recipe',
                     'rtn').check_returncode()

    def logits(self, model, *flags, ids=IDS):
        file = self.folder / 'logits.npy'
        self.succeed('logits', model, '--ids', ids, '-o', file, *flags)
        return harness.read_npy(file)

    def test_a_row_per_position(self):
        shape, values = self.logits(self.model)
        self.assertEqual((8, tiny.VOCABULARY), shape)
        self.assertEqual(8 * tiny.VOCABULARY, len(values))
        self.assertTrue(all(abs(value) < 100 for value in values))
        self.assertGreater(max(values) - min(values), 0)

    def test_last_is_the_last_row(self):
        for model in (self.model, self.quantized):
            _, every = self.logits(model)
            shape, last = self.logits(model, '--last')
            self.assertEqual((1, tiny.VOCABULARY), shape)
            self.assertEqual(every[-tiny.VOCABULARY:], last)

    def test_threads_and_instruction_sets_do_not_change_a_bit(self):
        for model in (self.model, self.quantized):
            expected = self.logits(model)
            self.assertEqual(expected, self.logits(model, '-t', '1'))
            self.assertEqual(expected, self.logits(model, '-t', '3'))
            self.assertEqual(expected, self.logits(model, '--isa', 'scalar'))

    def test_later_tokens_do_not_change_earlier_rows(self):
        _, long = self.logits(self.quantized)
        _, short = self.logits(self.quantized, ids='1,70,101')
        self.assertEqual(long[:len(short)], short)

    def test_activations_a16_quantizes_the_weights_only(self):
        _, stored = self.logits(self.quantized)
        _, a16 = self.logits(self.quantized, '--activations', 'a16')
        self.assertNotEqual(stored, a16)
        self.assertEqual(self.logits(self.model), self.logits(self.model, '--activations', 'a16'))

    def test_every_cache_type_runs(self):
        for kv in ('f32', 'bf16', 'int8'):
            self.logits(self.model, '--kv', kv)

    def test_require_names_what_runs_instead(self):
        file = self.folder / 'never.npy'
        self.logits(self.quantized, '--require', 'w4g32-a8t')
        self.fail_with(1, 'logits', self.model, '--ids', '1', '-o', file, '--require', 'w4g32-a8t',
                       says=['--require w4g32-a8t', 'f32'])
        self.fail_with(1, 'logits', self.quantized, '--ids', '1', '-o', file, '--require', 'w8c-a8t',
                       says=['--require w8c-a8t', 'w4g32-a8t'])
        self.assertFalse(file.exists())

    def test_ids_outside_the_vocabulary(self):
        file = self.folder / 'never.npy'
        for ids in (str(tiny.VOCABULARY), '-1', '1,99999'):
            self.fail_with(2, 'logits', self.model, f'--ids={ids}', '-o', file)
        self.fail_with(2, 'logits', self.model, '--ids', '1,x', '-o', file, says='--ids')
        self.assertFalse(file.exists())

    def test_json_names_the_file_and_its_shape(self):
        file = self.folder / 'json.npy'
        found = self.json_of('logits', self.quantized, '--ids', '1,2', '-o', file)
        self.assertEqual({'file': str(file), 'shape': [2, tiny.VOCABULARY], 'scheme': 'w4g32-a8t'},
                         found)

    def test_too_little_memory(self):
        self.fail_with(4, 'logits', self.quantized, '--ids', '1', '-o', self.folder / 'never.npy',
                       '--ram-limit', '1K')


if __name__ == '__main__':
    unittest.main()
