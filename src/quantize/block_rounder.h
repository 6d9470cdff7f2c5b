// Rounding with calibration: block after block, each on the inputs that the quantized blocks before
// it produce.

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/cpu.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "calib/residual_stream.h"
#include "io/checkpoint.h"
#include "model/decoder_block.h"
#include "model/llama_config.h"
#include "quantize/calibration_sequences.h"
#include "quantize/plan.h"
#include "quantize/recipe.h"
#include "quantize/rounded_block.h"

namespace fptq::quantize {

// What a rounder works on; all of it outlives the rounder.
struct RoundingJob {
  const Recipe* recipe;
  const Plan* plan;
  const io::Checkpoint* checkpoint;  // the weights that are to be rounded, transformed or not
  const model::LlamaConfig* config;  // of that checkpoint, whose weights are floats
  const CalibrationSequences* sequences;
  std::filesystem::path directory;  // for the streams; exists
  ThreadPool* pool;
  Isa isa;  // of the kernels; does not change results
};

// For each input of a block, in the order of the forward pass:
//   1. the inputs xq of its linears over all sequences, from blocks and linears that are quantized
//      already, on the 8-bit grid where the linears quantize them; beside them the inputs xf of the
//      original, where the recipe corrects for the difference,
//   2. their moments H = sum xq xq^T and D = sum xq (xf - xq)^T; in D's place, for linears whose
//      output is added to the residual stream h, R = sum (W (xf - xq) + beta (hf - hq)) xq^T,
//   3. corrected weights W' (algo/input_correction.h), rounded under the loss that H defines
//      (algo/gptq.h),
//   4. the integers take the weights' place, and run in the kernels that will run them later.
// The original runs in fixed point (ops::Linear::fixed_point), in which its stream is off by some
// 1e-4: far less than what quantization changes, and all that the correction looks at.
// The embedding stays as in the checkpoint, and so do linears that are not rounded to integers:
// those kept in floating point are used before they are cast.
//
// The result depends on recipe, checkpoint and sequences only: not on threads, instruction set or
// interruptions.
class BlockRounder {
 public:
  // first_layer: blocks that are finished already; above 0 the streams are those that an earlier
  // rounder left in the directory.
  [[nodiscard]] static Result<BlockRounder> begin(const RoundingJob& job, std::size_t first_layer);

  BlockRounder(BlockRounder&&) noexcept;
  ~BlockRounder();

  // The block that round_next() rounds.
  [[nodiscard]] std::size_t layer() const;

  // Called after every piece of work with the pieces done so far; an error stops the work.
  using PieceFn = std::function<Status(std::uint64_t done)>;
  [[nodiscard]] std::uint64_t pieces_per_block() const;
  // Those of a block before its streams are written.
  [[nodiscard]] std::uint64_t pieces_before_writing() const;

  // Rounds the next block.
  // Errors: kFormat for weights or activations that are not finite, naming where; kLimit, kIo;
  // those of after_piece.
  [[nodiscard]] Result<RoundedBlock> round_next(const PieceFn& after_piece);
  // Makes the streams behind the last block survive the machine's end. May run on another thread
  // while the next block is rounded. Errors: kLimit, kIo.
  [[nodiscard]] Status sync_streams() const;
  // sync_streams() was done, and all blocks so far are safe: what was needed to begin again further
  // back is given up. Called before the next block is finished; between its pieces, too.
  void keep();
  // Removes the streams.
  void remove();

  // Memory and disk that a rounder takes at most, mapped weights not counted.
  [[nodiscard]] static std::uint64_t working_bytes(const Recipe& recipe,
                                                   const model::LlamaConfig& config,
                                                   std::size_t longest_sequence,
                                                   std::size_t threads);
  [[nodiscard]] static std::uint64_t disk_bytes(const Recipe& recipe,
                                                const model::LlamaConfig& config,
                                                std::uint64_t tokens);

 private:
  struct Impl;
  explicit BlockRounder(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fptq::quantize
