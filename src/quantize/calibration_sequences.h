// The token sequences that a run calibrates on, and the record on disk of whose they are.

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/progress.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "io/checkpoint.h"
#include "quantize/recipe.h"

namespace fptq::quantize {

// Rows of the residual stream that are handled together: enough for matrix products at full speed,
// few enough to bound memory.
inline constexpr std::size_t kBatchRows = 1024;

// Where calibration works in the directory of an output under way.
[[nodiscard]] std::filesystem::path calibration_folder(const std::filesystem::path& directory);

// FILE, FILE:text or FILE:jsonl, as recipes name a calibration text: the path, and the format,
// which is empty where it is not said.
[[nodiscard]] std::pair<std::string, std::string> split_calibration_text(const std::string& text);

struct CalibrationSequences {
  std::vector<std::vector<std::int32_t>> ids;  // of the vocabulary; at least one sequence
  Json source;                                 // for the manifest: source, sha256, sizes
  std::vector<std::string> warnings;

  [[nodiscard]] std::vector<std::size_t> lengths() const;
  [[nodiscard]] std::vector<std::int32_t> all_ids() const;  // one after the other
};

// The sequences that the recipe asks for, drawn and saved in calibration_folder(directory), or
// those that lie there. They, and whatever else lies there, belong to a recipe, a checkpoint and a
// version, which the folder's progress.json names.
//
//   checkpoint  as the user gave it, not transformed
//   resume      go on with what lies there; otherwise, or if there is nothing, the folder is
//   emptied
// Errors: kInvalidArgument where what lies there belongs to another run, saying what differs;
// calibration_from_file()'s and calibration_from_model()'s; kFormat, kLimit, kIo.
[[nodiscard]] Result<CalibrationSequences> open_calibration_sequences(
    const Recipe& recipe, const io::Checkpoint& checkpoint, const std::filesystem::path& directory,
    bool resume, ThreadPool& pool, Isa isa, const ProgressFn& progress);

// Whether sequences lie in the directory, and so everything that was made from them.
[[nodiscard]] bool has_calibration_sequences(const std::filesystem::path& directory);

}  // namespace fptq::quantize
