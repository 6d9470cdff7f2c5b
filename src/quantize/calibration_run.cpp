#include "quantize/calibration_run.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/file.h"
#include "quantize/block_rounder.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

std::string block_name(std::size_t layer) {
  std::string digits = std::to_string(layer);
  return "block-" + std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
}

// The layer of "model.layers.12.mlp.up_proj"; nothing for other modules.
std::optional<std::size_t> layer_of(const std::string& module) {
  constexpr std::string_view kPrefix = "model.layers.";
  if (!module.starts_with(kPrefix)) return std::nullopt;
  std::size_t layer = 0;
  const char* begin = module.data() + kPrefix.size();
  const auto [end, failure] = std::from_chars(begin, module.data() + module.size(), layer);
  if (failure != std::errc() || *end != '.') return std::nullopt;
  return layer;
}

}  // namespace

std::optional<std::size_t> CalibrationRun::finished_blocks(const fs::path& directory) {
  if (!has_calibration_sequences(directory)) return std::nullopt;
  const fs::path folder = calibration_folder(directory);
  std::error_code failure;
  std::size_t blocks = 0;
  while (fs::exists(folder / block_name(blocks), failure)) ++blocks;
  return blocks;
}

Result<CalibrationRun> CalibrationRun::open(const Recipe& recipe, const Plan& plan,
                                            const io::Checkpoint& checkpoint,
                                            const CalibrationSequences& sequences,
                                            const fs::path& directory, ThreadPool& pool, Isa isa) {
  FPTQ_TRY(model::LlamaConfig config,
           model::parse_llama_config(checkpoint.config(), checkpoint.path().string()));
  CalibrationRun run(recipe, plan, checkpoint, sequences, std::move(config),
                     calibration_folder(directory), pool, isa);
  const std::size_t finished =
      std::min(finished_blocks(directory).value_or(0), run.config_.num_layers);
  // Damage is told before hours of work, not after them.
  for (std::size_t layer = 0; layer < finished; ++layer) {
    FPTQ_TRY(const SavedBlock block, SavedBlock::open(run.block_directory(layer)));
    FPTQ_TRY_VOID(block.check());
    run.reports_.push_back(block.report());
  }
  return run;
}

fs::path CalibrationRun::block_directory(std::size_t layer) const {
  return directory_ / block_name(layer);
}

Status CalibrationRun::round_blocks(const ProgressFn& progress) {
  if (reports_.size() == config_.num_layers) return {};
  const RoundingJob job{.recipe = recipe_,
                        .plan = plan_,
                        .checkpoint = checkpoint_,
                        .config = &config_,
                        .sequences = sequences_,
                        .directory = directory_,
                        .pool = pool_,
                        .isa = isa_};
  FPTQ_TRY(BlockRounder rounder, BlockRounder::begin(job, reports_.size()));
  const std::uint64_t pieces = rounder.pieces_per_block();
  while (reports_.size() < config_.num_layers) {
    const std::size_t layer = reports_.size();
    const auto after_piece = [&](std::uint64_t done) -> Status {
      if (report_progress(progress,
                          "rounding block " + std::to_string(layer + 1) + " of " +
                              std::to_string(config_.num_layers),
                          layer * pieces + done, config_.num_layers * pieces)) {
        return {};
      }
      return Error{Error::Kind::kInterrupted, directory_.parent_path().string() + ": interrupted"};
    };
    FPTQ_TRY(RoundedBlock block, rounder.round_next(after_piece));
    FPTQ_TRY_VOID(save_block(block, block_directory(layer)));
    rounder.keep();
    reports_.push_back(std::move(block.report));
  }
  rounder.remove();
  return {};
}

Result<std::optional<RoundedModule>> CalibrationRun::module(const TensorPlan& tensor) {
  const std::optional<std::size_t> layer = layer_of(tensor.module);
  if (!layer || !tensor.quantized) return std::optional<RoundedModule>();
  if (!open_block_ || open_layer_ != *layer) {
    open_block_.reset();
    FPTQ_TRY(open_block_, SavedBlock::open(block_directory(*layer)));
    open_layer_ = *layer;
  }
  FPTQ_TRY(RoundedModule module,
           open_block_->module(tensor.module, tensor.shape[0], tensor.shape[1],
                               *tensor.scheme.weights, tensor.quantized->scales.dtype));
  return std::optional<RoundedModule>(std::move(module));
}

namespace {

// Where a run's files wait while the output takes its name: beside it, under a name that belongs to
// the output under way like OUTPUT.partial itself.
fs::path parking_place(const fs::path& output) {
  fs::path place = output.has_filename() ? output : output.parent_path();
  place += ".partial-calibration";
  return place;
}

}  // namespace

Status CalibrationRun::park(const fs::path& directory, const fs::path& output) {
  std::error_code failure;
  if (!fs::exists(calibration_folder(directory), failure)) return {};
  fs::remove_all(parking_place(output), failure);
  fs::rename(calibration_folder(directory), parking_place(output), failure);
  if (failure) return system_error(parking_place(output), "rename a directory to", failure.value());
  return {};
}

void CalibrationRun::unpark(const fs::path& directory, const fs::path& output) {
  std::error_code failure;
  if (!fs::exists(directory, failure) || fs::exists(calibration_folder(directory), failure)) return;
  if (!fs::exists(parking_place(output), failure)) return;
  fs::rename(parking_place(output), calibration_folder(directory), failure);
}

bool CalibrationRun::is_parked(const fs::path& output) {
  std::error_code failure;
  return fs::exists(parking_place(output), failure);
}

void CalibrationRun::discard_parked(const fs::path& output) {
  std::error_code ignored;
  fs::remove_all(parking_place(output), ignored);
}

}  // namespace fptq::quantize
