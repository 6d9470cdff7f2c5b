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
#include "quantize/output_files.h"
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

// Memory and disk that calibration takes beyond what writing the output does.
struct CalibrationNeeds {
  std::uint64_t memory_bytes = 0;
  std::uint64_t disk_bytes = 0;
};

Result<CalibrationNeeds> calibration_needs(const Recipe& recipe, const io::Checkpoint& checkpoint,
                                           std::size_t threads) {
  if (!recipe.needs_calibration()) return CalibrationNeeds{};
  FPTQ_TRY(const model::LlamaConfig config,
           model::parse_llama_config(checkpoint.config(), checkpoint.path().string()));
  const auto seqlen = std::min<std::uint64_t>(recipe.calibration.seqlen, config.max_positions);
  return CalibrationNeeds{
      BlockRounder::working_bytes(recipe, config, seqlen, threads),
      BlockRounder::disk_bytes(
          recipe, config, (recipe.calibration.samples + recipe.calibration.self_samples) * seqlen)};
}

// Whether a stopped run's blocks would be lost without anybody having said so.
Status check_left_over(const QuantizeOptions& options) {
  if (options.resume || options.overwrite) return {};
  fs::path partial = options.output;
  if (!partial.has_filename()) partial = partial.parent_path();
  partial += ".partial";
  const auto blocks = CalibrationRun::finished_blocks(partial);
  if (!blocks || *blocks == 0) return {};
  return Error{
      Error::Kind::kInvalidArgument,
      partial.string() + ": holds " + std::to_string(*blocks) +
          " finished blocks of a run that was stopped. Go on with --resume, or begin again "
          "with --overwrite"};
}

Json scheme_json(const TensorPlan& tensor) {
  if (tensor.rounded()) return describe_scheme(tensor.scheme);
  return std::string(dtype_name(tensor.stored->dtype));
}

// One run: the plan, the directory being filled, and what is known of what was written.
class Run {
 public:
  Run(const Recipe& recipe, const io::Checkpoint& checkpoint, const QuantizeOptions& options,
      const Plan& plan)
      : recipe_(recipe), checkpoint_(checkpoint), options_(options), plan_(plan) {}

  // Fills the directory.
  Status write(const fs::path& directory) {
    if (recipe_.needs_calibration()) FPTQ_TRY_VOID(calibrate(directory));
    FPTQ_TRY_VOID(write_weights(directory));
    const Json config = output_config(plan_, checkpoint_);
    FPTQ_TRY_VOID(write_text(directory, "config.json", config.dump(2) + "\n"));
    FPTQ_TRY_VOID(write_text(directory, "recipe.yaml", print_recipe(recipe_)));
    FPTQ_TRY(const auto names, copy_side_files(checkpoint_, directory, warnings_));
    for (const std::string& name : names) {
      FPTQ_TRY(const MappedFile file, MappedFile::open(directory / name));
      files_[name] = sha256_hex(file.bytes());
    }
    FPTQ_TRY_VOID(write_text_file(directory / kManifestFile, seal_manifest(manifest())));
    return {};
  }

  QuantizeReport report() const {
    return QuantizeReport{plan_.parameters,
                          checkpoint_.weight_file_bytes(),
                          plan_.output_bytes,
                          plan_.bits_per_weight,
                          plan_.linear_bits_per_weight,
                          total_error_.relative(),
                          seconds(),
                          warnings_};
  }

 private:
  Status calibrate(const fs::path& directory) {
    FPTQ_TRY(calibration_,
             CalibrationRun::open(recipe_, plan_, checkpoint_, directory, options_.resume,
                                  *options_.pool, options_.progress));
    const auto& warnings = calibration_->warnings();
    warnings_.insert(warnings_.end(), warnings.begin(), warnings.end());
    return calibration_->round_blocks(options_.progress);
  }

  Status write_weights(const fs::path& directory) {
    io::SafetensorsWriterOptions writer_options;
    writer_options.max_shard_bytes = options_.max_shard_bytes;
    FPTQ_TRY(auto writer,
             io::SafetensorsWriter::create(directory, plan_.output_tensors(), writer_options));
    for (const TensorPlan& tensor : plan_.tensors) {
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
    FPTQ_TRY(const Tensor weights, checkpoint_.read(tensor.source));
    const ByteSink sink = [&](const io::TensorSpec& spec, std::span<const std::byte> bytes) {
      return writer.write(spec.name, bytes);
    };
    const auto after_block = [&](std::uint64_t elements_done) -> Status {
      // What has been read is not needed again; the system may take the pages back.
      checkpoint_.release(tensor.source);
      if (report_progress(options_.progress, "quantizing", elements_done_ + elements_done,
                          std::max<std::uint64_t>(plan_.parameters, 1))) {
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
    checkpoint_.release(tensor.source);
    if (!outcome && outcome.error().kind == Error::Kind::kFormat) {
      return with_context(outcome.error(), checkpoint_.find(tensor.source)->file);
    }
    if (!outcome) return outcome.error();
    elements_done_ += weights.elements();
    if (tensor.rounded()) total_error_.add(outcome->error);
    outcomes_.push_back(*std::move(outcome));
    return {};
  }

  Status write_text(const fs::path& directory, const std::string& name, const std::string& text) {
    files_[name] = sha256_hex(std::as_bytes(std::span(text)));
    return write_text_file(directory / name, text);
  }

  Json manifest() const {
    Json json;
    json["program"] = "fptq";
    json["version"] = FPTQ_VERSION;
    json["source"] = {{"name", checkpoint_.path().filename().string()},
                      {"container", std::string(checkpoint_.container())}};
    json["recipe"] = recipe_.name;
    json["seed"] = recipe_.seed;
    json["calibration_sha256"] = nullptr;
    if (calibration_) {
      json["calibration"] = calibration_->manifest();
      json["calibration_sha256"] = json["calibration"].value("sha256", Json());
    }
    json["parameters"] = plan_.parameters;
    json["bits_per_weight"] = plan_.bits_per_weight;
    json["linear_bits_per_weight"] = plan_.linear_bits_per_weight;
    json["warnings"] = warnings_;
    Json tensors = Json::array();
    for (std::size_t i = 0; i < plan_.tensors.size(); ++i) {
      tensors.push_back(tensor_json(plan_.tensors[i], outcomes_[i]));
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
    json["source_sha256"] = outcome.source_sha256;
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
  const io::Checkpoint& checkpoint_;
  const QuantizeOptions& options_;
  const Plan& plan_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::vector<std::string> warnings_ = all_warnings();
  std::vector<TensorOutcome> outcomes_;
  std::optional<CalibrationRun> calibration_;
  algo::RoundingError total_error_;
  std::uint64_t elements_done_ = 0;
  std::map<std::string, std::string> output_sha256_;
  std::map<std::string, std::string> files_;

  std::vector<std::string> all_warnings() const {
    std::vector<std::string> all(checkpoint_.warnings().begin(), checkpoint_.warnings().end());
    all.insert(all.end(), plan_.warnings.begin(), plan_.warnings.end());
    return all;
  }
};

// Removes what was begun, or says how it can be gone on with.
Error abandon(OutputDirectory& directory, const Error& reason) {
  const std::size_t blocks = CalibrationRun::finished_blocks(directory.path()).value_or(0);
  Error error = reason;
  if (blocks == 0) {
    directory.discard();
    if (reason.kind == Error::Kind::kInterrupted) error.message += "; nothing was written";
  } else {
    error.message += ". " + directory.path().string() + " keeps " + std::to_string(blocks) +
                     " finished blocks: the same command with --resume goes on from there";
  }
  return error;
}

}  // namespace

Result<QuantizeReport> quantize_checkpoint(const Recipe& recipe, const io::Checkpoint& checkpoint,
                                           const QuantizeOptions& options) {
  FPTQ_CHECK(options.pool != nullptr, "a thread pool is required");
  FPTQ_TRY_VOID(check_output_path(options.output, checkpoint));
  FPTQ_TRY_VOID(check_left_over(options));
  FPTQ_TRY(const Plan plan, make_plan(recipe, checkpoint));
  FPTQ_TRY(const CalibrationNeeds needs,
           calibration_needs(recipe, checkpoint, options.pool->threads()));
  FPTQ_TRY_VOID(
      check_memory(std::max(plan.working_bytes, needs.memory_bytes), options.ram_limit_bytes));
  FPTQ_TRY(OutputDirectory directory,
           OutputDirectory::create(options.output, options.overwrite, options.resume));
  if (options.resume) CalibrationRun::unpark(directory.path(), options.output);
  CalibrationRun::discard_parked(options.output);
  Run run(recipe, checkpoint, options, plan);
  const auto blocks = CalibrationRun::finished_blocks(directory.path());
  Status status = check_disk_space(
      directory.path(), plan.output_bytes + kSideBytes + (blocks ? 0 : needs.disk_bytes));
  if (status) status = run.write(directory.path());
  if (status) status = CalibrationRun::park(directory.path(), options.output);
  if (!status) return abandon(directory, status.error());
  FPTQ_TRY_VOID(directory.commit());
  CalibrationRun::discard_parked(options.output);
  return run.report();
}

}  // namespace fptq::quantize
