#include "quantize/rotated_checkpoint.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "algo/equalization.h"
#include "model/decoder_block.h"
#include "quantize/equalized_checkpoint.h"
#include "quantize/llama_modules.h"

namespace fptq::quantize {
namespace {

using model::BlockInput;
using model::BlockLinear;

// Columns that are turned together: enough to share out among threads.
constexpr std::size_t kColumns = 256;

// W <- P^T W for P = blockdiag(rotation, ...): every column, in pieces of the rotation's width.
//   values  [rows, cols], rows a multiple of the rotation's width
void rotate_columns(const algo::Rotation& rotation, std::span<float> values, std::size_t rows,
                    std::size_t cols, ThreadPool& pool) {
  std::vector<float> columns(std::min(kColumns, cols) * rows);
  for (std::size_t first = 0; first < cols; first += kColumns) {
    const std::size_t count = std::min(kColumns, cols - first);
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t i = 0; i < count; ++i) {
        columns[i * rows + row] = values[row * cols + first + i];
      }
    }
    rotation.apply(std::span(columns).first(count * rows), pool);
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t i = 0; i < count; ++i) {
        values[row * cols + first + i] = columns[i * rows + row];
      }
    }
  }
}

Status check_floats(const io::Checkpoint& checkpoint, const std::string& name, const Shape& shape) {
  const io::TensorInfo* info = checkpoint.find(name);
  if (info != nullptr && info->shape == shape && is_float_weight_dtype(info->dtype)) return {};
  const std::string got =
      info == nullptr ? "no such tensor"
                      : std::string(dtype_name(info->dtype)) + " " + shape_text(info->shape);
  return Error{Error::Kind::kFormat, checkpoint.path().string() + ": tensor \"" + name +
                                         "\": expected floats of " + shape_text(shape) +
                                         " from config.json, got " + got};
}

// 1.0 in the type.
std::uint32_t one_bits(DType dtype) {
  return dtype == DType::kF16 ? 0x3C00U : dtype == DType::kBF16 ? 0x3F80U : 0x3F800000U;
}

}  // namespace

RotatedCheckpoint::RotatedCheckpoint(const io::Checkpoint& base, const model::LlamaConfig& config,
                                     std::uint64_t seed, ThreadPool& pool)
    : TransformedCheckpoint(base),
      stream_(config.hidden_size, seed),
      values_(config.head_dim, seed + 1),
      pool_(pool) {}

Result<std::unique_ptr<RotatedCheckpoint>> RotatedCheckpoint::create(
    const io::Checkpoint& base, const model::LlamaConfig& config, std::uint64_t seed,
    ThreadPool& pool) {
  for (const LlamaModule& module : llama_modules(config)) {
    const bool classifier = module.role == LlamaModule::Role::kClassifier;
    if (classifier && config.tied_embeddings && base.find(module.weight()) == nullptr) continue;
    FPTQ_TRY_VOID(check_floats(base, module.weight(), module.shape));
  }
  for (const LlamaVector& vector : llama_vectors(config)) {
    FPTQ_TRY_VOID(check_floats(base, vector.name, vector.shape));
  }
  std::unique_ptr<RotatedCheckpoint> made(new RotatedCheckpoint(base, config, seed, pool));
  FPTQ_TRY_VOID(made->rotate_ends(config));
  for (std::size_t layer = 0; layer < config.num_layers; ++layer) {
    FPTQ_TRY_VOID(made->rotate_block(config, layer));
  }
  return made;
}

Status RotatedCheckpoint::rotate_ends(const model::LlamaConfig& config) {
  const std::string embedding = std::string(kEmbeddingModule) + ".weight";
  const std::string classifier = std::string(kClassifierModule) + ".weight";
  const std::string& source = base_.find(classifier) != nullptr ? classifier : embedding;
  FPTQ_TRY_VOID(fuse(classifier, source, "model.norm.weight", {}));
  change(embedding, embedding, [this](std::span<float> values, std::size_t, std::size_t) -> Status {
    stream_.apply(values, pool_);
    return {};
  });
  if (config.tied_embeddings) {
    config_["tie_word_embeddings"] = false;
    warnings_.push_back(
        "rotation makes embedding and classifier differ, which are tied in the source; the output "
        "holds both");
  }
  return {};
}

Status RotatedCheckpoint::fuse(const std::string& weight, const std::string& source,
                               const std::string& norm, Change and_then) {
  FPTQ_TRY(const Tensor gamma, base_.read(norm));
  const auto shared = std::make_shared<const std::vector<float>>(gamma.to_f32());
  change(weight, source,
         [this, shared, and_then](std::span<float> values, std::size_t rows,
                                  std::size_t cols) -> Status {
           algo::scale_columns(values, *shared);
           stream_.apply(values, pool_);
           return and_then ? and_then(values, rows, cols) : Status();
         });
  FPTQ_TRY(Tensor::Fresh ones, Tensor::create(gamma.dtype(), gamma.shape()));
  const std::uint32_t bits = one_bits(gamma.dtype());
  const std::size_t size = dtype_bytes(gamma.dtype());
  for (std::size_t k = 0; k < gamma.elements(); ++k) std::memcpy(ones.data + k * size, &bits, size);
  replace(norm, std::move(ones.tensor));
  return {};
}

Status RotatedCheckpoint::rotate_block(const model::LlamaConfig& config, std::size_t layer) {
  // Rows of v, heads one after the other.
  const Change turn_heads = [this](std::span<float> values, std::size_t rows,
                                   std::size_t cols) -> Status {
    rotate_columns(values_, values, rows, cols, pool_);
    return {};
  };
  // What is added to the stream.
  const Change turn_outputs = [this](std::span<float> values, std::size_t rows,
                                     std::size_t cols) -> Status {
    rotate_columns(stream_, values, rows, cols, pool_);
    return {};
  };
  for (const BlockInput input : {BlockInput::kAttention, BlockInput::kMlp}) {
    for (const BlockLinear linear : model::readers_of(input)) {
      const std::string weight = model::block_module_name(layer, linear) + ".weight";
      FPTQ_TRY_VOID(fuse(weight, weight, norm_weight_name(layer, input),
                         linear == BlockLinear::kV ? turn_heads : Change()));
    }
  }
  const std::string attention_out = model::block_module_name(layer, BlockLinear::kO);
  const std::string mlp_out = model::block_module_name(layer, BlockLinear::kDown);
  change(
      attention_out + ".weight", attention_out + ".weight",
      [this, turn_outputs](std::span<float> values, std::size_t rows, std::size_t cols) -> Status {
        values_.apply(values, pool_);  // [D * H, Dh]
        return turn_outputs(values, rows, cols);
      });
  change(mlp_out + ".weight", mlp_out + ".weight", turn_outputs);
  const auto turn_bias = [this](const std::string& module, const algo::Rotation& rotation) {
    change(module + ".bias", module + ".bias",
           [this, &rotation](std::span<float> values, std::size_t, std::size_t) -> Status {
             rotation.apply(values, pool_);
             return {};
           });
  };
  if (config.attention_bias) {
    turn_bias(attention_out, stream_);
    turn_bias(model::block_module_name(layer, BlockLinear::kV), values_);
  }
  if (config.mlp_bias) turn_bias(mlp_out, stream_);
  return {};
}

}  // namespace fptq::quantize
