"""usage: make_gguf.py CHECKPOINT FILE

The checkpoint that make_checkpoint.py wrote as a GGUF file: matrices in bfloat16, norms in float32,
and no vocabulary, since token ids are fed directly.
"""

import json
import pathlib
import sys

import gguf
import numpy as np

BLOCK = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
ENDS = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight"}


def gguf_name(name):
    if name in ENDS:
        return ENDS[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{BLOCK[rest.removesuffix('.weight')]}.weight"


def interleaved(rows, heads):
    """GGUF's order of the rows of q and k: the two halves of a head's rotary pairs side by side."""
    pairs = rows.reshape(heads, 2, rows.shape[0] // heads // 2, rows.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows.shape))


def main():
    checkpoint = pathlib.Path(sys.argv[1])
    c = json.loads((checkpoint / "config.json").read_text())
    path = checkpoint / "model.safetensors"
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    data = np.memmap(path, np.uint16, "r", 8 + length)

    writer = gguf.GGUFWriter(sys.argv[2], "llama")
    writer.add_context_length(c["max_position_embeddings"])
    writer.add_embedding_length(c["hidden_size"])
    writer.add_block_count(c["num_hidden_layers"])
    writer.add_feed_forward_length(c["intermediate_size"])
    writer.add_head_count(c["num_attention_heads"])
    writer.add_head_count_kv(c["num_key_value_heads"])
    writer.add_key_length(c["head_dim"])
    writer.add_value_length(c["head_dim"])
    writer.add_rope_dimension_count(c["head_dim"])
    writer.add_rope_freq_base(c["rope_theta"])
    writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
    writer.add_vocab_size(c["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    writer.add_tokenizer_model("no_vocab")

    heads = {"q_proj": c["num_attention_heads"], "k_proj": c["num_key_value_heads"]}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (offset // 2 for offset in entry["data_offsets"])
        values = data[begin:end].reshape(entry["shape"])
        if values.ndim == 1:
            writer.add_tensor(gguf_name(name), (values.astype(np.uint32) << 16).view(np.float32))
            continue
        kind = name.split(".")[-2]
        if kind in heads:
            values = interleaved(values, heads[kind])
        writer.add_tensor(gguf_name(name), values.view(np.uint8),
                          raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
