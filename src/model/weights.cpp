#include "model/weights.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <utility>
#include <variant>

#include "model/quantized_module.h"
#include "model/table_module.h"
#include "model/tensor_reader.h"

namespace fptq::model {
namespace {

constexpr char kEmbeddingName[] = "model.embed_tokens";
constexpr char kClassifierName[] = "lm_head";

// One linear or embedding: its place in the checkpoint and its shape.
struct Module {
  std::string name;
  std::size_t rows;
  std::size_t cols;
  bool bias;
  ModuleKind kind;
};

// An embedding or classifier matrix before it is given to an operation.
using Matrix = std::variant<Tensor, QuantizedModule, TableMatrix>;

class Binder {
 public:
  Binder(const io::Checkpoint& checkpoint, const LlamaConfig& config, const LoadOptions& options)
      : config_(config), options_(options), reader_(checkpoint, *options.pool) {}

  Result<ModelWeights> bind() {
    FPTQ_TRY_VOID(check_ram_limit());
    FPTQ_TRY(Matrix embedding_matrix, read_matrix(embedding_module()));
    std::string embedding_scheme = matrix_scheme(embedding_matrix);
    FPTQ_TRY(ops::Embedding embedding, make_embedding(embedding_matrix));

    std::vector<BlockWeights> blocks;
    blocks.reserve(std::min<std::size_t>(config_.num_layers, 1024));
    for (std::size_t i = 0; i < config_.num_layers; ++i) {
      FPTQ_TRY(BlockWeights block, bind_block(i));
      blocks.push_back(std::move(block));
    }
    FPTQ_TRY(OutputWeights output, bind_output(std::move(embedding_matrix)));
    FPTQ_TRY_VOID(check_unused());
    return ModelWeights{.embedding = std::move(embedding),
                        .embedding_scheme = std::move(embedding_scheme),
                        .blocks = std::move(blocks),
                        .final_norm = std::move(output.final_norm),
                        .classifier = std::move(output.classifier),
                        .shares_embedding = output.shares_embedding,
                        .warnings = std::move(warnings_)};
  }

  Result<BlockWeights> bind_block(std::size_t layer) {
    const std::string block = "model.layers." + std::to_string(layer);
    const std::vector<Module> modules = block_modules(layer);
    FPTQ_TRY(ops::RmsNorm attn_norm, bind_norm(block + ".input_layernorm"));
    FPTQ_TRY(ops::Linear q_proj, bind_linear(modules[0]));
    FPTQ_TRY(ops::Linear k_proj, bind_linear(modules[1]));
    FPTQ_TRY(ops::Linear v_proj, bind_linear(modules[2]));
    FPTQ_TRY(ops::Linear o_proj, bind_linear(modules[3]));
    FPTQ_TRY(ops::RmsNorm mlp_norm, bind_norm(block + ".post_attention_layernorm"));
    FPTQ_TRY(ops::Linear gate_proj, bind_linear(modules[4]));
    FPTQ_TRY(ops::Linear up_proj, bind_linear(modules[5]));
    FPTQ_TRY(ops::Linear down_proj, bind_linear(modules[6]));
    std::optional<ops::BlockHadamard> down_rotation;
    if (const std::size_t width = config_.down_rotation(layer); width != 0) {
      down_rotation.emplace(config_.intermediate_size, width, options_.isa);
    }
    return BlockWeights{std::move(attn_norm), std::move(q_proj),  std::move(k_proj),
                        std::move(v_proj),    std::move(o_proj),  std::move(mlp_norm),
                        std::move(gate_proj), std::move(up_proj), std::move(down_proj),
                        down_rotation};
  }

  Result<ops::Embedding> bind_embedding() {
    FPTQ_TRY(const Matrix matrix, read_matrix(embedding_module()));
    return make_embedding(matrix);
  }

  Result<OutputWeights> bind_output() {
    FPTQ_TRY(Matrix embedding, read_matrix(embedding_module()));
    return bind_output(std::move(embedding));
  }

 private:
  // embedding: the matrix of a classifier that is tied to it.
  Result<OutputWeights> bind_output(Matrix embedding) {
    FPTQ_TRY(ops::RmsNorm final_norm, bind_norm("model.norm"));
    FPTQ_TRY(const bool shares, classifier_shares(embedding));
    if (shares) {
      FPTQ_TRY_VOID(check_repeated_grids());
      FPTQ_TRY_VOID(adopt_classifier_scheme(embedding));
    }
    FPTQ_TRY(Matrix matrix,
             shares ? Result<Matrix>(std::move(embedding)) : read_matrix(classifier_module()));
    FPTQ_TRY(ops::Linear classifier, make_linear(classifier_module(), std::move(matrix)));
    return OutputWeights{std::move(final_norm), std::move(classifier), shares};
  }

  [[nodiscard]] Module embedding_module() const {
    return {kEmbeddingName, config_.vocab_size, config_.hidden_size, false, ModuleKind::kEmbedding};
  }
  [[nodiscard]] Module classifier_module() const {
    return {kClassifierName, config_.vocab_size, config_.hidden_size, false, ModuleKind::kLinear};
  }

  // The linears of a block, in the order of the forward pass.
  [[nodiscard]] std::vector<Module> block_modules(std::size_t layer) const {
    const std::string block = "model.layers." + std::to_string(layer);
    const std::string attention = block + ".self_attn.";
    const std::string mlp = block + ".mlp.";
    const std::size_t width = config_.hidden_size;
    const std::size_t ffn = config_.intermediate_size;
    const auto linear = [](std::string name, std::size_t rows, std::size_t cols, bool bias) {
      return Module{std::move(name), rows, cols, bias, ModuleKind::kLinear};
    };
    return {linear(attention + "q_proj", config_.q_width(), width, config_.attention_bias),
            linear(attention + "k_proj", config_.kv_width(), width, config_.attention_bias),
            linear(attention + "v_proj", config_.kv_width(), width, config_.attention_bias),
            linear(attention + "o_proj", width, config_.q_width(), config_.attention_bias),
            linear(mlp + "gate_proj", ffn, width, config_.mlp_bias),
            linear(mlp + "up_proj", ffn, width, config_.mlp_bias),
            linear(mlp + "down_proj", width, ffn, config_.mlp_bias)};
  }

  [[nodiscard]] std::optional<ModuleQuantization> quantization(const Module& module) const {
    if (!config_.quantization) return std::nullopt;
    std::optional<ModuleQuantization> found = config_.quantization->find(module.name, module.kind);
    if (found) found->scheme.weights = without_blocks(*found->scheme.weights, module.cols);
    return found;
  }

  // Whether the module's weights are stored as bitsandbytes does.
  [[nodiscard]] bool is_table(const Module& module) const {
    return config_.quantization && config_.quantization->is_bitsandbytes() &&
           find_table_state(reader_.checkpoint(), module.name) != nullptr;
  }

  [[nodiscard]] Status check_ram_limit() const {
    if (options_.ram_limit_bytes == 0 || !config_.quantization) return {};
    std::uint64_t needed = 0;
    const auto add = [&](const Module& module) {
      if (is_table(module)) needed += table_constant_bytes(reader_.checkpoint(), module.name);
      const std::optional<ModuleQuantization> quantized = quantization(module);
      if (!quantized) return;
      needed += packed_module_bytes(reader_, module.name, module.rows, module.cols, *quantized);
    };
    add(embedding_module());
    for (std::size_t i = 0; i < config_.num_layers; ++i) {
      for (const Module& module : block_modules(i)) add(module);
    }
    if (!config_.tied_embeddings) add(classifier_module());
    if (needed <= options_.ram_limit_bytes) return {};
    return Error{Error::Kind::kLimit, reader_.checkpoint().path().string() +
                                          ": packed weights: expected at most " +
                                          std::to_string(options_.ram_limit_bytes) +
                                          " bytes (--ram-limit), got " + std::to_string(needed)};
  }

  Result<Matrix> read_matrix(const Module& module) {
    if (const std::optional<ModuleQuantization> quantized = quantization(module)) {
      FPTQ_TRY(QuantizedModule packed,
               read_quantized_module(reader_, module.name, module.rows, module.cols, *quantized));
      if (options_.activations == ActivationMode::kFloat) packed.activations.reset();
      return Matrix(std::move(packed));
    }
    if (is_table(module)) {
      FPTQ_TRY(TableMatrix table,
               read_table_module(reader_, module.name, module.rows, module.cols));
      return Matrix(std::move(table));
    }
    const std::string name = module.name + ".weight";
    FPTQ_TRY(Tensor weight, reader_.read_float(name, {module.rows, module.cols}));
    FPTQ_TRY_VOID(reader_.check_finite(name, weight));
    return Matrix(std::move(weight));
  }

  static std::string matrix_scheme(const Matrix& matrix) {
    if (const auto* packed = std::get_if<QuantizedModule>(&matrix)) {
      return scheme_name(Scheme{packed->weight.args(), std::nullopt});
    }
    if (const auto* table = std::get_if<TableMatrix>(&matrix)) {
      return scheme_name(Scheme{table->args(), std::nullopt});
    }
    std::string name(dtype_name(std::get<Tensor>(matrix).dtype()));
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return name;
  }

  Result<ops::Embedding> make_embedding(const Matrix& matrix) const {
    if (const auto* packed = std::get_if<QuantizedModule>(&matrix)) {
      return ops::Embedding::quantized(packed->weight);
    }
    if (std::holds_alternative<TableMatrix>(matrix)) {
      return Error{Error::Kind::kUnsupported,
                   reader_.where(std::string(kEmbeddingName) + ".weight") +
                       ": expected an embedding in floating point, got " + matrix_scheme(matrix)};
    }
    return ops::Embedding::dense(std::get<Tensor>(matrix));
  }

  Result<ops::Linear> make_linear(const Module& module, Matrix matrix) {
    std::optional<Tensor> bias;
    if (module.bias) {
      const std::string name = module.name + ".bias";
      FPTQ_TRY(bias, reader_.read_float(name, {module.rows}));
      FPTQ_TRY_VOID(reader_.check_finite(name, *bias));
    }
    Result<ops::Linear> linear = [&] {
      if (auto* packed = std::get_if<QuantizedModule>(&matrix)) {
        return ops::Linear::quantized(std::move(packed->weight), packed->activations,
                                      packed->static_grid, bias, options_.isa);
      }
      if (auto* table = std::get_if<TableMatrix>(&matrix)) {
        return ops::Linear::table(std::move(*table), bias, options_.isa);
      }
      return ops::Linear::dense(std::get<Tensor>(std::move(matrix)), bias, options_.isa);
    }();
    if (!linear) return with_context(linear.error(), reader_.where(module.name));
    return linear;
  }

  Result<ops::Linear> bind_linear(const Module& module) {
    FPTQ_TRY(Matrix matrix, read_matrix(module));
    return make_linear(module, std::move(matrix));
  }

  Result<ops::RmsNorm> bind_norm(const std::string& module) {
    const std::string name = module + ".weight";
    FPTQ_TRY(const Tensor weight, reader_.read_float(name, {config_.hidden_size}));
    FPTQ_TRY_VOID(reader_.check_finite(name, weight));
    Result<ops::RmsNorm> norm = ops::RmsNorm::create(weight, config_.rms_norm_eps, options_.isa);
    if (!norm) return with_context(norm.error(), reader_.where(name));
    return norm;
  }

  // Whether the classifier is the embedding: where config.json says so and the checkpoint has no
  // other classifier.
  Result<bool> classifier_shares(const Matrix& embedding) {
    if (!config_.tied_embeddings) return false;
    const std::string name = std::string(kClassifierName) + ".weight";
    const bool packed = reader_.has(std::string(kClassifierName) + ".weight_packed");
    if (!packed && !reader_.has(name)) return true;
    if (!packed && std::holds_alternative<Tensor>(embedding) &&
        !quantization(classifier_module()) && !is_table(classifier_module())) {
      FPTQ_TRY(const Tensor shipped,
               reader_.read_float(name, {config_.vocab_size, config_.hidden_size}));
      const Tensor& weight = std::get<Tensor>(embedding);
      if (shipped.dtype() == weight.dtype() &&
          std::memcmp(shipped.bytes().data(), weight.bytes().data(), shipped.bytes().size()) == 0) {
        return true;
      }
    }
    warnings_.push_back(
        reader_.where(packed ? std::string(kClassifierName) + ".weight_packed" : name) +
        ": config.json says tie_word_embeddings, but the checkpoint ships another "
        "classifier, which is used");
    return false;
  }

  // A tied classifier multiplies with the embedding's codes; how its inputs are quantized is said
  // where the configuration speaks of lm_head.
  Status adopt_classifier_scheme(Matrix& embedding) const {
    const std::optional<ModuleQuantization> own = quantization(classifier_module());
    auto* packed = std::get_if<QuantizedModule>(&embedding);
    if (packed != nullptr) packed->activations.reset();
    if (!own) return {};
    const std::string where = reader_.checkpoint().path().string() + ": module \"" +
                              kClassifierName + "\": expected tensors of scheme " +
                              scheme_name(own->scheme) + ", got ";
    if (packed == nullptr) {
      return Error{Error::Kind::kFormat,
                   where + "a tied embedding that is not quantized. Add lm_head to `ignore`"};
    }
    if (own->scheme.weights != packed->weight.args()) {
      return Error{Error::Kind::kFormat,
                   where + "a tied embedding of scheme " + matrix_scheme(embedding)};
    }
    if (own->scheme.activations && !own->scheme.activations->dynamic) {
      return Error{Error::Kind::kUnsupported, where + "a tied embedding without an input_scale"};
    }
    if (options_.activations == ActivationMode::kAsStored) {
      packed->activations = own->scheme.activations;
    }
    return {};
  }

  // A quantized matrix that serves twice lies in the file once, and its scales and zero points a
  // second time under the classifier's name, where loaders of compressed-tensors look for them.
  Status check_repeated_grids() {
    for (const char* part : {".weight_scale", ".weight_zero_point"}) {
      const std::string copy = std::string(kClassifierName) + part;
      const std::string original = std::string(kEmbeddingName) + part;
      if (!reader_.has(copy)) continue;
      reader_.use(copy);
      FPTQ_TRY(const Tensor repeated, reader_.checkpoint().read(copy));
      FPTQ_TRY(const Tensor first, reader_.checkpoint().read(original));
      const bool same =
          repeated.dtype() == first.dtype() && repeated.shape() == first.shape() &&
          std::equal(repeated.bytes().begin(), repeated.bytes().end(), first.bytes().begin());
      if (!same) {
        return Error{Error::Kind::kFormat, reader_.where(copy) + ": expected the values of \"" +
                                               original + "\", because the two matrices are tied"};
      }
    }
    return {};
  }

  // A tensor that belongs to the model but is not part of it would be a silent difference.
  Status check_unused() {
    std::string foreign;
    std::size_t foreign_count = 0;
    for (const std::string& name : reader_.unused()) {
      // Older files store what can be computed.
      if (name.ends_with(".rotary_emb.inv_freq")) continue;
      if (config_.tied_embeddings && name == "lm_head.weight") continue;
      if (name.starts_with("model.") || name.starts_with("lm_head.")) {
        return Error{Error::Kind::kFormat,
                     reader_.where(name) +
                         ": expected no such tensor in the model that config.json describes, got "
                         "one of shape " +
                         shape_text(reader_.checkpoint().find(name)->shape)};
      }
      if (++foreign_count == 1) foreign = name;
    }
    if (foreign_count > 0) {
      warnings_.push_back(
          reader_.where(foreign) + ": not part of a Llama model, ignored" +
          (foreign_count > 1 ? " (and " + std::to_string(foreign_count - 1) + " more)" : ""));
    }
    return {};
  }

  const LlamaConfig& config_;
  const LoadOptions& options_;
  TensorReader reader_;
  std::vector<std::string> warnings_;
};

}  // namespace

Result<ModelWeights> bind_weights(const io::Checkpoint& checkpoint, const LlamaConfig& config,
                                  const LoadOptions& options) {
  return Binder(checkpoint, config, options).bind();
}

Result<BlockWeights> bind_block(const io::Checkpoint& checkpoint, const LlamaConfig& config,
                                std::size_t layer, const LoadOptions& options) {
  return Binder(checkpoint, config, options).bind_block(layer);
}

Result<ops::Embedding> bind_embedding(const io::Checkpoint& checkpoint, const LlamaConfig& config,
                                      const LoadOptions& options) {
  return Binder(checkpoint, config, options).bind_embedding();
}

Result<OutputWeights> bind_output(const io::Checkpoint& checkpoint, const LlamaConfig& config,
                                  const LoadOptions& options) {
  return Binder(checkpoint, config, options).bind_output();
}

}  // namespace fptq::model
