#include "quantize/preparation.h"

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "model/decoder_block.h"
#include "model/llama_config.h"
#include "quantize/observation.h"
#include "quantize/precision_search.h"

namespace fptq::quantize {
namespace {

// What was measured for a target of bits, so that a resumed run does not measure it again.
std::filesystem::path sensitivity_file(const std::filesystem::path& directory) {
  return calibration_folder(directory) / "sensitivity.json";
}

}  // namespace

bool has_sensitivities(const std::filesystem::path& directory) {
  std::error_code failure;
  return has_calibration_sequences(directory) &&
         std::filesystem::exists(sensitivity_file(directory), failure);
}

Result<Preparation> Preparation::begin(const Recipe& recipe, const io::Checkpoint& checkpoint,
                                       ThreadPool& pool, Isa isa) {
  Preparation preparation(recipe, checkpoint, pool, isa);
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
  if (recipe.down_rotation != RotationKind::kNone) FPTQ_TRY_VOID(preparation.rotate_down());
  if (recipe.has_target()) {
    // Whether the target can be met at all is known before anything is measured.
    FPTQ_TRY(
        const model::LlamaConfig config,
        model::parse_llama_config(preparation.checkpoint().config(), checkpoint.path().string()));
    FPTQ_TRY(const PrecisionProblem problem, precision_problem(recipe, preparation.plan_, config));
  }
  return preparation;
}

// Rotates the inputs of every down_proj whose weights the plan quantizes, and plans again.
Status Preparation::rotate_down() {
  const std::string where = checkpoint().path().string();
  FPTQ_TRY(const model::LlamaConfig config,
           model::parse_llama_config(checkpoint().config(), where));
  std::vector<std::size_t> layers;
  for (std::size_t layer = 0; layer < config.num_layers; ++layer) {
    const std::string module = model::block_module_name(layer, model::BlockLinear::kDown);
    const bool quantized =
        std::any_of(plan_.modules.begin(), plan_.modules.end(), [&](const ModuleScheme& planned) {
          return planned.module == module && planned.scheme.weights;
        });
    if (quantized) layers.push_back(layer);
  }
  FPTQ_TRY(down_rotated_, DownRotatedCheckpoint::create(checkpoint(), config, layers, *pool_));
  FPTQ_TRY(plan_, make_plan(*recipe_, checkpoint()));
  return {};
}

// Undoes the rotation of down_proj's inputs where it does not lower the divergence.
Status Preparation::choose_rotation(const ProgressFn& progress) {
  const auto sequences = sensitivity_sequences(sequences_->ids, recipe_->precision.samples);
  const io::Checkpoint* plain = source_;
  if (rotated_) plain = rotated_.get();
  const RotationTrial trial{.plain = plain,
                            .rotated = down_rotated_.get(),
                            .plan = &plan_,
                            .sequences = sequences,
                            .pool = pool_,
                            .isa = isa_};
  FPTQ_TRY(rotation_choice_, try_rotation(trial, progress));
  if (rotation_choice_->accepts()) return {};
  down_rotated_.reset();
  FPTQ_TRY(plan_, make_plan(*recipe_, checkpoint()));
  return {};
}

Status Preparation::complete(const std::filesystem::path& directory, bool resume,
                             const ProgressFn& progress) {
  if (!recipe_->needs_calibration()) return {};
  FPTQ_TRY(
      CalibrationSequences sequences,
      open_calibration_sequences(*recipe_, *source_, directory, resume, *pool_, isa_, progress));
  sequences_ = std::make_unique<CalibrationSequences>(std::move(sequences));
  if (recipe_->down_rotation == RotationKind::kAuto) FPTQ_TRY_VOID(choose_rotation(progress));
  if (recipe_->observes_inputs()) FPTQ_TRY_VOID(observe(directory, progress));
  return recipe_->has_target() ? choose_precision(directory, progress) : Status();
}

Status Preparation::choose_precision(const std::filesystem::path& directory,
                                     const ProgressFn& progress) {
  FPTQ_TRY(const model::LlamaConfig config,
           model::parse_llama_config(checkpoint().config(), checkpoint().path().string()));
  FPTQ_TRY(const PrecisionProblem problem, precision_problem(*recipe_, plan_, config));
  const auto sequences = sensitivity_sequences(sequences_->ids, recipe_->precision.samples);
  const std::filesystem::path file = sensitivity_file(directory);
  std::vector<LinearSensitivity> known;
  std::error_code failure;
  if (std::filesystem::exists(file, failure)) {
    FPTQ_TRY(const std::string text, read_text_file(file, std::uint64_t{1} << 28));
    FPTQ_TRY(const Json saved, parse_json(text, file.string()));
    FPTQ_TRY(known, parse_sensitivities(problem, saved, file.string()));
  }
  const SensitivityJob job{.recipe = recipe_,
                           .problem = &problem,
                           .checkpoint = &checkpoint(),
                           .config = &config,
                           .sequences = sequences,
                           .pool = pool_,
                           .isa = isa_};
  const auto save = [&](std::span<const LinearSensitivity> all) {
    return write_text_file(file, sensitivities_json(problem, all).dump(1) + "\n");
  };
  auto measured = measure_sensitivities(job, std::move(known), progress, save);
  if (!measured) return with_context(measured.error(), directory.string());
  PrecisionDecision decision = decide_precision(problem, *measured);
  std::size_t tokens = 0;
  for (const std::vector<std::int32_t>& sequence : sequences) tokens += sequence.size();
  decision.report["sequences"] = sequences.size();
  decision.report["tokens"] = tokens;
  FPTQ_TRY(plan_, make_plan(*recipe_, checkpoint(), activations_of(inputs_), decision.schemes));
  plan_.warnings.insert(plan_.warnings.end(), decision.warnings.begin(), decision.warnings.end());
  precision_ = std::move(decision.report);
  return {};
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
                           .pool = pool_,
                           .isa = isa_};
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
  if (down_rotated_) return *down_rotated_;
  if (rotated_) return *rotated_;
  return *source_;
}

bool Preparation::transforms() const {
  return recipe_->rotation != RotationKind::kNone ||
         recipe_->down_rotation != RotationKind::kNone ||
         recipe_->equalization != Equalization::kNone;
}

}  // namespace fptq::quantize
