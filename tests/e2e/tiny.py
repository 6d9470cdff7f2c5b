"""Small random Llama checkpoints, written without any of the program's own code."""
import json
import pathlib
import random
import struct

VOCABULARY = 320  # 3 special tokens, 256 bytes, and 61 rows that no token uses
BOS, EOS = 1, 2
FIRST_BYTE = 3


def config(**changes):
    """A config.json as transformers writes it."""
    values = {
        'architectures': ['LlamaForCausalLM'], 'model_type': 'llama', 'vocab_size': VOCABULARY,
        'hidden_size': 64, 'intermediate_size': 96, 'num_hidden_layers': 2,
        'num_attention_heads': 4, 'num_key_value_heads': 2, 'max_position_embeddings': 256,
        'rms_norm_eps': 1e-5, 'rope_theta': 10000.0, 'hidden_act': 'silu',
        'tie_word_embeddings': False, 'bos_token_id': BOS, 'eos_token_id': EOS,
        'torch_dtype': 'bfloat16'}
    values.update(changes)
    return values


def shapes(cfg):
    """Name -> shape of every tensor of a Llama model."""
    width, ffn = cfg['hidden_size'], cfg['intermediate_size']
    kv = width // cfg['num_attention_heads'] * cfg['num_key_value_heads']
    result = {'model.embed_tokens.weight': [cfg['vocab_size'], width], 'model.norm.weight': [width]}
    for layer in range(cfg['num_hidden_layers']):
        for name, shape in {
                'input_layernorm': [width], 'post_attention_layernorm': [width],
                'self_attn.q_proj': [width, width], 'self_attn.k_proj': [kv, width],
                'self_attn.v_proj': [kv, width], 'self_attn.o_proj': [width, width],
                'mlp.gate_proj': [ffn, width], 'mlp.up_proj': [ffn, width],
                'mlp.down_proj': [width, ffn]}.items():
            result[f'model.layers.{layer}.{name}.weight'] = shape
    if not cfg['tie_word_embeddings']:
        result['lm_head.weight'] = [cfg['vocab_size'], width]
    return result


# bfloat16 has its sign and the upper 7 bits of the exponent in the high byte.
_HIGH = bytes((0x80 if byte & 1 else 0) | (60 if byte & 2 else 59) for byte in range(256))


def random_values(rng, count, dtype):
    """`count` numbers of magnitude 2^-9 to 2^-5 and either sign, as bytes."""
    high = rng.randbytes(count).translate(_HIGH)
    width = {'BF16': 2, 'F32': 4}[dtype]
    data = bytearray(rng.randbytes(count * width))
    data[width - 1::width] = high
    return bytes(data)


def random_tensors(cfg, dtype='BF16', seed=1):
    """Name -> (dtype, shape, bytes); norms are 1."""
    rng = random.Random(seed)
    one = {'BF16': b'\x80\x3f', 'F32': b'\x00\x00\x80\x3f'}[dtype]
    tensors = {}
    for name, shape in shapes(cfg).items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        data = one * count if len(shape) == 1 else random_values(rng, count, dtype)
        tensors[name] = (dtype, shape, data)
    return tensors


def scripted_tensors(cfg, follows):
    """A model in BF16 that puts id follows[id] behind id.

    Its blocks add nothing, so that the classifier sees the last token's embedding, and the row of
    the follower is that embedding. Every follower has one predecessor."""
    tensors = random_tensors(cfg)
    for name, (dtype, shape, data) in tensors.items():
        if name.endswith(('o_proj.weight', 'down_proj.weight', 'lm_head.weight')):
            tensors[name] = (dtype, shape, bytes(len(data)))
    embedding = tensors['model.embed_tokens.weight'][2]
    row_bytes = 2 * cfg['hidden_size']
    classifier = bytearray(len(embedding))
    for before, after in follows.items():
        row = embedding[before * row_bytes:(before + 1) * row_bytes]
        classifier[after * row_bytes:(after + 1) * row_bytes] = row
    dtype, shape, _ = tensors['lm_head.weight']
    tensors['lm_head.weight'] = (dtype, shape, bytes(classifier))
    return tensors


def cycle(text):
    """Each byte of `text` -> its next one, as ids; the first follows the last. All differ."""
    ids = ids_of(text)[1:]
    return dict(zip(ids, ids[1:] + ids[:1]))


def safetensors(tensors, metadata={'format': 'pt'}):
    """The bytes of a safetensors file."""
    header, offset = {'__metadata__': metadata}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {'dtype': dtype, 'shape': shape, 'data_offsets': [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    return struct.pack('<Q', len(text)) + text + b''.join(data for _, _, data in tensors.values())


def tokenizer(extra_tokens=0):
    """A byte-level tokenizer.json without merges that puts BOS in front."""
    vocab = {'<unk>': 0, '<s>': BOS, '</s>': EOS}
    shifted = 0
    for byte in range(256):
        printable = 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255
        vocab[chr(byte if printable else 256 + shifted)] = FIRST_BYTE + byte
        shifted += not printable
    for extra in range(extra_tokens):
        vocab[f'extra{extra}'] = len(vocab)
    special = [{'id': id, 'content': token, 'single_word': False, 'lstrip': False, 'rstrip': False,
                'normalized': False, 'special': True}
               for token, id in (('<unk>', 0), ('<s>', BOS), ('</s>', EOS))]
    byte_level = {'type': 'ByteLevel', 'add_prefix_space': False, 'trim_offsets': True,
                  'use_regex': True}
    return {
        'version': '1.0', 'truncation': None, 'padding': None, 'added_tokens': special,
        'normalizer': None, 'pre_tokenizer': byte_level, 'decoder': byte_level,
        'post_processor': {
            'type': 'TemplateProcessing',
            'single': [{'SpecialToken': {'id': '<s>', 'type_id': 0}},
                       {'Sequence': {'id': 'A', 'type_id': 0}}],
            'pair': [{'Sequence': {'id': 'A', 'type_id': 0}}, {'Sequence': {'id': 'B', 'type_id': 1}}],
            'special_tokens': {'<s>': {'id': '<s>', 'ids': [BOS], 'tokens': ['<s>']}}},
        'model': {'type': 'BPE', 'dropout': None, 'unk_token': None,
                  'continuing_subword_prefix': None, 'end_of_word_suffix': None,
                  'fuse_unk': False, 'byte_fallback': False, 'ignore_merges': False,
                  'vocab': vocab, 'merges': []}}


def ids_of(text):
    """What tokenizer() makes of `text`, BOS included."""
    return [BOS] + [FIRST_BYTE + byte for byte in text.encode()]


def write_checkpoint(folder, cfg=None, tensors=None, shards=1, tokens=None, dtype='BF16'):
    """A Hugging Face directory; returns its path."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    cfg = cfg or config()
    tensors = tensors or random_tensors(cfg, dtype)
    (folder / 'config.json').write_text(json.dumps(cfg, indent=2))
    (folder / 'tokenizer.json').write_text(json.dumps(tokens or tokenizer()))
    if shards == 1:
        (folder / 'model.safetensors').write_bytes(safetensors(tensors))
        return folder
    weight_map = {}
    for shard in range(shards):
        name = f'model-{shard + 1:05}-of-{shards:05}.safetensors'
        part = dict(list(tensors.items())[shard::shards])
        (folder / name).write_bytes(safetensors(part))
        weight_map.update({tensor: name for tensor in part})
    total = sum(len(data) for _, _, data in tensors.values())
    (folder / 'model.safetensors.index.json').write_text(
        json.dumps({'metadata': {'total_size': total}, 'weight_map': weight_map}))
    return folder


def write_llama2c(folder, cfg):
    """A llama2.c checkpoint (legacy layout, tied) of random float32 values; returns its path."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    tensors = random_tensors(cfg, 'F32')
    body = [tensors['model.embed_tokens.weight'][2]]
    for name in ('input_layernorm', 'self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj',
                 'self_attn.o_proj', 'post_attention_layernorm', 'mlp.gate_proj', 'mlp.down_proj',
                 'mlp.up_proj'):
        body += [tensors[f'model.layers.{layer}.{name}.weight'][2]
                 for layer in range(cfg['num_hidden_layers'])]
    head = cfg['hidden_size'] // cfg['num_attention_heads']
    tables = bytes(cfg['max_position_embeddings'] * head * 4)  # of RoPE, which no reader needs
    header = struct.pack('<7i', cfg['hidden_size'], cfg['intermediate_size'],
                         cfg['num_hidden_layers'], cfg['num_attention_heads'],
                         cfg['num_key_value_heads'], cfg['vocab_size'],
                         cfg['max_position_embeddings'])
    file = folder / 'model.bin'
    file.write_bytes(b''.join([header, *body, tensors['model.norm.weight'][2], tables]))
    return file
