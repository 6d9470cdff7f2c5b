#include "quantize/calibration_run.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "base/sha256.h"
#include "calib/calibration_set.h"
#include "model/llama_model.h"
#include "quantize/block_rounder.h"
#include "text/special_tokens.h"
#include "text/tokenizer.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

constexpr char kFolder[] = "calibration";
constexpr char kProgressFile[] = "progress.json";
constexpr char kIdsFile[] = "ids.i32";

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

// What the model goes on from when it draws sequences like these: the first tokens of each.
std::vector<std::vector<std::int32_t>> beginnings_of(
    std::span<const std::vector<std::int32_t>> sequences, std::size_t length) {
  constexpr std::size_t kTokens = 5;
  std::vector<std::vector<std::int32_t>> beginnings;
  for (const std::vector<std::int32_t>& sequence : sequences) {
    const std::size_t count = std::min({kTokens, sequence.size(), length - 1});
    beginnings.emplace_back(sequence.begin(),
                            sequence.begin() + static_cast<std::ptrdiff_t>(count));
  }
  return beginnings;
}

// The checkpoint for a model that does not outlive this call.
std::shared_ptr<const io::Checkpoint> borrowed(const io::Checkpoint& checkpoint) {
  return {std::shared_ptr<const void>(), &checkpoint};
}

}  // namespace

std::pair<std::string, std::string> split_calibration_text(const std::string& text) {
  for (const std::string_view format : {"text", "jsonl"}) {
    const std::string ending = ":" + std::string(format);
    if (text.ends_with(ending)) {
      return {text.substr(0, text.size() - ending.size()), std::string(format)};
    }
  }
  return {text, ""};
}

std::optional<std::size_t> CalibrationRun::finished_blocks(const fs::path& directory) {
  const fs::path folder = directory / kFolder;
  std::error_code failure;
  if (!fs::exists(folder / kProgressFile, failure)) return std::nullopt;
  std::size_t blocks = 0;
  while (fs::exists(folder / block_name(blocks), failure)) ++blocks;
  return blocks;
}

Result<CalibrationRun> CalibrationRun::open(const Recipe& recipe, const Plan& plan,
                                            const io::Checkpoint& checkpoint,
                                            const fs::path& directory, bool resume,
                                            ThreadPool& pool, const ProgressFn& progress) {
  FPTQ_TRY(model::LlamaConfig config,
           model::parse_llama_config(checkpoint.config(), checkpoint.path().string()));
  CalibrationRun run(recipe, plan, checkpoint, std::move(config), directory / kFolder, pool);
  std::error_code failure;
  const fs::path progress_file = run.directory_ / kProgressFile;
  if (resume && fs::exists(progress_file, failure)) {
    FPTQ_TRY(const std::string text, read_text_file(progress_file, std::uint64_t{1} << 24));
    FPTQ_TRY(const Json saved, parse_json(text, progress_file.string()));
    const Json expected = run.fingerprint();
    for (const auto& [key, value] : expected.items()) {
      if (saved.contains(key) && saved[key] == value) continue;
      return Error{Error::Kind::kInvalidArgument,
                   directory.string() + ": --resume: expected a run with the same " + key +
                       ", got another one. Begin again with --overwrite, or resume with what that "
                       "run was given"};
    }
    FPTQ_TRY_VOID(run.restore_sequences(saved));
    run.finished_ = std::min(finished_blocks(directory).value_or(0), run.config_.num_layers);
    return run;
  }
  // Blocks of another run must not be taken for this one's.
  fs::remove_all(run.directory_, failure);
  fs::create_directories(run.directory_, failure);
  if (failure) return system_error(run.directory_, "create the directory", failure.value());
  FPTQ_TRY_VOID(run.load_sequences(progress));
  FPTQ_TRY_VOID(run.save_sequences());
  return run;
}

Json CalibrationRun::fingerprint() const {
  Sha256 tensors;
  for (const io::TensorInfo& info : checkpoint_->tensors()) {
    const std::string line = info.name + " " + info.stored_type + " " + shape_text(info.shape) +
                             " " + std::to_string(info.stored_bytes) + "\n";
    tensors.update(std::as_bytes(std::span(line)));
  }
  const std::string config = checkpoint_->config().dump();
  tensors.update(std::as_bytes(std::span(config)));
  return {{"version", FPTQ_VERSION},
          {"recipe", print_recipe(*recipe_)},
          {"checkpoint", tensors.finish()}};
}

Status CalibrationRun::load_sequences(const ProgressFn& progress) {
  const std::string where = checkpoint_->path().string();
  auto files = checkpoint_->tokenizer();
  if (!files) {
    return Error{files.error().kind,
                 files.error().message + ". Calibration needs the model's tokenizer"};
  }
  FPTQ_TRY(const text::Tokenizer tokenizer,
           text::Tokenizer::from_json(files->tokenizer_json, where));
  FPTQ_TRY(const text::SpecialTokens special,
           text::special_tokens(files->others, checkpoint_->config(), tokenizer, where));
  calib::CalibrationOptions options{
      .sequences = static_cast<std::size_t>(recipe_->calibration.samples),
      .tokens_per_sequence = static_cast<std::size_t>(recipe_->calibration.seqlen),
      .seed = recipe_->seed};
  const auto from_model = [&]() -> Result<calib::CalibrationSet> {
    FPTQ_TRY(model::LlamaModel model,
             model::LlamaModel::load(borrowed(*checkpoint_), {.pool = pool_}));
    return calib::calibration_from_model(model, tokenizer, special, options, progress);
  };
  const std::string& text = recipe_->calibration.text;
  const auto self_samples = static_cast<std::size_t>(recipe_->calibration.self_samples);
  auto made = [&]() -> Result<calib::CalibrationSet> {
    if (text == "self") return from_model();
    const auto [path, format_name] = split_calibration_text(text);
    FPTQ_TRY(const calib::TextFormat format, calib::parse_text_format(format_name));
    FPTQ_TRY(calib::CalibrationSet set,
             calib::calibration_from_file(path, format, tokenizer, special, config_.max_positions,
                                          options));
    if (self_samples == 0) return set;
    options.sequences = self_samples;
    options.beginnings =
        beginnings_of(set.sequences, std::min(options.tokens_per_sequence, config_.max_positions));
    FPTQ_TRY(const calib::CalibrationSet drawn, from_model());
    set.sequences.insert(set.sequences.end(), drawn.sequences.begin(), drawn.sequences.end());
    return set;
  }();
  if (!made) return made.error();
  for (const std::vector<std::int32_t>& sequence : made->sequences) {
    for (const std::int32_t id : sequence) {
      if (id >= 0 && static_cast<std::size_t>(id) < config_.vocab_size) continue;
      return Error{Error::Kind::kFormat,
                   where + ": calibration: expected ids below the vocabulary of " +
                       std::to_string(config_.vocab_size) + ", got " + std::to_string(id) +
                       ". Do the tokenizer and the model belong together?"};
    }
  }
  calibration_ = {{"source", made->source},
                  {"sha256", made->sha256},
                  {"sequences", made->sequences.size()},
                  {"self_samples", text == "self" ? made->sequences.size() : self_samples},
                  {"tokens", made->tokens()}};
  warnings_ = std::move(made->warnings);
  const std::size_t widest =
      std::max({config_.hidden_size, config_.q_width(), config_.intermediate_size});
  if (recipe_->calibrates_rounding() && made->tokens() < widest) {
    warnings_.push_back("calibration: " + std::to_string(made->tokens()) +
                        " tokens, fewer than the " + std::to_string(widest) +
                        " inputs of the widest linear, whose Gram matrix they leave singular: "
                        "rounding follows their noise. Use more or longer samples");
  }
  sequences_ = std::move(made->sequences);
  return {};
}

Status CalibrationRun::save_sequences() const {
  Json saved = fingerprint();
  saved["calibration"] = calibration_;
  saved["warnings"] = warnings_;
  Json lengths = Json::array();
  std::vector<std::int32_t> ids;
  for (const std::vector<std::int32_t>& sequence : sequences_) {
    lengths.push_back(sequence.size());
    ids.insert(ids.end(), sequence.begin(), sequence.end());
  }
  saved["lengths"] = std::move(lengths);
  FPTQ_TRY(OutputFile file, OutputFile::create(directory_ / kIdsFile));
  FPTQ_TRY_VOID(file.write(std::as_bytes(std::span(ids))));
  FPTQ_TRY_VOID(file.commit());
  return write_text_file(directory_ / kProgressFile, saved.dump(1) + "\n");
}

Status CalibrationRun::restore_sequences(const Json& saved) {
  const fs::path path = directory_ / kIdsFile;
  FPTQ_TRY(const MappedFile file, MappedFile::open(path));
  std::size_t total = 0;
  const bool has_lengths = saved.contains("lengths") && saved["lengths"].is_array();
  for (const Json& length : has_lengths ? saved["lengths"] : Json::array()) {
    const auto count = length.is_number_unsigned() ? length.get<std::size_t>() : 0;
    const std::size_t bytes = count * sizeof(std::int32_t);
    if (count == 0 || count > file.bytes().size() || total + bytes > file.bytes().size()) break;
    std::vector<std::int32_t> ids(count);
    std::memcpy(ids.data(), file.bytes().data() + total, bytes);
    sequences_.push_back(std::move(ids));
    total += bytes;
  }
  if (sequences_.empty() || total != file.bytes().size()) {
    return Error{Error::Kind::kFormat, path.string() + ": expected the ids of the sequences that " +
                                           kProgressFile + " lists. Begin again with --overwrite"};
  }
  calibration_ = saved.value("calibration", Json::object());
  warnings_ = saved.value("warnings", std::vector<std::string>());
  return {};
}

fs::path CalibrationRun::block_directory(std::size_t layer) const {
  return directory_ / block_name(layer);
}

Status CalibrationRun::round_blocks(const ProgressFn& progress) {
  if (finished_ == config_.num_layers) return {};
  const RoundingJob job{.recipe = recipe_,
                        .plan = plan_,
                        .checkpoint = checkpoint_,
                        .config = &config_,
                        .sequences = sequences_,
                        .directory = directory_,
                        .pool = pool_};
  FPTQ_TRY(BlockRounder rounder, BlockRounder::begin(job, finished_));
  const std::uint64_t pieces = rounder.pieces_per_block();
  while (finished_ < config_.num_layers) {
    const auto after_piece = [&](std::uint64_t done) -> Status {
      if (report_progress(progress,
                          "rounding block " + std::to_string(finished_ + 1) + " of " +
                              std::to_string(config_.num_layers),
                          finished_ * pieces + done, config_.num_layers * pieces)) {
        return {};
      }
      return Error{Error::Kind::kInterrupted, directory_.parent_path().string() + ": interrupted"};
    };
    FPTQ_TRY(const RoundedBlock block, rounder.round_next(after_piece));
    FPTQ_TRY_VOID(save_block(block, block_directory(finished_)));
    rounder.keep();
    ++finished_;
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

Json CalibrationRun::manifest() const {
  Json json = calibration_;
  Json blocks = Json::array();
  for (std::size_t layer = 0; layer < config_.num_layers; ++layer) {
    const auto block = SavedBlock::open(block_directory(layer));
    blocks.push_back(block ? block->report() : Json());
  }
  json["blocks"] = std::move(blocks);
  return json;
}

namespace {

// Where a run's files wait while the output takes its name: beside it.
fs::path parking_place(const fs::path& output) {
  fs::path place = output.has_filename() ? output : output.parent_path();
  place += ".calibration";
  return place;
}

}  // namespace

Status CalibrationRun::park(const fs::path& directory, const fs::path& output) {
  std::error_code failure;
  if (!fs::exists(directory / kFolder, failure)) return {};
  fs::remove_all(parking_place(output), failure);
  fs::rename(directory / kFolder, parking_place(output), failure);
  if (failure) return system_error(parking_place(output), "rename a directory to", failure.value());
  return {};
}

void CalibrationRun::unpark(const fs::path& directory, const fs::path& output) {
  std::error_code failure;
  if (!fs::exists(directory, failure) || fs::exists(directory / kFolder, failure)) return;
  if (!fs::exists(parking_place(output), failure)) return;
  fs::rename(parking_place(output), directory / kFolder, failure);
}

void CalibrationRun::discard_parked(const fs::path& output) {
  std::error_code ignored;
  fs::remove_all(parking_place(output), ignored);
}

}  // namespace fptq::quantize
