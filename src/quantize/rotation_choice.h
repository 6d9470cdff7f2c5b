// Whether rotated inputs of down_proj are worth it, measured before anything is rounded for good.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/cpu.h"
#include "base/progress.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "io/checkpoint.h"
#include "model/llama_config.h"
#include "quantize/plan.h"

namespace fptq::quantize {

// What is compared; all of it outlives the comparison.
struct RotationTrial {
  const io::Checkpoint* plain;                           // the original
  const io::Checkpoint* rotated;                         // the same function with rotated inputs
  const Plan* plan;                                      // of either: schemes do not differ
  std::span<const std::vector<std::int32_t>> sequences;  // R tokens in all
  ThreadPool* pool;
  Isa isa = best_isa();
};

// KL divergence from the original, nats per token over all positions of the sequences, of the model
// whose linears are rounded to nearest by the plan's schemes, with their activations (static ones
// dynamic, because no range is known yet); embedding and classifier as in the original.
struct RotationChoice {
  double kl_plain = 0;
  double kl_rotated = 0;
  std::size_t tokens = 0;

  // Rounding to nearest has seen no data, so that any sequence is held out from it.
  [[nodiscard]] bool accepts() const { return kl_rotated < kl_plain; }
};

// A block is loaded once for each of the three models; nothing depends on the number of threads.
//   progress  "trying rotated inputs", in passes through a block
// Errors: kFormat for logits that are not finite; kInterrupted; those of DecoderBlock::load().
[[nodiscard]] Result<RotationChoice> try_rotation(const RotationTrial& trial,
                                                  const ProgressFn& progress);

}  // namespace fptq::quantize
