#include "io/llama2c.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace fptq::io {
namespace {

constexpr std::uint32_t kMagic = 0x616b3432;  // "ak42"
constexpr std::size_t kHeaderBytesV0 = 28;
constexpr std::size_t kHeaderBytesV1 = 256;

Error format_error(const std::string& where, const std::string& what) {
  return Error{Error::Kind::kFormat, where + ": " + what};
}

template <typename T>
T load(std::span<const std::byte> file, std::size_t offset) {
  T value;
  std::memcpy(&value, file.data() + offset, sizeof value);
  return value;
}

// Lays out consecutive float32 arrays. Sizes saturate, so that a header that cannot be true is
// found by the length that it implies.
class Layout {
 public:
  explicit Layout(std::size_t begin) : end_(begin) {}

  // `layers` arrays of `elements` each; returns where the first begins.
  std::size_t add(std::size_t layers, std::size_t elements) {
    const std::size_t begin = end_;
    std::size_t size_bytes = 0;
    if (__builtin_mul_overflow(elements, layers * sizeof(float), &size_bytes) ||
        __builtin_add_overflow(end_, size_bytes, &end_)) {
      end_ = SIZE_MAX;
    }
    return begin;
  }

  std::size_t end() const { return end_; }

 private:
  std::size_t end_;
};

// Where each kind of tensor begins; those of a layer follow each other.
struct Offsets {
  std::size_t embedding, attn_norm, q, k, v, o, mlp_norm, gate, down, up, norm, classifier;
  std::size_t end;
};

Offsets lay_out(const Llama2cFile& f) {
  // Products of two int32 fit 64 bits.
  const std::size_t kv_dim = f.dim / f.heads * f.kv_heads;
  Offsets at{};
  if (f.version == 0) {
    Layout layout(kHeaderBytesV0);
    at.embedding = layout.add(1, f.vocab_size * f.dim);
    at.attn_norm = layout.add(f.layers, f.dim);
    at.q = layout.add(f.layers, f.dim * f.dim);
    at.k = layout.add(f.layers, f.dim * kv_dim);
    at.v = layout.add(f.layers, f.dim * kv_dim);
    at.o = layout.add(f.layers, f.dim * f.dim);
    at.mlp_norm = layout.add(f.layers, f.dim);
    at.gate = layout.add(f.layers, f.dim * f.hidden_dim);
    at.down = layout.add(f.layers, f.dim * f.hidden_dim);
    at.up = layout.add(f.layers, f.dim * f.hidden_dim);
    at.norm = layout.add(1, f.dim);
    // Tables of cosines and sines, which every program computes for itself.
    layout.add(2, f.seq_len * (f.dim / f.heads / 2));
    at.classifier = f.tied ? layout.end() : layout.add(1, f.vocab_size * f.dim);
    at.end = layout.end();
  } else {
    Layout layout(kHeaderBytesV1);
    at.attn_norm = layout.add(f.layers, f.dim);
    at.mlp_norm = layout.add(f.layers, f.dim);
    at.norm = layout.add(1, f.dim);
    at.embedding = layout.add(1, f.vocab_size * f.dim);
    at.q = layout.add(f.layers, f.dim * f.dim);
    at.k = layout.add(f.layers, f.dim * kv_dim);
    at.v = layout.add(f.layers, f.dim * kv_dim);
    at.o = layout.add(f.layers, f.dim * f.dim);
    at.gate = layout.add(f.layers, f.dim * f.hidden_dim);
    at.down = layout.add(f.layers, f.dim * f.hidden_dim);
    at.up = layout.add(f.layers, f.dim * f.hidden_dim);
    at.classifier = f.tied ? layout.end() : layout.add(1, f.vocab_size * f.dim);
    at.end = layout.end();
  }
  return at;
}

std::vector<Llama2cTensor> list_tensors(const Llama2cFile& f, const Offsets& at) {
  std::vector<Llama2cTensor> tensors;
  const auto add = [&](std::string name, Shape shape, std::size_t first, std::size_t layer,
                       std::size_t rotary_heads) {
    const std::size_t size_bytes = shape[0] * (shape.size() == 2 ? shape[1] : 1) * sizeof(float);
    tensors.push_back(
        {std::move(name), std::move(shape), first + layer * size_bytes, size_bytes, rotary_heads});
  };
  const std::size_t kv_dim = f.dim / f.heads * f.kv_heads;
  add("model.embed_tokens.weight", {f.vocab_size, f.dim}, at.embedding, 0, 0);
  add("model.norm.weight", {f.dim}, at.norm, 0, 0);
  if (!f.tied) add("lm_head.weight", {f.vocab_size, f.dim}, at.classifier, 0, 0);
  for (std::size_t i = 0; i < f.layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    add(layer + "input_layernorm.weight", {f.dim}, at.attn_norm, i, 0);
    add(layer + "self_attn.q_proj.weight", {f.dim, f.dim}, at.q, i, f.heads);
    add(layer + "self_attn.k_proj.weight", {kv_dim, f.dim}, at.k, i, f.kv_heads);
    add(layer + "self_attn.v_proj.weight", {kv_dim, f.dim}, at.v, i, 0);
    add(layer + "self_attn.o_proj.weight", {f.dim, f.dim}, at.o, i, 0);
    add(layer + "post_attention_layernorm.weight", {f.dim}, at.mlp_norm, i, 0);
    add(layer + "mlp.gate_proj.weight", {f.hidden_dim, f.dim}, at.gate, i, 0);
    add(layer + "mlp.down_proj.weight", {f.dim, f.hidden_dim}, at.down, i, 0);
    add(layer + "mlp.up_proj.weight", {f.hidden_dim, f.dim}, at.up, i, 0);
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return tensors;
}

// The seven int32 that every version has, in their order.
Status read_sizes(std::span<const std::byte> file, std::size_t offset, Llama2cFile& f,
                  const std::string& where) {
  constexpr std::array<const char*, 7> kNames = {"dim",        "hidden_dim", "n_layers", "n_heads",
                                                 "n_kv_heads", "vocab_size", "seq_len"};
  std::array<std::int32_t, 7> sizes{};
  std::memcpy(sizes.data(), file.data() + offset, sizeof sizes);
  if (f.version == 0) {
    f.tied = sizes[5] > 0;
    if (sizes[5] < 0 && sizes[5] != INT32_MIN) sizes[5] = -sizes[5];
  }
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] <= 0) {
      return format_error(where, "header: " + std::string(kNames[i]) +
                                     ": expected at least 1, got " + std::to_string(sizes[i]) +
                                     ". Is this a llama2.c checkpoint?");
    }
  }
  const auto size = [&](std::size_t i) { return static_cast<std::size_t>(sizes[i]); };
  f.dim = size(0);
  f.hidden_dim = size(1);
  f.layers = size(2);
  f.heads = size(3);
  f.kv_heads = size(4);
  f.vocab_size = size(5);
  f.seq_len = size(6);
  if (f.dim % f.heads != 0 || f.dim / f.heads % 2 != 0 || f.heads % f.kv_heads != 0) {
    return format_error(where, "header: expected an even head width and heads in groups, got dim " +
                                   std::to_string(f.dim) + ", " + std::to_string(f.heads) +
                                   " heads, " + std::to_string(f.kv_heads) +
                                   " key-value heads. Is this a llama2.c checkpoint?");
  }
  return {};
}

}  // namespace

bool has_llama2c_magic(std::span<const std::byte> file) {
  return file.size() >= 4 && load<std::uint32_t>(file, 0) == kMagic;
}

Result<Llama2cFile> parse_llama2c(std::span<const std::byte> file, const std::string& where) {
  Llama2cFile parsed{};
  const bool magic = has_llama2c_magic(file);
  const std::size_t header_bytes = magic ? kHeaderBytesV1 : kHeaderBytesV0;
  if (file.size() < header_bytes) {
    return format_error(where, "expected a header of " + std::to_string(header_bytes) +
                                   " bytes, got a file of " + std::to_string(file.size()));
  }
  if (magic) {
    parsed.version = load<std::int32_t>(file, 4);
    if (parsed.version != 1) {
      return Error{Error::Kind::kUnsupported,
                   where + ": llama2.c format version " + std::to_string(parsed.version) +
                       (parsed.version == 2 ? " (already quantized to int8)" : "") +
                       " is not supported. Export it again as version 0 or 1 (float32)"};
    }
    parsed.tied = load<std::uint8_t>(file, 36) != 0;
  }
  FPTQ_TRY_VOID(read_sizes(file, magic ? 8 : 0, parsed, where));
  const Offsets at = lay_out(parsed);
  if (at.end != file.size()) {
    const bool longer = file.size() > at.end;
    return format_error(where,
                        "expected " + std::to_string(at.end) + " bytes, as the header says, got " +
                            std::to_string(file.size()) + ": " +
                            std::to_string(longer ? file.size() - at.end : at.end - file.size()) +
                            (longer ? " too many. Cut the file to that length if other data follow"
                                    : " are missing. Is the file truncated?"));
  }
  parsed.tensors = list_tensors(parsed, at);
  return parsed;
}

Result<Llama2cVocabulary> parse_llama2c_vocabulary(std::span<const std::byte> file,
                                                   std::size_t vocab_size,
                                                   const std::string& where) {
  Llama2cVocabulary vocabulary;
  std::size_t at = 4;  // after the length of the longest piece
  for (std::size_t id = 0; id < vocab_size; ++id) {
    const std::string piece = "piece " + std::to_string(id) + " of " + std::to_string(vocab_size);
    if (file.size() < at || file.size() - at < 8) {
      return format_error(where, piece + ": expected a score and a length at byte " +
                                     std::to_string(at) + ", got the end of the file");
    }
    const auto score = load<float>(file, at);
    const auto length = load<std::int32_t>(file, at + 4);
    at += 8;
    if (length < 0 || static_cast<std::size_t>(length) > file.size() - at) {
      return format_error(where, piece + ": expected a length of at most the " +
                                     std::to_string(file.size() - at) + " bytes that follow, got " +
                                     std::to_string(length));
    }
    const auto size_bytes = static_cast<std::size_t>(length);
    vocabulary.tokens.emplace_back(reinterpret_cast<const char*>(file.data()) + at, size_bytes);
    vocabulary.scores.push_back(score);
    at += size_bytes;
  }
  if (at != file.size()) {
    return format_error(where, "expected the file to end after " + std::to_string(vocab_size) +
                                   " pieces, got " + std::to_string(file.size() - at) +
                                   " more bytes. Does it belong to this checkpoint?");
  }
  return vocabulary;
}

}  // namespace fptq::io
