// Everything that is decided before the first weight is rounded.

#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/json.h"
#include "base/progress.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "io/checkpoint.h"
#include "quantize/calibration_sequences.h"
#include "quantize/down_rotated_checkpoint.h"
#include "quantize/equalized_checkpoint.h"
#include "quantize/input_choice.h"
#include "quantize/plan.h"
#include "quantize/recipe.h"
#include "quantize/rotated_checkpoint.h"
#include "quantize/rotation_choice.h"

namespace fptq::quantize {

// Two steps: begin() needs no data and tells whether the recipe and the checkpoint go together and
// what will be needed; complete() draws the calibration set, watches the model, and settles the
// transformed checkpoint and the plan.
class Preparation {
 public:
  // Recipe, checkpoint and pool outlive the preparation.
  // Errors: those of make_plan(), RotatedCheckpoint::create(), DownRotatedCheckpoint::create() and
  // precision_problem().
  [[nodiscard]] static Result<Preparation> begin(const Recipe& recipe,
                                                 const io::Checkpoint& checkpoint, ThreadPool& pool,
                                                 Isa isa);

  // directory: of the output under way. Does nothing where the recipe needs no calibration.
  // Errors: those of open_calibration_sequences(), try_rotation(), observe_inputs(),
  // EqualizedCheckpoint::create() and measure_sensitivities().
  [[nodiscard]] Status complete(const std::filesystem::path& directory, bool resume,
                                const ProgressFn& progress);

  // The checkpoint whose weights are rounded, and the plan for it; before complete() without
  // equalization, as if nothing were known about activations, and rotated where that is left open.
  [[nodiscard]] const io::Checkpoint& checkpoint() const;
  [[nodiscard]] const Plan& plan() const { return plan_; }
  // Whether weights are computed when they are read, and not mapped from a file.
  [[nodiscard]] bool transforms() const;

  // After complete().
  [[nodiscard]] bool has_sequences() const { return sequences_ != nullptr; }
  [[nodiscard]] const CalibrationSequences& sequences() const { return *sequences_; }
  [[nodiscard]] const std::vector<InputChoice>& inputs() const { return inputs_; }
  // Null where no inputs of down_proj are rotated.
  [[nodiscard]] const DownRotatedCheckpoint* down_rotated() const { return down_rotated_.get(); }
  // What decided about it, where the recipe left it open.
  [[nodiscard]] const std::optional<RotationChoice>& rotation_choice() const {
    return rotation_choice_;
  }
  // For the manifest: what was measured and chosen for a target of bits; null where there is none.
  [[nodiscard]] const Json& precision() const { return precision_; }

 private:
  Preparation(const Recipe& recipe, const io::Checkpoint& checkpoint, ThreadPool& pool, Isa isa)
      : recipe_(&recipe), source_(&checkpoint), pool_(&pool), isa_(isa) {}

  [[nodiscard]] Status rotate_down();
  [[nodiscard]] Status choose_rotation(const ProgressFn& progress);
  [[nodiscard]] Status choose_precision(const std::filesystem::path& directory,
                                        const ProgressFn& progress);
  [[nodiscard]] Status observe(const std::filesystem::path& directory, const ProgressFn& progress);

  const Recipe* recipe_;
  const io::Checkpoint* source_;
  ThreadPool* pool_;
  Isa isa_;
  std::unique_ptr<RotatedCheckpoint> rotated_;           // null: not rotated
  std::unique_ptr<DownRotatedCheckpoint> down_rotated_;  // null: not rotated
  std::unique_ptr<EqualizedCheckpoint> equalized_;       // null: not equalized
  std::unique_ptr<CalibrationSequences> sequences_;
  std::optional<RotationChoice> rotation_choice_;
  std::vector<InputChoice> inputs_;
  Json precision_;
  Plan plan_;
};

// Whether sensitivities of linears lie in the directory of an output under way.
[[nodiscard]] bool has_sensitivities(const std::filesystem::path& directory);

}  // namespace fptq::quantize
