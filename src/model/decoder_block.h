// One decoder block taken apart into the steps between which calibration looks at it.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "io/checkpoint.h"
#include "model/llama_config.h"
#include "model/llama_model.h"
#include "ops/linear.h"
#include "ops/norm.h"

namespace fptq::model {

// The linears of a block, in the order of the forward pass.
enum class BlockLinear : std::uint8_t { kQ, kK, kV, kO, kGate, kUp, kDown };
inline constexpr std::array<BlockLinear, 7> kBlockLinears = {
    BlockLinear::kQ,    BlockLinear::kK,  BlockLinear::kV,   BlockLinear::kO,
    BlockLinear::kGate, BlockLinear::kUp, BlockLinear::kDown};

// "self_attn.q_proj".
[[nodiscard]] std::string_view block_linear_name(BlockLinear linear);
// "model.layers.3.self_attn.q_proj".
[[nodiscard]] std::string block_module_name(std::size_t layer, BlockLinear linear);
// [N, K] of its weight.
[[nodiscard]] Shape block_linear_shape(const LlamaConfig& config, BlockLinear linear);

// What is fed into linears: query, key and value share one input, gate and up another.
enum class BlockInput : std::uint8_t { kAttention, kOutput, kMlp, kDown };
inline constexpr std::array<BlockInput, 4> kBlockInputs = {
    BlockInput::kAttention, BlockInput::kOutput, BlockInput::kMlp, BlockInput::kDown};

[[nodiscard]] BlockInput block_input_of(BlockLinear linear);
// The linears that read it.
[[nodiscard]] std::span<const BlockLinear> readers_of(BlockInput input);
// K.
[[nodiscard]] std::size_t block_input_width(const LlamaConfig& config, BlockInput input);

// Whole sequences from position 0 on, row after row; no cache survives a call. Running the steps
// one after the other gives the residual stream of LlamaModel::forward(), bit for bit.
//
// Linears and norms can be replaced, by those of a quantized model for instance.
// Thread safety: none.
class DecoderBlock {
 public:
  // The block of that layer as the checkpoint has it; float weights stay in the mapped file.
  // Errors: those of LlamaModel::load() that concern the block.
  [[nodiscard]] static Result<DecoderBlock> load(const io::Checkpoint& checkpoint,
                                                 const LlamaConfig& config, std::size_t layer,
                                                 const LoadOptions& options);

  DecoderBlock(DecoderBlock&&) noexcept;
  DecoderBlock& operator=(DecoderBlock&&) noexcept;
  ~DecoderBlock();

  [[nodiscard]] ops::Linear& linear(BlockLinear which);
  void set_linear(BlockLinear which, ops::Linear linear);
  [[nodiscard]] const ops::RmsNorm& attention_norm() const;
  [[nodiscard]] const ops::RmsNorm& mlp_norm() const;
  void set_attention_norm(ops::RmsNorm norm);
  void set_mlp_norm(ops::RmsNorm norm);

  // D, H, Dh, F as in LlamaConfig. Threads take whole sequences through attention and tiles of rows
  // through the rest, so that what lies between two linears does not leave their caches.
  //
  // x = norm(h), the input of query, key and value.  h, x [rows, D]
  void attention_input(const float* h, std::size_t rows, float* x);
  // attended = attention of rotated q(x), k(x), v(x), each sequence for itself.
  //   x         [rows, D]       sequences of these lengths, one after the other
  //   attended  [rows, H * Dh]  out
  // Errors: kLimit where the keys do not fit into memory.
  [[nodiscard]] Status attend(const float* x, std::span<const std::size_t> lengths,
                              float* attended);
  // h += o(attended).
  void add_attention(const float* attended, std::size_t rows, float* h);
  // x = norm(h), the input of gate and up.
  void mlp_input(const float* h, std::size_t rows, float* x);
  // hidden = silu(gate(x)) * up(x), rotated where down's weights are.  hidden [rows, F]
  void mlp_hidden(const float* x, std::size_t rows, float* hidden);
  // h += down(hidden).
  void add_mlp(const float* hidden, std::size_t rows, float* h);

  // Floats that the threads keep between calls.  longest_sequence: of those given to attend()
  [[nodiscard]] static std::uint64_t workspace_floats(const LlamaConfig& config,
                                                      std::size_t longest_sequence,
                                                      std::size_t threads);

 private:
  struct Impl;
  explicit DecoderBlock(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fptq::model
