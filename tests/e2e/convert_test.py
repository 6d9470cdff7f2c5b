"""fptq convert: another container, the same numbers."""
import json
import unittest

import harness
import tiny

IDS = '1,70,101,111,3,200,9,9'


class Convert(harness.ProgramTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_checkpoint(cls.folder / 'model')
        cls.quantized = cls.folder / 'quantized'
        harness.fptq('quantize', cls.model, '-o', cls.quantized, '--recipe',
                     'rtn').check_returncode()

    def logits(self, model, *flags):
        file = self.folder / 'logits.npy'
        self.succeed('logits', model, '--ids', IDS, '-o', file, *flags)
        return harness.read_npy(file)

    def convert(self, model, target, name, *flags):
        output = self.folder / name
        self.succeed('convert', model, '-o', output, '--to', target, *flags)
        return output

    def test_hf_keeps_every_bit(self):
        sharded = tiny.write_checkpoint(self.folder / 'sharded', shards=3)
        for source, name in ((self.model, 'copy'), (self.quantized, 'copy4'), (sharded, 'joined')):
            self.assertEqual(self.logits(source), self.logits(self.convert(source, 'hf', name)))

    def test_dense_computes_what_the_quantized_weights_do(self):
        dense = self.convert(self.quantized, 'dense', 'dense')
        self.assertNotIn('quantization_config', json.loads((dense / 'config.json').read_text()))
        shape, values = self.logits(dense)
        expected_shape, expected = self.logits(self.quantized, '--activations', 'a16')
        self.assertEqual(expected_shape, shape)
        scale = max(map(abs, expected))
        self.assertLess(max(abs(a - b) for a, b in zip(values, expected)), 1e-5 * scale)
        self.assertEqual('f32', self.json_of('eval', dense)['scheme'])

    def test_a_narrower_type_tells_its_error(self):
        report = self.json_of('convert', self.quantized, '-o', self.folder / 'narrow', '--to', 'dense',
                              '--dtype', 'bf16')
        self.assertGreater(report['largest_error'], 0)
        self.assertLessEqual(report['largest_error'], 2**-5 * 2**-8)  # half a unit in the last place
        self.assertEqual(0, self.json_of('convert', self.model, '-o', self.folder / 'same', '--to',
                                         'hf')['largest_error'])

    def test_a_llama2c_file_becomes_a_hugging_face_directory(self):
        source = tiny.write_llama2c(self.folder / 'llama2c', tiny.config(tie_word_embeddings=True))
        output = self.convert(source, 'hf', 'from_llama2c')
        self.assertEqual(self.logits(source), self.logits(output))
        self.assertEqual('llama', json.loads((output / 'config.json').read_text())['model_type'])

    def test_a_directory_with_a_llama2c_file_is_that_model(self):
        source = tiny.write_llama2c(self.folder / 'llama2c_dir', tiny.config(tie_word_embeddings=True))
        self.assertEqual(self.logits(source), self.logits(source.parent))

    def test_wrong_usage(self):
        output = self.folder / 'never'
        for target, code in (('gguf', 3), ('vllm', 3), ('tar', 2)):
            self.fail_with(code, 'convert', self.model, '-o', output, '--to', target, says=target)
        self.fail_with(2, 'convert', self.model, '-o', output, says='--to')
        self.fail_with(3, 'convert', self.folder / 'absent', '-o', output, '--to', 'hf', says='absent')
        self.assertFalse(output.exists())

    def test_an_existing_output_is_left_alone(self):
        before = sorted(self.quantized.iterdir())
        self.fail_with(2, 'convert', self.model, '-o', self.quantized, '--to', 'hf', says='quantized')
        self.assertEqual(before, sorted(self.quantized.iterdir()))


if __name__ == '__main__':
    unittest.main()
