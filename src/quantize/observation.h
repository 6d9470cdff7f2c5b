// Watching the original model before anything is decided: how wide the inputs of its linears are.

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "io/checkpoint.h"
#include "model/llama_config.h"
#include "quantize/calibration_sequences.h"
#include "quantize/equalized_checkpoint.h"
#include "quantize/input_choice.h"
#include "quantize/plan.h"
#include "quantize/recipe.h"

namespace fptq::quantize {

// What an observation works on; all of it outlives the call.
struct ObservationJob {
  const Recipe* recipe;
  const Plan* plan;                  // as if nothing were known about activations
  const io::Checkpoint* checkpoint;  // floats, rotated or not
  const model::LlamaConfig* config;  // of that checkpoint
  const CalibrationSequences* sequences;
  std::filesystem::path directory;  // calibration_folder(); exists
  ThreadPool* pool;
  Isa isa;
};

// Runs the model block by block over all sequences, and decides about every input by its
// statistics. Returns 4 choices per block, in the order of the forward pass.
//
// What was found is kept in the directory as observation.json; where that lies there, it is read,
// and nothing is run.
// Errors: choose_input()'s; kFormat, naming linear, row and channel, for an activation that is not
// finite; kInterrupted; kLimit, kIo.
[[nodiscard]] Result<std::vector<InputChoice>> observe_inputs(const ObservationJob& job,
                                                              const ProgressFn& progress);

// Whether a finished observation lies in the directory of an output under way.
[[nodiscard]] bool has_observation(const std::filesystem::path& directory);

// The factors of those that are equalized.
[[nodiscard]] InputScales scales_of(const std::vector<InputChoice>& choices);

// The activations of the linears about which something was chosen, by module.
[[nodiscard]] ActivationChoices activations_of(const std::vector<InputChoice>& choices);

}  // namespace fptq::quantize
