// A Llama model: weights bound to a configuration, and the forward pass.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/cpu.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "io/checkpoint.h"
#include "model/kv_cache.h"
#include "model/llama_config.h"
#include "model/profile.h"

namespace fptq::model {

// What the activations of quantized linears become at run time.
enum class ActivationMode {
  kAsStored,  // as the checkpoint's scheme says: 8-bit where it says so
  kFloat,     // kept in float32 everywhere (--activations a16): only the weights are quantized
};

struct LoadOptions {
  ThreadPool* pool = nullptr;  // required; has to outlive the model
  Isa isa = best_isa();        // kernels of this family or a family that it includes
  ActivationMode activations = ActivationMode::kAsStored;
  // Weights of linears packed for the kernels may take at most this much memory; 0: no limit.
  std::uint64_t ram_limit_bytes = 0;
};

// Tokens that go through the model together. forward() cuts longer inputs into pieces of this size,
// so that workspaces stay bounded; the pieces do not change a bit.
inline constexpr std::size_t kPassTokens = 512;

// Which positions of a sequence get logits.
enum class LogitsWanted { kNone, kLast, kAll };

// One sequence's part of a batch.
struct SequenceInput {
  std::span<const std::int32_t> ids;  // T >= 1 tokens for positions [cache->length(), + T)
  KvCache* cache;                     // grows by T
  LogitsWanted logits = LogitsWanted::kLast;
  // Length that the whole input will have, which dynamic RoPE scaling depends on;
  // 0: cache->length() + T.
  std::size_t total_length = 0;
};

// What executed one layer: an entry of the precision receipt.
struct ReceiptEntry {
  std::string layer;   // "model.layers.0.self_attn.q_proj"
  std::string scheme;  // short name of what was executed, "w4g32-a8t" or "bf16"
  std::string kernel;  // "w4a8_gemm", "hadamard+w4a8_gemm" where inputs are rotated first
  std::string isa;     // "avx512vnni"
  std::uint64_t calls;
};

// Activations inside the forward pass, seen by observers and tests:
//   name    "embed", "block0.attn_norm", "block0.attn" (output of attention before the residual),
//           "block0.mlp_norm", "block0.mlp", "block0" (residual stream after the block),
//           "final_norm", and the inputs of linears: "block0.o_proj.in", "block0.down_proj.in"
//           (rotated where they are)
//   values  [rows, cols] row-major
using Tap = std::function<void(std::string_view name, const float* values, std::size_t rows,
                               std::size_t cols)>;

// Bytes that a loaded model keeps, by what they are for.
struct ModelBytes {
  std::uint64_t linears = 0;    // decoder linears: codes, scales, zero points
  std::uint64_t embedding = 0;  // 0 where the classifier's bytes serve both
  std::uint64_t classifier = 0;
  std::uint64_t other = 0;  // norms, biases
  [[nodiscard]] std::uint64_t total() const { return linears + embedding + classifier + other; }
};

// Thread safety: none; one forward() at a time.
class LlamaModel {
 public:
  // Binds and checks every tensor; packs quantized ones. Reads float checkpoints in place.
  // Errors: kFormat / kUnsupported name the tensor or config key, expected and found.
  [[nodiscard]] static Result<LlamaModel> load(std::shared_ptr<const io::Checkpoint> checkpoint,
                                               const LoadOptions& options);

  LlamaModel(LlamaModel&&) noexcept;
  LlamaModel& operator=(LlamaModel&&) noexcept;
  ~LlamaModel();

  [[nodiscard]] const LlamaConfig& config() const;
  // The family of its kernels, as it was loaded with.
  [[nodiscard]] Isa isa() const;

  // A cache for one sequence of up to `capacity` positions. Errors: kLimit.
  [[nodiscard]] Result<KvCache> new_cache(std::size_t capacity, KvType type = KvType::kF32) const;

  // Runs all sequences in one pass and writes the logits that were asked for, in the batch's
  // order: for each sequence none, the last or all rows of [T, V], float32.
  //
  // The logits of a sequence have the same bits whatever else is in the batch, however its
  // tokens are split over calls, and whatever the number of threads or instruction set
  // (dynamic RoPE excepted: there total_length has to be given).
  // Errors: kInvalidArgument for an id outside the vocabulary; kLimit for a full cache.
  [[nodiscard]] Status forward(std::span<const SequenceInput> batch, std::span<float> logits,
                               const Tap& tap = {});

  // Where the time of later calls of forward() is added up; null: nowhere. Not owned.
  void set_profile(Profile* profile);

  // What executed so far, one entry per linear, embedding included, in the model's order.
  [[nodiscard]] std::vector<ReceiptEntry> receipt() const;
  // The scheme that describes the decoder linears: "w4g32-a8t", "mixed", "bf16".
  [[nodiscard]] std::string scheme() const;
  [[nodiscard]] ModelBytes bytes() const;
  // Warnings of the checkpoint and of binding (tied embeddings that differ, ...).
  [[nodiscard]] std::span<const std::string> warnings() const;

 private:
  struct Impl;
  explicit LlamaModel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fptq::model
