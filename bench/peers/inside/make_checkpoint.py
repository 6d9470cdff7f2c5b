"""usage: make_checkpoint.py CONFIG_JSON FOLDER

A Llama checkpoint with random weights: model.safetensors in bfloat16, config.json, and a tokenizer
of three words for programs that refuse to convert a model without one. Tensors are written one
after the other, so that memory holds one of them. The same file for the same configuration.
"""

import json
import pathlib
import struct
import sys

import numpy as np


def tensors(c):
    """(name, shape) of every tensor, in the order of the file."""
    width, kv_width = c["num_attention_heads"] * c["head_dim"], (
        c["num_key_value_heads"] * c["head_dim"])
    hidden, ffn = c["hidden_size"], c["intermediate_size"]
    yield "model.embed_tokens.weight", (c["vocab_size"], hidden)
    for layer in range(c["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (hidden,)
        yield prefix + "self_attn.q_proj.weight", (width, hidden)
        yield prefix + "self_attn.k_proj.weight", (kv_width, hidden)
        yield prefix + "self_attn.v_proj.weight", (kv_width, hidden)
        yield prefix + "self_attn.o_proj.weight", (hidden, width)
        yield prefix + "post_attention_layernorm.weight", (hidden,)
        yield prefix + "mlp.gate_proj.weight", (ffn, hidden)
        yield prefix + "mlp.up_proj.weight", (ffn, hidden)
        yield prefix + "mlp.down_proj.weight", (hidden, ffn)
    yield "model.norm.weight", (hidden,)
    if not c["tie_word_embeddings"]:
        yield "lm_head.weight", (c["vocab_size"], hidden)


def bfloat16(values):
    """The upper halves of float32 values, rounded."""
    return ((values.view(np.uint32) + 0x8000) >> 16).astype(np.uint16)


def write_safetensors(path, c):
    header, offset = {}, 0
    for name, shape in tensors(c):
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset,
                                                                                offset + size]}
        offset += size
    header["__metadata__"] = {"format": "pt"}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, shape in tensors(c):
            if len(shape) == 1:
                bfloat16(np.ones(shape, np.float32)).tofile(file)
                continue
            # As most trainers start: the variance keeps activations near 1 through a block.
            deviation = np.float32(shape[1] ** -0.5)
            for begin in range(0, shape[0], 4096):
                rows = min(4096, shape[0] - begin)
                values = random.standard_normal((rows, shape[1]), np.float32)
                values *= deviation
                bfloat16(values).tofile(file)


def write_tokenizer(folder):
    special = [{"id": i, "content": word, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True} for i, word in enumerate(
                    ["<unk>", "<s>", "</s>"])]
    vocabulary = {entry["content"]: entry["id"] for entry in special}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "bos_token": "<s>",
        "eos_token": "</s>", "model_max_length": 4096}))


def main():
    c = json.loads(pathlib.Path(sys.argv[1]).read_text())
    folder = pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(c, indent=2) + "\n")
    write_tokenizer(folder)
    write_safetensors(folder / "model.safetensors", c)


if __name__ == "__main__":
    main()
