// How much the model's predictions suffer from rounding one linear: what a choice of schemes under
// a budget is based on.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "io/checkpoint.h"
#include "model/llama_config.h"
#include "quantize/precision_choice.h"

namespace fptq::quantize {

// What sensitivities are measured on; all of it outlives the measurement.
struct SensitivityJob {
  const Recipe* recipe;
  const PrecisionProblem* problem;
  const io::Checkpoint* checkpoint;  // of the original
  const model::LlamaConfig* config;
  std::span<const std::vector<std::int32_t>> sequences;  // R tokens in all
  ThreadPool* pool;
  Isa isa = best_isa();
  // Every candidate is measured, not only the first and the last: to see how good estimates are.
  bool measure_all = false;
};

// The sequences that sensitivity is measured on: `samples` of the calibration set's, evenly spread
// over it, and of each the first kSensitivityTokens.
[[nodiscard]] std::vector<std::vector<std::int32_t>> sensitivity_sequences(
    std::span<const std::vector<std::int32_t>> calibration, std::size_t samples);

// Called when the linears of another block are done, with all that is known.
using AfterBlockFn = std::function<Status(std::span<const LinearSensitivity>)>;

// For every linear of the problem, in its order: the output losses of all candidates, and the KL
// divergence, over all positions of the sequences, of the model in which that linear alone is
// changed to the recipe's own scheme, rounded by CandidateRounder, its activations quantized as the
// scheme says (static ones on the range that these sequences have). Where activations are
// quantized, the last candidate, 8 bits, is measured too: what is left there is mostly theirs.
//
// The original's residual stream is carried from block to block; the changed streams of a block's
// linears go through the blocks behind it together, so a block is loaded once for all of them.
// Weights stay mapped. KLs are double sums over the vocabulary, rounded to 6 digits, so that the
// last bits of a library's exp() do not matter; nothing depends on the number of threads.
//
//   known      of whole blocks, from an earlier run; measured ones are not measured again
//   progress   "measuring sensitivity", in passes of a stream through a block
// Errors: kFormat for activations or logits that are not finite; kInterrupted; those of after_block
// and of DecoderBlock::load().
[[nodiscard]] Result<std::vector<LinearSensitivity>> measure_sensitivities(
    const SensitivityJob& job, std::vector<LinearSensitivity> known, const ProgressFn& progress,
    const AfterBlockFn& after_block);

// Memory that it takes at most, mapped weights not counted.
[[nodiscard]] std::uint64_t sensitivity_working_bytes(const Recipe& recipe,
                                                      const model::LlamaConfig& config,
                                                      std::size_t sequences);

}  // namespace fptq::quantize
