"""Checkpoints with something wrong: exit code 3, a message that names the place, no output."""
import json
import unittest

import harness
import tiny


class BadInput(harness.ProgramTest):

    def setUp(self):
        self.model = tiny.write_checkpoint(self.folder / self._testMethodName)

    def rejects(self, *says, commands=('logits', 'quantize')):
        """The commands fail with 3, say each of `says`, and write nothing."""
        output = self.folder / f'{self._testMethodName}.out'
        for command in commands:
            flags = ['-o', output] if command != 'inspect' else []
            if command == 'logits':
                flags += ['--ids', '1']
            self.fail_with(3, command, self.model, *flags, says=says)
            self.assertFalse(output.exists())

    def change_config(self, **changes):
        config = json.loads((self.model / 'config.json').read_text())
        config.update(changes)
        (self.model / 'config.json').write_text(json.dumps(config))

    def change_tensor(self, name, change):
        """Replaces (dtype, shape, bytes) of a tensor by change(dtype, shape, bytes)."""
        tensors = tiny.random_tensors(tiny.config())
        tensors[name] = change(*tensors[name])
        (self.model / 'model.safetensors').write_bytes(tiny.safetensors(tensors))

    def test_nothing_there(self):
        self.model = self.folder / 'absent'
        self.rejects('absent')

    def test_an_empty_directory(self):
        self.model = self.folder / 'empty'
        self.model.mkdir()
        self.rejects('empty', 'model.safetensors')

    def test_a_file_of_no_known_kind(self):
        self.model = self.folder / 'notes.txt'
        self.model.write_text('not a model')
        self.rejects('notes.txt')

    def test_a_truncated_file(self):
        file = self.model / 'model.safetensors'
        file.write_bytes(file.read_bytes()[:-1000])
        self.rejects('model.safetensors')

    def test_an_empty_file(self):
        (self.model / 'model.safetensors').write_bytes(b'')
        self.rejects('model.safetensors')

    def test_a_header_longer_than_the_file(self):
        (self.model / 'model.safetensors').write_bytes(b'\xff' * 8 + b'{}')
        self.rejects('model.safetensors')

    def test_a_missing_shard(self):
        self.model = tiny.write_checkpoint(self.folder / 'shards', shards=3)
        (self.model / 'model-00002-of-00003.safetensors').unlink()
        self.rejects('model-00002-of-00003.safetensors')

    def test_an_index_that_leaves_the_directory(self):
        self.model = tiny.write_checkpoint(self.folder / 'escape', shards=2)
        index = self.model / 'model.safetensors.index.json'
        index.write_text(index.read_text().replace('model-00002-of-00002', '../secret'))
        self.rejects('index.json')

    def test_a_missing_tensor(self):
        tensors = tiny.random_tensors(tiny.config())
        del tensors['model.layers.1.mlp.up_proj.weight']
        (self.model / 'model.safetensors').write_bytes(tiny.safetensors(tensors))
        self.rejects('model.layers.1.mlp.up_proj.weight')

    def test_a_tensor_of_another_shape(self):
        self.change_tensor('model.layers.0.self_attn.q_proj.weight',
                           lambda dtype, shape, data: (dtype, [32, 128], data))
        self.rejects('model.layers.0.self_attn.q_proj.weight', '[64, 64]', '[32, 128]')

    def test_an_unknown_type(self):
        self.change_tensor('lm_head.weight', lambda dtype, shape, data: ('F7', shape, data))
        self.rejects('F7')

    def test_weights_that_are_not_finite(self):
        for name, bits in (('nan', b'\xc0\x7f'), ('infinity', b'\x80\xff')):
            with self.subTest(name):
                self.change_tensor('model.layers.1.mlp.down_proj.weight',
                                   lambda dtype, shape, data: (dtype, shape, bits + data[2:]))
                self.rejects('model.layers.1.mlp.down_proj.weight', commands=['quantize'])

    def test_a_config_that_is_not_json(self):
        (self.model / 'config.json').write_text('{"model_type": llama}')
        self.rejects('config.json', 'line 1')

    def test_a_config_that_nests_too_deep(self):
        (self.model / 'config.json').write_text('[' * 100000)
        self.rejects('config.json')

    def quantize_to_nf4(self):
        """self.model becomes a checkpoint in bitsandbytes' layout; returns its config.json."""
        quantized = self.folder / f'{self._testMethodName}.nf4'
        self.succeed('quantize', self.model, '-o', quantized, '--recipe', 'nf4')
        self.model = quantized
        return json.loads((quantized / 'config.json').read_text())['quantization_config']

    def test_eight_bit_weights_of_bitsandbytes(self):
        config = self.quantize_to_nf4()
        self.change_config(quantization_config={**config, 'load_in_8bit': True})
        self.rejects('load_in_8bit', 'LLM.int8 is not offered', commands=('logits',))

    def test_a_description_of_codes_that_is_no_json(self):
        self.quantize_to_nf4()
        weights = self.model / 'model.safetensors'
        data = weights.read_bytes()
        self.assertIn(b'{"quant_type"', data)
        weights.write_bytes(data.replace(b'{"quant_type"', b'["quant_type"', 1))
        self.rejects('quant_state.bitsandbytes__nf4"', commands=('logits', 'inspect'))

    def test_a_block_size_that_contradicts_the_constants(self):
        self.quantize_to_nf4()
        weights = self.model / 'model.safetensors'
        data = weights.read_bytes()
        weights.write_bytes(data.replace(b'"blocksize": 64,', b'"blocksize": 32,'))
        self.rejects('.weight.absmax": expected [', commands=('logits',))

    def test_an_offset_that_is_no_number(self):
        self.quantize_to_nf4()
        weights = self.model / 'model.safetensors'
        data = weights.read_bytes()
        begin = data.index(b'"nested_offset": ') + len(b'"nested_offset": ')
        end = data.index(b'}', begin)
        weights.write_bytes(data[:begin] + b'NaN'.ljust(end - begin) + data[end:])
        self.rejects('quant_state.bitsandbytes__nf4"', commands=('logits',))

    def test_another_architecture(self):
        self.change_config(model_type='bloom', architectures=['BloomForCausalLM'])
        self.rejects('bloom')

    def test_an_unknown_rope_type(self):
        self.change_config(rope_scaling={'rope_type': 'spiral', 'factor': 2.0})
        self.rejects('spiral')

    def test_sizes_that_make_no_sense(self):
        for key, value in (('hidden_size', 0), ('hidden_size', -64), ('num_attention_heads', 3),
                           ('num_hidden_layers', 10**18), ('vocab_size', 'many')):
            with self.subTest(key, value=value):
                self.change_config(**{**tiny.config(), key: value})
                self.rejects('config.json')

    def test_a_tokenizer_with_more_entries_than_the_embedding(self):
        (self.model / 'tokenizer.json').write_text(json.dumps(tiny.tokenizer(extra_tokens=62)))
        text = self.folder / 'text'
        text.write_text('some text')
        self.fail_with(3, 'eval', self.model, '--ppl', text, says=['320', '321'])
        self.fail_with(3, 'run', self.model, '-p', 'x', says=['320', '321'])
        output = self.folder / 'mismatch'
        self.fail_with(3, 'quantize', self.model, '-o', output, says=['320', '321'])
        self.assertFalse(output.exists())

    def test_a_tokenizer_with_fewer_entries_is_usual(self):
        (self.model / 'tokenizer.json').write_text(json.dumps(tiny.tokenizer(extra_tokens=61)))
        self.succeed('run', self.model, '-p', 'x', '-n', '2')

    def test_a_broken_tokenizer(self):
        (self.model / 'tokenizer.json').write_text('{"model": 1}')
        self.fail_with(3, 'tokenize', self.model, says='tokenizer.json')
        self.fail_with(3, 'run', self.model, '-p', 'x')
        result = harness.fptq('quantize', self.model, '-o', self.folder / 'warned', '--recipe',
                              'rtn')
        self.assertEqual(0, result.returncode)  # its weights are sound
        self.assertIn('warning: ', result.stderr.decode())

    def test_no_tokenizer(self):
        (self.model / 'tokenizer.json').unlink()
        self.fail_with(3, 'run', self.model, '-p', 'x', says='tokenizer')
        self.succeed('logits', self.model, '--ids', '1', '-o', self.folder / 'none.npy')


if __name__ == '__main__':
    unittest.main()
