#!/usr/bin/env python3
"""Writes small valid inputs for the fuzz targets to begin with.

Usage: make_seeds.py DIRECTORY   (DIRECTORY/<name>/ holds the seeds of fuzz_<name>)
"""
import json
import pathlib
import struct
import sys


def safetensors(tensors, metadata=None):
    """tensors: name -> (dtype, shape, bytes)."""
    header, data = {}, b''
    if metadata is not None:
        header['__metadata__'] = metadata
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {'dtype': dtype, 'shape': shape,
                        'data_offsets': [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    return struct.pack('<Q', len(text)) + text + data


def safetensors_seeds():
    floats = struct.pack('<4f', 0.5, -1, 2, 3)
    yield safetensors({})
    yield safetensors({'a': ('F32', [2, 2], floats)}, {'format': 'pt'})
    yield safetensors({'a': ('BF16', [2, 1, 4], floats), 'b': ('F16', [0, 3], b''),
                       'c': ('I64', [], bytes(8)), 'd': ('BOOL', [3], b'\0\1\0')})


def gguf_string(text):
    return struct.pack('<Q', len(text.encode())) + text.encode()


def gguf_key(key, number, value):
    return gguf_string(key) + struct.pack('<I', number) + value


def gguf_u32(key, value):
    return gguf_key(key, 4, struct.pack('<I', value))


def gguf_array(key, number, values):
    pack = {5: lambda v: struct.pack('<i', v), 6: lambda v: struct.pack('<f', v), 8: gguf_string}[number]
    return gguf_key(key, 9, struct.pack('<IQ', number, len(values)) + b''.join(map(pack, values)))


def gguf(keys, tensors, version=3):
    """tensors: (name, axes, type, bytes)."""
    infos, data = b'', b''
    for name, axes, number, content in tensors:
        data += bytes(-len(data) % 32)
        infos += gguf_string(name) + struct.pack('<I', len(axes))
        infos += struct.pack(f'<{len(axes)}Q', *axes) + struct.pack('<IQ', number, len(data))
        data += content
    head = b'GGUF' + struct.pack('<IQQ', version, len(tensors), len(keys)) + b''.join(keys) + infos
    return head + bytes(-len(head) % 32) + data


def gguf_llama_keys():
    sizes = {'context_length': 64, 'embedding_length': 8, 'block_count': 1,
             'feed_forward_length': 4, 'attention.head_count': 2, 'attention.head_count_kv': 1}
    return [gguf_key('general.architecture', 8, gguf_string('llama')),
            *(gguf_u32('llama.' + key, value) for key, value in sizes.items()),
            gguf_key('llama.attention.layer_norm_rms_epsilon', 6, struct.pack('<f', 1e-5)),
            gguf_key('llama.rope.freq_base', 6, struct.pack('<f', 10000))]


def gguf_vocabularies():
    tokens = ['<unk>', '<s>', '</s>', 'a', 'b', 'ab']
    yield [gguf_key('tokenizer.ggml.model', 8, gguf_string('llama')),
           gguf_array('tokenizer.ggml.tokens', 8, tokens),
           gguf_array('tokenizer.ggml.scores', 6, [0, 0, 0, -1, -2, -3]),
           gguf_array('tokenizer.ggml.token_type', 5, [2, 3, 3, 1, 1, 1]),
           gguf_u32('tokenizer.ggml.bos_token_id', 1),
           gguf_key('tokenizer.ggml.add_bos_token', 7, b'\1')]
    yield [gguf_key('tokenizer.ggml.model', 8, gguf_string('gpt2')),
           gguf_key('tokenizer.ggml.pre', 8, gguf_string('llama-bpe')),
           gguf_array('tokenizer.ggml.tokens', 8, tokens),
           gguf_array('tokenizer.ggml.merges', 8, ['a b'])]


def gguf_seeds():
    embedding = ('token_embd.weight', [8, 5], 0, bytes(160))
    query = ('blk.0.attn_q.weight', [8, 8], 1, bytes(128))
    factors = ('rope_freqs.weight', [2], 0, struct.pack('<2f', 1, 8))
    yield gguf([], [])
    yield gguf(gguf_llama_keys(), [embedding, query, factors])
    for vocabulary in gguf_vocabularies():
        yield gguf(gguf_llama_keys() + vocabulary, [embedding], version=2)
    blocks = {2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
              11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 20: (32, 18),
              23: (256, 136), 30: (1, 2)}
    for number, (elements, size) in blocks.items():
        yield gguf([], [('w', [elements, 1], number, bytes(range(1, size + 1)))])


def llama2c_seeds():
    sizes = (4, 4, 1, 2, 1, 3, 2)  # dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab, seq_len
    weights = 3 * 4 + 4 + 16 + 8 + 8 + 16 + 4 + 3 * 16 + 4
    yield struct.pack('<7i', *sizes) + bytes(4 * (weights + 2 * 2))
    yield (b'24ka' + struct.pack('<i7iB', 1, *sizes, 1)).ljust(256, b'\0') + bytes(4 * weights)
    pieces = [b'<unk>', b'\n<s>\n', b'\n</s>\n', b'<0x00>', b'a', b'b', b'ab']
    yield (bytes([len(pieces)]) + struct.pack('<i', 7)
           + b''.join(struct.pack('<fi', -i, len(p)) + p for i, p in enumerate(pieces)))


def config_seeds():
    sizes = {'model_type': 'llama', 'vocab_size': 320, 'hidden_size': 64, 'intermediate_size': 96,
             'num_hidden_layers': 2, 'num_attention_heads': 4, 'num_key_value_heads': 2,
             'max_position_embeddings': 128, 'rms_norm_eps': 1e-5, 'eos_token_id': [2, 3]}
    rope = {'rope_theta': 1e4, 'factor': 4.0, 'original_max_position_embeddings': 32}
    llama3 = {'low_freq_factor': 1.0, 'high_freq_factor': 4.0}
    w4 = {'num_bits': 4, 'type': 'int', 'symmetric': False, 'strategy': 'group', 'group_size': 32}
    a8 = {'num_bits': 8, 'type': 'int', 'strategy': 'token', 'dynamic': True}
    groups = {'group_0': {'targets': ['Linear', 're:.*layers\\.(0|1)\\..*'], 'weights': w4,
                          'input_activations': a8, 'format': 'pack-quantized'}}
    quantization = {'quant_method': 'compressed-tensors', 'format': 'pack-quantized',
                    'config_groups': groups, 'ignore': ['lm_head']}
    rotation = {'type': 'hadamard', 'head_dim': 32, 'apply': [
        {'targets': ['re:.*down_proj$'], 'location': 'input', 'ignore': []},
        {'targets': ['re:.*down_proj$'], 'location': 'weight_input', 'inverse': True}]}
    rotated = quantization | {'transform_config': {'config_groups': {'R4': rotation}}}
    configs = [sizes, quantization, sizes | {'quantization_config': quantization},
               sizes | {'quantization_config': rotated},
               sizes | {'model_type': 'mistral', 'sliding_window': 16, 'head_dim': 24},
               sizes | {'rope_scaling': {'type': 'dynamic', 'factor': 2.0}}]
    configs += [sizes | {'rope_parameters': rope | llama3 | {'rope_type': kind}}
                for kind in ('default', 'linear', 'yarn', 'llama3')]
    for config in configs:
        yield json.dumps(config).encode()


def recipe_seeds():
    yield b'weights: w4g32\n'
    yield (b'name: rtn\nweights: w4g32\nsymmetric: false\nactivations: a8t\nembed: w8c-sym\n'
           b'head: w8c-sym-a8t\nrounding: rtn\nscale_dtype: auto\nseed: 0\noverrides:\n'
           b"  - match: 'layers\\.0\\..*'\n    scheme: w8c-sym-a8t\n")
    yield b'{weights: w4c-asym, activations: a8t-asym, overrides: [{match: "(a|b)+", scheme: keep}]}'


def csv_seeds():
    yield b'question,choice0,answer\n"What, ""who""\nand why?",x,3\n'
    yield b'a,,\r\n"",b\r\n\n1'


SEEDS = {'config': config_seeds, 'csv': csv_seeds, 'gguf': gguf_seeds, 'llama2c': llama2c_seeds,
         'recipe': recipe_seeds, 'safetensors': safetensors_seeds}


def main(directory):
    for name, seeds in SEEDS.items():
        folder = pathlib.Path(directory) / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds()):
            (folder / f'seed{number:02}').write_bytes(seed)


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
