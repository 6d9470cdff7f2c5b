#include "quantize/preparation.h"

#include <utility>

#include "model/llama_config.h"
#include "quantize/observation.h"

namespace fptq::quantize {

Result<Preparation> Preparation::begin(const Recipe& recipe, const io::Checkpoint& checkpoint,
                                       ThreadPool& pool) {
  Preparation preparation(recipe, checkpoint, pool);
  if (recipe.rotation == RotationKind::kHadamard) {
    FPTQ_TRY(const model::LlamaConfig config,
             model::parse_llama_config(checkpoint.config(), checkpoint.path().string()));
    auto rotated = RotatedCheckpoint::create(checkpoint, config, recipe.seed, pool);
    if (!rotated) {
      // What is wrong with the checkpoint as such is said as if nobody rotated it.
      FPTQ_TRY_VOID(make_plan(recipe, checkpoint));
      return rotated.error();
    }
    preparation.rotated_ = *std::move(rotated);
  }
  FPTQ_TRY(preparation.plan_, make_plan(recipe, preparation.checkpoint()));
  return preparation;
}

Status Preparation::complete(const std::filesystem::path& directory, bool resume,
                             const ProgressFn& progress) {
  if (!recipe_->needs_calibration()) return {};
  FPTQ_TRY(CalibrationSequences sequences,
           open_calibration_sequences(*recipe_, *source_, directory, resume, *pool_, progress));
  sequences_ = std::make_unique<CalibrationSequences>(std::move(sequences));
  return recipe_->observes_inputs() ? observe(directory, progress) : Status();
}

Status Preparation::observe(const std::filesystem::path& directory, const ProgressFn& progress) {
  FPTQ_TRY(const model::LlamaConfig config,
           model::parse_llama_config(checkpoint().config(), checkpoint().path().string()));
  const ObservationJob job{.recipe = recipe_,
                           .plan = &plan_,
                           .checkpoint = &checkpoint(),
                           .config = &config,
                           .sequences = sequences_.get(),
                           .directory = calibration_folder(directory),
                           .pool = pool_};
  FPTQ_TRY(inputs_, observe_inputs(job, progress));
  const InputScales scales = scales_of(inputs_);
  if (!scales.empty()) {
    FPTQ_TRY(equalized_, EqualizedCheckpoint::create(checkpoint(), config, scales));
  }
  FPTQ_TRY(plan_, make_plan(*recipe_, checkpoint(), activations_of(inputs_)));
  return {};
}

const io::Checkpoint& Preparation::checkpoint() const {
  if (equalized_) return *equalized_;
  if (rotated_) return *rotated_;
  return *source_;
}

bool Preparation::transforms() const {
  return recipe_->rotation != RotationKind::kNone || recipe_->equalization != Equalization::kNone;
}

}  // namespace fptq::quantize
