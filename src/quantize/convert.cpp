#include "quantize/convert.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/file.h"
#include "io/safetensors_writer.h"
#include "model/decoder_block.h"
#include "model/llama_config.h"
#include "model/quantized_module.h"
#include "model/table_module.h"
#include "ops/hadamard.h"
#include "quantize/llama_modules.h"
#include "quantize/output_files.h"
#include "quantize/plan.h"
#include "quantize/tensor_writing.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSideBytes = std::uint64_t{32} << 20;

// A quantized module that is written as one float matrix.
struct DenseModule {
  LlamaModule module;
  std::optional<model::ModuleQuantization> quantization;  // absent: codes of a table
  // Of its inputs, which the output knows nothing of: the weights are turned back.
  std::optional<ops::BlockHadamard> rotation = std::nullopt;
};

// One tensor of the output: a copy or cast of one of the source's, or a module dequantized.
struct Step {
  TensorPlan kept;
  std::optional<DenseModule> dense;
  io::TensorSpec output;
};

// transformers' name of a type, as config.json holds it.
std::string config_dtype(DType dtype) {
  return dtype == DType::kF16 ? "float16" : dtype == DType::kBF16 ? "bfloat16" : "float32";
}

// Whether the tensor belongs to a quantized module: X.weight, X.weight_scale, X.input_scale, ...
bool is_part_of(const std::string& tensor, const std::string& module) {
  if (!tensor.starts_with(module + ".")) return false;
  const std::string_view part = std::string_view(tensor).substr(module.size() + 1);
  return part.starts_with("weight") || part.starts_with("input_") || part.starts_with("output_");
}

class Conversion {
 public:
  Conversion(const io::Checkpoint& checkpoint, const ConvertOptions& options)
      : checkpoint_(checkpoint),
        options_(options),
        config_(checkpoint.config()),
        reader_(checkpoint, *options.pool) {}

  Status plan(ConvertTarget target) {
    report_.warnings.assign(checkpoint_.warnings().begin(), checkpoint_.warnings().end());
    std::map<std::string, DenseModule> dense;
    if (target == ConvertTarget::kDense && config_.contains("quantization_config")) {
      FPTQ_TRY(dense, quantized_modules());
      config_.erase("quantization_config");
    }
    for (const auto& [name, module] : dense) {
      const DType dtype = options_.dtype.value_or(DType::kF32);
      steps_.push_back(
          Step{{}, module, io::TensorSpec{module.module.weight(), dtype, module.module.shape}});
    }
    for (const io::TensorInfo& info : checkpoint_.tensors()) {
      if (is_replaced(info.name)) continue;
      const bool casts = options_.dtype && is_float_weight_dtype(info.dtype);
      TensorPlan kept;
      kept.source = info.name;
      kept.shape = info.shape;
      kept.stored = io::TensorSpec{info.name, casts ? *options_.dtype : info.dtype, info.shape};
      steps_.push_back(Step{kept, std::nullopt, *kept.stored});
    }
    for (const Step& step : steps_) report_.output_bytes += spec_bytes(step.output);
    set_config_dtype(!dense.empty());
    return {};
  }

  Status write(const fs::path& directory) {
    FPTQ_TRY_VOID(check_disk_space(directory, report_.output_bytes + kSideBytes));
    std::vector<io::TensorSpec> outputs;
    for (const Step& step : steps_) outputs.push_back(step.output);
    io::SafetensorsWriterOptions writer_options;
    writer_options.max_shard_bytes = options_.max_shard_bytes;
    FPTQ_TRY(auto writer,
             io::SafetensorsWriter::create(directory, std::move(outputs), writer_options));
    std::uint64_t done_bytes = 0;
    for (const Step& step : steps_) {
      FPTQ_TRY_VOID(step.dense ? write_dense(step, writer) : write_kept(step, writer));
      done_bytes += spec_bytes(step.output);
      if (!report_progress(options_.progress, "converting", done_bytes,
                           std::max<std::uint64_t>(report_.output_bytes, 1))) {
        return Error{Error::Kind::kInterrupted,
                     options_.output.string() + ": interrupted; nothing was written"};
      }
    }
    FPTQ_TRY_VOID(writer.finish());
    FPTQ_TRY_VOID(write_text_file(directory / "config.json", config_.dump(2) + "\n"));
    const auto names = copy_side_files(checkpoint_, directory, report_.warnings);
    return names ? Status() : Status(names.error());
  }

  const ConvertReport& report() const { return report_; }

 private:
  // The modules that config.json says are quantized, by name; notes which tensors they replace.
  Result<std::map<std::string, DenseModule>> quantized_modules() {
    const std::string where = checkpoint_.path().string() + "/config.json";
    FPTQ_TRY(const model::LlamaConfig config,
             model::parse_llama_config(checkpoint_.config(), where));
    std::map<std::string, DenseModule> dense;
    if (!config.quantization) return dense;  // null
    const bool tables = config.quantization->is_bitsandbytes();
    for (const LlamaModule& module : llama_modules(config)) {
      if (tables && model::find_table_state(checkpoint_, module.name) != nullptr) {
        replaced_.push_back(module.name);
        dense.emplace(module.name, DenseModule{module, std::nullopt});
        continue;
      }
      const auto quantization = config.quantization->find(module.name, module.kind());
      const auto rotation = rotation_of(config, module);
      if (!quantization && rotation) {
        return Error{Error::Kind::kUnsupported,
                     where + ": \"" + module.name +
                         "\": expected quantized weights where inputs are rotated, got weights in "
                         "floating point"};
      }
      if (!quantization) continue;
      replaced_.push_back(module.name);
      // A tied classifier repeats the embedding's scales and has no codes of its own.
      const bool has_codes = checkpoint_.find(module.weight()) != nullptr ||
                             checkpoint_.find(module.weight() + "_packed") != nullptr;
      if (module.role == LlamaModule::Role::kClassifier && config.tied_embeddings && !has_codes) {
        continue;
      }
      dense.emplace(module.name, DenseModule{module, *quantization, rotation});
    }
    return dense;
  }

  static std::optional<ops::BlockHadamard> rotation_of(const model::LlamaConfig& config,
                                                       const LlamaModule& module) {
    for (std::size_t layer = 0; layer < config.down_rotations.size(); ++layer) {
      const std::size_t block = config.down_rotation(layer);
      if (block == 0 || module.name != model::block_module_name(layer, model::BlockLinear::kDown)) {
        continue;
      }
      return ops::BlockHadamard(config.intermediate_size, block, best_isa());
    }
    return std::nullopt;
  }

  bool is_replaced(const std::string& tensor) const {
    return std::any_of(replaced_.begin(), replaced_.end(),
                       [&](const std::string& module) { return is_part_of(tensor, module); });
  }

  void set_config_dtype(bool dequantizes) {
    if (!options_.dtype && !dequantizes) return;
    const char* key = config_.contains("torch_dtype") ? "torch_dtype" : "dtype";
    config_[key] = config_dtype(options_.dtype.value_or(DType::kF32));
  }

  Status write_kept(const Step& step, io::SafetensorsWriter& writer) {
    FPTQ_TRY(const Tensor weights, checkpoint_.read(step.kept.source));
    return write_values(step.kept, weights, writer);
  }

  Status write_dense(const Step& step, io::SafetensorsWriter& writer) {
    const LlamaModule& module = step.dense->module;
    if (!step.dense->quantization) {
      FPTQ_TRY(const TableMatrix table,
               model::read_table_module(reader_, module.name, module.shape[0], module.shape[1]));
      return write_rows(step, table, writer);
    }
    FPTQ_TRY(const model::QuantizedModule packed,
             model::read_quantized_module(reader_, module.name, module.shape[0], module.shape[1],
                                          *step.dense->quantization));
    return write_rows(step, packed.weight, writer);
  }

  // Writes the module's matrix, a PackedMatrix or a TableMatrix, in floating point.
  template <typename Matrix>
  Status write_rows(const Step& step, const Matrix& matrix, io::SafetensorsWriter& writer) {
    const LlamaModule& module = step.dense->module;
    const std::size_t rows = module.shape[0];
    const std::size_t cols = module.shape[1];
    const std::size_t step_rows = block_rows(rows, cols);
    std::vector<float> values(step_rows * cols);
    for (std::size_t first = 0; first < rows; first += step_rows) {
      const std::size_t count = std::min(step_rows, rows - first);
      options_.pool->parallel_for(count, 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t row = begin; row < end; ++row) {
          matrix.read_row(first + row, std::span(values).subspan(row * cols, cols));
          if (step.dense->rotation) step.dense->rotation->apply(&values[row * cols], 1);
        }
      });
      FPTQ_TRY(const Tensor block,
               Tensor::from_f32({count, cols}, std::span(values).first(count * cols)));
      TensorPlan kept;
      kept.source = module.weight();
      kept.shape = block.shape();
      kept.stored = step.output;
      FPTQ_TRY_VOID(write_values(kept, block, writer));
    }
    for (const char* part : {".weight", ".weight_packed", ".weight_scale"}) {
      if (checkpoint_.find(module.name + part) != nullptr) checkpoint_.release(module.name + part);
    }
    return {};
  }

  Status write_values(const TensorPlan& kept, const Tensor& weights,
                      io::SafetensorsWriter& writer) {
    const ByteSink sink = [&](const io::TensorSpec& spec, std::span<const std::byte> bytes) {
      return writer.write(spec.name, bytes);
    };
    const auto after_block = [&](std::uint64_t) -> Status {
      if (checkpoint_.find(kept.source) != nullptr) checkpoint_.release(kept.source);
      return {};
    };
    FPTQ_TRY(const TensorOutcome outcome,
             write_tensor(kept, weights, {}, *options_.pool, sink, after_block));
    report_.largest_error = std::max(report_.largest_error, outcome.error.largest_error);
    return {};
  }

  const io::Checkpoint& checkpoint_;
  const ConvertOptions& options_;
  Json config_;
  model::TensorReader reader_;
  std::vector<Step> steps_;
  std::vector<std::string> replaced_;
  ConvertReport report_;
};

}  // namespace

Result<ConvertTarget> parse_convert_target(std::string_view name) {
  if (name == "hf") return ConvertTarget::kHf;
  if (name == "dense") return ConvertTarget::kDense;
  const std::string quoted = "--to \"" + std::string(name.substr(0, 80)) + "\"";
  for (const std::string_view planned : {"gguf", "vllm", "bnb", "gptq"}) {
    if (name == planned) {
      return Error{Error::Kind::kUnsupported, quoted + ": this version writes hf and dense"};
    }
  }
  return Error{Error::Kind::kInvalidArgument, quoted + ": expected hf or dense"};
}

Result<ConvertReport> convert_checkpoint(const io::Checkpoint& checkpoint, ConvertTarget target,
                                         const ConvertOptions& options) {
  FPTQ_CHECK(options.pool != nullptr, "a thread pool is required");
  FPTQ_TRY_VOID(check_output_path(options.output, checkpoint));
  Conversion conversion(checkpoint, options);
  FPTQ_TRY_VOID(conversion.plan(target));
  FPTQ_TRY(OutputDirectory directory, OutputDirectory::create(options.output, options.overwrite));
  Status status = conversion.write(directory.path());
  if (status) status = directory.commit();
  if (!status) {
    directory.discard();
    return status.error();
  }
  return conversion.report();
}

}  // namespace fptq::quantize
