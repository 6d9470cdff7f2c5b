// The part of quantizing that runs the model: calibration text in, rounded blocks on disk.

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/progress.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "io/checkpoint.h"
#include "model/llama_config.h"
#include "quantize/calibration_sequences.h"
#include "quantize/plan.h"
#include "quantize/recipe.h"
#include "quantize/rounded_block.h"

namespace fptq::quantize {

// Everything that a calibration run leaves in the directory that is being filled:
//   ids.i32, progress.json    the sequences, and what they and the rounding depend on
//   observation.json          what the original model was seen to do (observation.h)
//   quantized.N.f32, ...      residual streams before block N
//   block-00000, ...          rounded blocks
// A run that was stopped goes on from there, and its result has the same bytes.
class CalibrationRun {
 public:
  // directory: of the output under way, where open_calibration_sequences() has been. Blocks that
  // lie there are gone on with. Everything handed over outlives the run.
  [[nodiscard]] static Result<CalibrationRun> open(const Recipe& recipe, const Plan& plan,
                                                   const io::Checkpoint& checkpoint,
                                                   const CalibrationSequences& sequences,
                                                   const std::filesystem::path& directory,
                                                   ThreadPool& pool, Isa isa);

  // How many blocks of an earlier run lie in the directory; nothing where there was none.
  [[nodiscard]] static std::optional<std::size_t> finished_blocks(
      const std::filesystem::path& directory);

  // Rounds the blocks that are not rounded yet. Errors: BlockRounder's; kInterrupted.
  [[nodiscard]] Status round_blocks(const ProgressFn& progress);

  // Where the module is saved, once its block is rounded; null for modules outside of blocks.
  // A block stays mapped until another one's module is asked for.
  [[nodiscard]] Result<std::optional<RoundedModule>> module(const TensorPlan& tensor);

  // For the manifest: the reports of all blocks.
  [[nodiscard]] const std::vector<Json>& reports() const { return reports_; }

  // Whoever is stopped while a directory is being emptied leaves a part of it. So when the output
  // in `directory` is complete, what the run left is moved out of it, to a place beside `output`
  // (park); the directory takes its final name; then the place is emptied (discard_parked). A
  // resumed run that finds the directory without its final name moves it back (unpark).
  [[nodiscard]] static Status park(const std::filesystem::path& directory,
                                   const std::filesystem::path& output);
  static void unpark(const std::filesystem::path& directory, const std::filesystem::path& output);
  [[nodiscard]] static bool is_parked(const std::filesystem::path& output);
  static void discard_parked(const std::filesystem::path& output);

 private:
  CalibrationRun(const Recipe& recipe, const Plan& plan, const io::Checkpoint& checkpoint,
                 const CalibrationSequences& sequences, model::LlamaConfig config,
                 std::filesystem::path directory, ThreadPool& pool, Isa isa)
      : recipe_(&recipe),
        plan_(&plan),
        checkpoint_(&checkpoint),
        sequences_(&sequences),
        config_(std::move(config)),
        directory_(std::move(directory)),
        pool_(&pool),
        isa_(isa) {}

  [[nodiscard]] std::filesystem::path block_directory(std::size_t layer) const;

  const Recipe* recipe_;
  const Plan* plan_;
  const io::Checkpoint* checkpoint_;
  const CalibrationSequences* sequences_;
  model::LlamaConfig config_;
  std::filesystem::path directory_;
  ThreadPool* pool_;
  Isa isa_;
  std::vector<Json> reports_;  // of the blocks that are finished
  std::optional<SavedBlock> open_block_;
  std::size_t open_layer_ = 0;
};

}  // namespace fptq::quantize
