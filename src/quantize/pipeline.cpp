#include "quantize/pipeline.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/sha256.h"
#include "io/safetensors_writer.h"
#include "model/llama_config.h"
#include "quantize/block_rounder.h"
#include "quantize/calibration_run.h"
#include "quantize/manifest.h"
#include "quantize/observation.h"
#include "quantize/output_files.h"
#include "quantize/precision_search.h"
#include "quantize/preparation.h"
#include "quantize/tensor_writing.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

// Files other than the weights: configuration, tokenizer, manifest.
constexpr std::uint64_t kSideBytes = std::uint64_t{32} << 20;

std::uint64_t peak_rss_bytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

Status check_memory(std::uint64_t needed_bytes, std::uint64_t limit_bytes) {
  if (limit_bytes == 0 || needed_bytes <= limit_bytes) return {};
  return Error{Error::Kind::kLimit, "quantizing this checkpoint needs " +
                                        std::to_string(needed_bytes) +
                                        " bytes of memory, and the limit is " +
                                        std::to_string(limit_bytes) + ". Raise --ram-limit"};
}

// Float32 copies of a block's linears, of weights that are computed when they are read.
std::uint64_t block_copy_bytes(const model::LlamaConfig& config) {
  std::uint64_t elements = 0;
  for (const model::BlockLinear linear : model::kBlockLinears) {
    const Shape shape = model::block_linear_shape(config, linear);
    elements += shape[0] * shape[1];
  }
  return elements * sizeof(float);
}

// Memory and disk that calibration takes beyond what writing the output does.
struct CalibrationNeeds {
  std::uint64_t memory_bytes = 0;
  std::uint64_t disk_bytes = 0;
};

// Bytes of tensors that are not in the file as they are used: a model of them lies in memory.
std::uint64_t copied_bytes(const io::Checkpoint& checkpoint) {
  std::uint64_t copied = 0;
  for (const io::TensorInfo& info : checkpoint.tensors()) {
    const std::uint64_t dense_bytes =
        element_count(info.shape).value_or(0) * dtype_bytes(info.dtype);
    if (info.stored_bytes != dense_bytes) copied += dense_bytes;
  }
  return copied;
}

// source: before it was transformed; what is made of it is in no file anyway.
Result<CalibrationNeeds> calibration_needs(const Recipe& recipe, const Preparation& preparation,
                                           const io::Checkpoint& source, std::size_t threads) {
  const io::Checkpoint& checkpoint = preparation.checkpoint();
  if (!recipe.needs_calibration()) return CalibrationNeeds{};
  FPTQ_TRY(const model::LlamaConfig config,
           model::parse_llama_config(checkpoint.config(), checkpoint.path().string()));
  const auto seqlen = std::min<std::uint64_t>(recipe.calibration.seqlen, config.max_positions);
  // The block that is quantized and the original one.
  std::uint64_t copies = preparation.transforms() ? 2 * block_copy_bytes(config) : 0;
  const auto samples = recipe.calibration.samples + recipe.calibration.self_samples;
  const std::uint64_t copied = copied_bytes(source);
  copies += 2 * copied / config.num_layers;
  CalibrationNeeds needs{BlockRounder::working_bytes(recipe, config, seqlen, threads) + copies,
                         BlockRounder::disk_bytes(recipe, config, samples * seqlen)};
  if (recipe.has_target() || recipe.down_rotation == RotationKind::kAuto) {
    const std::uint64_t measured = std::min(recipe.precision.samples, samples);
    needs.memory_bytes =
        std::max(needs.memory_bytes, sensitivity_working_bytes(recipe, config, measured) + copies);
  }
  // Samples are drawn from the whole model.
  if (recipe.calibration.text == "self" || recipe.calibration.self_samples > 0) {
    needs.memory_bytes = std::max(needs.memory_bytes, copied);
  }
  return needs;
}

// "3 finished blocks", "the observation", or "": what of a stopped run need not be done again.
std::string what_is_kept(const fs::path& directory) {
  const std::size_t blocks = CalibrationRun::finished_blocks(directory).value_or(0);
  if (blocks > 0) return std::to_string(blocks) + " finished block" + (blocks == 1 ? "" : "s");
  if (has_sensitivities(directory)) return "measured sensitivities";
  return has_observation(directory) ? "the observation" : "";
}

// Whether a stopped run's blocks would be lost without anybody having said so.
Status check_left_over(const QuantizeOptions& options) {
  if (options.resume || options.overwrite) return {};
  fs::path partial = options.output;
  if (!partial.has_filename()) partial = partial.parent_path();
  partial += ".partial";
  std::string kept = what_is_kept(partial);
  std::error_code failure;
  // Stopped while the complete output was about to take its name.
  if (fs::exists(partial, failure) && CalibrationRun::is_parked(options.output))
    kept = "all blocks";
  if (kept.empty()) return {};
  return Error{Error::Kind::kInvalidArgument,
               partial.string() + ": holds " + kept +
                   " of a run that was stopped. Go on with --resume, or begin again with "
                   "--overwrite"};
}

Json scheme_json(const TensorPlan& tensor) {
  if (tensor.rounded()) return describe_scheme(tensor.scheme);
  return std::string(dtype_name(tensor.stored->dtype));
}

// One run: the plan, the directory being filled, and what is known of what was written.
class Run {
 public:
  Run(const Recipe& recipe, const io::Checkpoint& source, const QuantizeOptions& options,
      Preparation& preparation)
      : recipe_(recipe), source_(source), options_(options), preparation_(preparation) {}

  // Fills the directory.
  Status write(const fs::path& directory) {
    FPTQ_TRY_VOID(preparation_.complete(directory, options_.resume, options_.progress));
    warnings_ = all_warnings();
    if (recipe_.has_target()) {
      FPTQ_TRY_VOID(check_disk_space(directory, plan().output_bytes + kSideBytes));
    }
    if (recipe_.rounds_in_blocks()) {
      const double began = seconds();
      FPTQ_TRY_VOID(round_blocks(directory));
      rounding_seconds_ = seconds() - began;
    }
    FPTQ_TRY_VOID(write_weights(directory));
    const Json config = output_config(plan(), checkpoint());
    FPTQ_TRY_VOID(write_text(directory, "config.json", config.dump(2) + "\n"));
    FPTQ_TRY_VOID(write_text(directory, "recipe.yaml", print_recipe(recipe_)));
    FPTQ_TRY(const auto names, copy_side_files(source_, directory, warnings_));
    for (const std::string& name : names) {
      FPTQ_TRY(const MappedFile file, MappedFile::open(directory / name));
      files_[name] = sha256_hex(file.bytes());
    }
    FPTQ_TRY_VOID(write_text_file(directory / kManifestFile, seal_manifest(manifest())));
    return {};
  }

  QuantizeReport report() const {
    return QuantizeReport{plan().parameters,
                          source_.weight_file_bytes(),
                          plan().output_bytes,
                          plan().bits_per_weight,
                          plan().linear_bits_per_weight,
                          total_error_.relative(),
                          seconds(),
                          rounding_seconds_,
                          warnings_};
  }

 private:
  const Plan& plan() const { return preparation_.plan(); }
  const io::Checkpoint& checkpoint() const { return preparation_.checkpoint(); }

  Status round_blocks(const fs::path& directory) {
    FPTQ_TRY(calibration_,
             CalibrationRun::open(recipe_, plan(), checkpoint(), preparation_.sequences(),
                                  directory, *options_.pool, options_.isa));
    return calibration_->round_blocks(options_.progress);
  }

  Status write_weights(const fs::path& directory) {
    io::SafetensorsWriterOptions writer_options;
    writer_options.max_shard_bytes = options_.max_shard_bytes;
    FPTQ_TRY(auto writer,
             io::SafetensorsWriter::create(directory, plan().output_tensors(), writer_options));
    for (const TensorPlan& tensor : plan().tensors) {
      FPTQ_TRY_VOID(write_tensor_to(tensor, writer));
    }
    FPTQ_TRY_VOID(writer.finish());
    for (const io::WrittenTensor& written : writer.written_tensors()) {
      output_sha256_[written.name] = written.sha256;
    }
    for (const io::WrittenFile& written : writer.written_files()) {
      files_[written.name] = written.sha256;
    }
    return {};
  }

  Status write_tensor_to(const TensorPlan& tensor, io::SafetensorsWriter& writer) {
    FPTQ_TRY(const Tensor weights, checkpoint().read(tensor.source));
    const ByteSink sink = [&](const io::TensorSpec& spec, std::span<const std::byte> bytes) {
      return writer.write(spec.name, bytes);
    };
    const auto after_block = [&](std::uint64_t elements_done) -> Status {
      // What has been read is not needed again; the system may take the pages back.
      checkpoint().release(tensor.source);
      if (report_progress(options_.progress, "quantizing", elements_done_ + elements_done,
                          std::max<std::uint64_t>(plan().parameters, 1))) {
        return {};
      }
      return Error{Error::Kind::kInterrupted, options_.output.string() + ": interrupted"};
    };
    TensorRounding rounding;
    std::optional<RoundedModule> rounded;
    if (calibration_) {
      FPTQ_TRY(rounded, calibration_->module(tensor));
      rounding.rounded = rounded ? &*rounded : nullptr;
    } else {
      rounding = data_free_rounding(recipe_, tensor);
    }
    auto outcome = write_tensor(tensor, weights, rounding, *options_.pool, sink, after_block);
    checkpoint().release(tensor.source);
    if (!outcome && outcome.error().kind == Error::Kind::kFormat) {
      return with_context(outcome.error(), checkpoint().find(tensor.source)->file);
    }
    if (!outcome) return outcome.error();
    if (checkpoint().find(tensor.source)->kept_as) {
      FPTQ_TRY(outcome->source_sha256, hash_of_source(tensor.source));
    }
    elements_done_ += weights.elements();
    if (tensor.rounded()) total_error_.add(outcome->error);
    outcomes_.push_back(*std::move(outcome));
    return {};
  }

  // Of the tensor as it was before any transformation; "" where the source has none of that name.
  Result<std::string> hash_of_source(const std::string& name) const {
    if (source_.find(name) == nullptr) return std::string();
    FPTQ_TRY(const Tensor tensor, source_.read(name));
    std::string hash = sha256_hex(tensor.bytes());
    source_.release(name);
    return hash;
  }

  Status write_text(const fs::path& directory, const std::string& name, const std::string& text) {
    files_[name] = sha256_hex(std::as_bytes(std::span(text)));
    return write_text_file(directory / name, text);
  }

  Json manifest() const {
    Json json;
    json["program"] = "fptq";
    json["version"] = FPTQ_VERSION;
    json["source"] = {{"name", source_.path().filename().string()},
                      {"container", std::string(source_.container())}};
    json["recipe"] = recipe_.name;
    json["seed"] = recipe_.seed;
    json["calibration_sha256"] = nullptr;
    if (preparation_.has_sequences()) {
      json["calibration"] = preparation_.sequences().source;
      json["calibration_sha256"] = json["calibration"].value("sha256", Json());
    }
    if (calibration_) json["calibration"]["blocks"] = calibration_->reports();
    for (const InputChoice& input : preparation_.inputs()) {
      json["inputs"].push_back(to_json(input, false));
    }
    if (const DownRotatedCheckpoint* rotated = preparation_.down_rotated()) {
      json["down_rotation"] = {
          {"kind", "hadamard"}, {"block", rotated->block()}, {"layers", rotated->layers()}};
    }
    if (const auto& choice = preparation_.rotation_choice()) {
      if (!choice->accepts()) json["down_rotation"]["kind"] = "none";
      json["down_rotation"]["choice"] = {{"kl_plain", choice->kl_plain},
                                         {"kl_rotated", choice->kl_rotated},
                                         {"tokens", choice->tokens}};
    }
    if (recipe_.has_target()) json["precision"] = preparation_.precision();
    json["parameters"] = plan().parameters;
    json["bits_per_weight"] = plan().bits_per_weight;
    json["linear_bits_per_weight"] = plan().linear_bits_per_weight;
    json["warnings"] = warnings_;
    Json tensors = Json::array();
    for (std::size_t i = 0; i < plan().tensors.size(); ++i) {
      tensors.push_back(tensor_json(plan().tensors[i], outcomes_[i]));
    }
    json["tensors"] = std::move(tensors);
    json["files"] = files_;
    json["run"] = {{"wall_s", seconds()},
                   {"peak_rss_bytes", peak_rss_bytes()},
                   {"threads", options_.pool->threads()},
                   {"cpu", cpu_name()}};
    return json;
  }

  Json tensor_json(const TensorPlan& tensor, const TensorOutcome& outcome) const {
    Json outputs = Json::object();
    for (const io::TensorSpec& spec : tensor.outputs()) {
      outputs[spec.name] = output_sha256_.at(spec.name);
    }
    Json json;
    json["source"] = tensor.source;
    json["shape"] = tensor.shape;
    json["source_sha256"] = outcome.source_sha256.empty() ? Json() : Json(outcome.source_sha256);
    json["scheme"] = scheme_json(tensor);
    json["relative_squared_error"] = outcome.error.relative();
    json["largest_error"] = outcome.error.largest_error;
    json["output_sha256"] = std::move(outputs);
    return json;
  }

  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

  const Recipe& recipe_;
  const io::Checkpoint& source_;
  const QuantizeOptions& options_;
  Preparation& preparation_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  double rounding_seconds_ = 0;
  std::vector<std::string> warnings_;
  std::vector<TensorOutcome> outcomes_;
  std::optional<CalibrationRun> calibration_;
  algo::RoundingError total_error_;
  std::uint64_t elements_done_ = 0;
  std::map<std::string, std::string> output_sha256_;
  std::map<std::string, std::string> files_;

  std::vector<std::string> all_warnings() const {
    std::vector<std::string> all(checkpoint().warnings().begin(), checkpoint().warnings().end());
    all.insert(all.end(), plan().warnings.begin(), plan().warnings.end());
    if (preparation_.has_sequences()) {
      const auto& more = preparation_.sequences().warnings;
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  }
};

// Removes what was begun, or says how it can be gone on with.
Error abandon(OutputDirectory& directory, const QuantizeOptions& options, const Error& reason) {
  const std::string kept = options.resumable ? what_is_kept(directory.path()) : "";
  Error error = reason;
  if (kept.empty()) {
    directory.discard();
    if (reason.kind == Error::Kind::kInterrupted) error.message += "; nothing was written";
    return error;
  }
  // Other errors would come again.
  const bool passes = reason.kind == Error::Kind::kInterrupted ||
                      reason.kind == Error::Kind::kLimit || reason.kind == Error::Kind::kIo;
  if (!passes) return error;
  error.message += ". " + directory.path().string() + " keeps " + kept +
                   ": the same command with --resume goes on from there";
  return error;
}

}  // namespace

Result<QuantizeReport> quantize_checkpoint(const Recipe& recipe, const io::Checkpoint& checkpoint,
                                           const QuantizeOptions& options) {
  FPTQ_CHECK(options.pool != nullptr, "a thread pool is required");
  FPTQ_TRY_VOID(check_output_path(options.output, checkpoint));
  FPTQ_TRY_VOID(check_left_over(options));
  FPTQ_TRY(Preparation preparation,
           Preparation::begin(recipe, checkpoint, *options.pool, options.isa));
  const Plan& plan = preparation.plan();
  FPTQ_TRY(const CalibrationNeeds needs,
           calibration_needs(recipe, preparation, checkpoint, options.pool->threads()));
  FPTQ_TRY_VOID(
      check_memory(std::max(plan.working_bytes, needs.memory_bytes), options.ram_limit_bytes));
  FPTQ_TRY(OutputDirectory directory,
           OutputDirectory::create(options.output, options.overwrite, options.resume));
  if (options.resume) CalibrationRun::unpark(directory.path(), options.output);
  CalibrationRun::discard_parked(options.output);
  Run run(recipe, checkpoint, options, preparation);
  const auto blocks = CalibrationRun::finished_blocks(directory.path());
  Status status =
      check_disk_space(directory.path(), plan.output_bytes + kSideBytes +
                                             (blocks.value_or(0) > 0 ? 0 : needs.disk_bytes));
  if (status) status = run.write(directory.path());
  if (status) status = CalibrationRun::park(directory.path(), options.output);
  if (!status) return abandon(directory, options, status.error());
  FPTQ_TRY_VOID(directory.commit());
  CalibrationRun::discard_parked(options.output);
  return run.report();
}

}  // namespace fptq::quantize
