// What a checkpoint holds, without loading it as a model.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "io/checkpoint.h"

namespace fptq::model {

// One tensor, or one quantized weight with everything that belongs to it.
struct InventoryEntry {
  std::string name;         // "model.layers.0.self_attn.q_proj.weight"
  Shape shape;              // of the weight that is stood for: [N, K], however it is packed
  std::string scheme;       // "w4g32-a8t", or the type it is stored in: "bf16", "q4_k"
  std::uint64_t bytes = 0;  // on disk, scales and zero points included
  // Elements of the weight; 0 for what only helps to store another, like the scales of a tied
  // classifier.
  std::uint64_t parameters = 0;
  bool decoder_linear = false;  // a projection of attention or MLP
  // Block of the Hadamard rotation of its inputs while the model runs (ops/hadamard.h); 0: none.
  std::size_t input_rotation = 0;
};

struct Inventory {
  std::string architecture;             // "LlamaForCausalLM"
  std::vector<InventoryEntry> entries;  // in the checkpoint's order
  std::uint64_t parameters = 0;
  std::uint64_t bytes = 0;

  // 8 * bytes / parameters of all entries, and of the decoder's linears; 0 where there are none.
  [[nodiscard]] double bits_per_weight() const;
  [[nodiscard]] double linear_bits_per_weight() const;
};

// Reads headers, quantization_config and the shapes of packed weights.
// Errors: QuantConfig::parse()'s; parse_llama_config()'s where inputs are rotated; kFormat where a
// packed weight has no shape or contradicts it.
[[nodiscard]] Result<Inventory> take_inventory(const io::Checkpoint& checkpoint);

// How far the largest weight of a tensor is from the others.
struct WeightStatistics {
  float absmax = 0;                // of the finite values
  double std = 0;                  // sqrt(mean of w^2 - (mean of w)^2), finite values
  std::uint64_t non_finite = 0;    // NaN and infinities
  std::uint64_t first_non_finite;  // its index, where there is one
};

// Statistics of a tensor of type F32, F16 or BF16; nothing for other types. Sums are taken in
// double in a fixed order, so that they do not depend on the number of threads.
// Errors: those of Checkpoint::read().
[[nodiscard]] Result<std::optional<WeightStatistics>> weight_statistics(
    const io::Checkpoint& checkpoint, const io::TensorInfo& info, ThreadPool& pool);

}  // namespace fptq::model
