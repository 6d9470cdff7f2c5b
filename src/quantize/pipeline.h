// From a checkpoint to a quantized one on disk.

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/progress.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "io/checkpoint.h"
#include "quantize/plan.h"
#include "quantize/recipe.h"

namespace fptq::quantize {

struct QuantizeOptions {
  std::filesystem::path output;  // a directory that does not exist yet
  bool overwrite = false;        // replace what has that name, once the new one is complete
  bool resume = false;           // go on where a calibrated run was stopped
  bool resumable = true;         // keep finished blocks where a run is stopped
  ThreadPool* pool = nullptr;    // required
  Isa isa = best_isa();          // of the kernels that calibration runs; no result depends on it
  std::uint64_t ram_limit_bytes = 0;  // refuse to begin where more is needed; 0: no limit
  std::uint64_t max_shard_bytes = 5'000'000'000;
  ProgressFn progress;
};

// What was done, for a summary. The manifest in the output says more.
struct QuantizeReport {
  std::uint64_t parameters = 0;
  std::uint64_t source_bytes = 0;  // of the source's weight files
  std::uint64_t output_bytes = 0;  // of the output's tensors
  double bits_per_weight = 0;
  double linear_bits_per_weight = 0;
  double relative_error = 0;  // sum of squared errors / sum of squares, over quantized weights
  double seconds = 0;
  double rounding_seconds = 0;  // of these, rounding blocks on their inputs; 0 without calibration
  std::vector<std::string> warnings;  // of the checkpoint and of the plan
};

// Writes a Hugging Face directory with the quantized weights, config.json, the tokenizer's files
// unchanged, recipe.yaml and fptq_manifest.json. Streams: memory does not grow with the model
// (Plan::working_bytes). The same recipe and checkpoint give the same bytes on every machine and
// for every number of threads, the manifest's "run" excepted.
//
// The output has its final name only when it is complete. After an error or an interruption nothing
// is left, except where a calibrated recipe has finished something: its blocks stay in
// OUTPUT.partial for `resume`, as does what was observed of the original, and the result has the
// same bytes as that of an undisturbed run.
// Errors: those of Preparation, write_tensor() and CalibrationRun; kInvalidArgument for an output
// that exists or that holds the source, and for what is left of a stopped run where neither resume
// nor overwrite says what to do with it; kLimit for memory or disk that will not suffice, before
// anything is written; kIo; kInterrupted when `progress` returned false.
[[nodiscard]] Result<QuantizeReport> quantize_checkpoint(const Recipe& recipe,
                                                         const io::Checkpoint& checkpoint,
                                                         const QuantizeOptions& options);

}  // namespace fptq::quantize
