#include "quantize/calibration_run.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <functional>
#include <future>
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

namespace {

// Saving takes at most so large a part of the time, unless too many blocks would wait.
constexpr double kSavingShare = 0.05;
// Bytes of codes that may wait.
constexpr std::size_t kMostWaitingBytes = std::size_t{64} << 20;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point moment) {
  return std::chrono::duration<double>(Clock::now() - moment).count();
}

// Makes blocks durable, several at a time and while the next one is rounded: on small models,
// writing the streams behind each block took a quarter of the time.
class BlockSaver {
 public:
  // directory_of: where a block goes.
  BlockSaver(BlockRounder& rounder, std::function<fs::path(std::size_t layer)> directory_of)
      : rounder_(rounder), directory_of_(std::move(directory_of)), saved_(rounder.layer()) {}
  ~BlockSaver() {
    if (work_.valid()) work_.wait();
  }
  BlockSaver(const BlockSaver&) = delete;
  BlockSaver& operator=(const BlockSaver&) = delete;

  // The block that the rounder has done; finish() was called since begin().
  void add(RoundedBlock block) {
    for (const auto& [name, module] : block.modules) waiting_bytes_ += module.matrix.codes.size();
    waiting_.push_back(std::move(block));
  }

  // Whether it is time to save.
  [[nodiscard]] bool is_due() const {
    return waiting_bytes_ > kMostWaitingBytes ||
           seconds_since(last_end_) * kSavingShare >= last_cost_s_;
  }

  // The block that follows those that are saved or wait.
  [[nodiscard]] std::size_t next_layer() const { return saved_ + waiting_.size(); }

  // Begins to save all blocks that wait. What finishes last is the first of them: where saving is
  // cut short, no block is there whose stream is not.
  //   with_streams  whether there are blocks to come
  void begin(bool with_streams) {
    work_ = std::async(std::launch::async, [this, with_streams]() -> Status {
      const Clock::time_point began = Clock::now();
      if (with_streams) FPTQ_TRY_VOID(rounder_.sync_streams());
      for (std::size_t i = waiting_.size(); i-- > 0;) {
        FPTQ_TRY_VOID(save_block(waiting_[i], directory_of_(saved_ + i)));
      }
      last_cost_s_ = seconds_since(began);
      last_end_ = Clock::now();
      return {};
    });
  }

  // Waits for what was begun, and appends the reports of blocks that are safe now.
  Status finish(std::vector<Json>& reports) {
    if (!work_.valid()) return {};
    FPTQ_TRY_VOID(work_.get());
    rounder_.keep();
    for (RoundedBlock& block : waiting_) reports.push_back(std::move(block.report));
    saved_ += waiting_.size();
    waiting_.clear();
    waiting_bytes_ = 0;
    return {};
  }

 private:
  BlockRounder& rounder_;
  std::function<fs::path(std::size_t layer)> directory_of_;
  std::size_t saved_;  // blocks
  std::vector<RoundedBlock> waiting_;
  std::size_t waiting_bytes_ = 0;
  double last_cost_s_ = 0;
  Clock::time_point last_end_ = Clock::now();
  std::future<Status> work_;  // the last member: it uses the others
};

}  // namespace

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
  BlockSaver saver(rounder, [this](std::size_t layer) { return block_directory(layer); });
  const std::uint64_t pieces = rounder.pieces_per_block();
  while (rounder.layer() < config_.num_layers) {
    const std::size_t layer = rounder.layer();
    bool saves = true;
    const auto after_piece = [&](std::uint64_t done) -> Status {
      if (done >= rounder.pieces_before_writing()) {
        const Status saved = saver.finish(reports_);
        saves = saves && saved;
        FPTQ_TRY_VOID(saved);
      }
      if (report_progress(progress,
                          "rounding block " + std::to_string(layer + 1) + " of " +
                              std::to_string(config_.num_layers),
                          layer * pieces + done, config_.num_layers * pieces)) {
        return {};
      }
      return Error{Error::Kind::kInterrupted, directory_.parent_path().string() + ": interrupted"};
    };
    Result<RoundedBlock> block = rounder.round_next(after_piece);
    if (!block) {
      // What is done is worth keeping.
      if (saves && saver.finish(reports_) && saver.next_layer() == rounder.layer()) {
        saver.begin(true);
        static_cast<void>(saver.finish(reports_));
      }
      return block.error();
    }
    saver.add(*std::move(block));
    const bool more = rounder.layer() < config_.num_layers;
    if (saver.is_due() || !more) saver.begin(more);
  }
  FPTQ_TRY_VOID(saver.finish(reports_));
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
