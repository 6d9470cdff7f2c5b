#include "quantize/down_rotated_checkpoint.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/cpu.h"
#include "model/decoder_block.h"

namespace fptq::quantize {
namespace {

// Rows that a thread takes at a time.
constexpr std::size_t kRowsPerPiece = 8;

std::string down_name(std::size_t layer) {
  return model::block_module_name(layer, model::BlockLinear::kDown);
}

}  // namespace

Json down_rotation_config(std::size_t block, std::span<const std::size_t> layers,
                          std::size_t num_layers) {
  Json ignore = Json::array();
  for (std::size_t layer = 0; layer < num_layers; ++layer) {
    if (!std::binary_search(layers.begin(), layers.end(), layer)) {
      ignore.push_back(down_name(layer));
    }
  }
  // The rotation of the weights is not listed: it is in them, and whoever applied the whole list to
  // a model that was loaded would rotate them a second time.
  const Json online = {{"ignore", std::move(ignore)},
                       {"inverse", false},
                       {"location", "input"},
                       {"targets", Json::array({"re:.*\\.mlp\\.down_proj$"})}};
  const Json group = {{"apply", Json::array({online})},
                      {"head_dim", block},
                      {"randomize", false},
                      {"requires_grad", false},
                      {"type", "hadamard"}};
  return {{"config_groups", {{"R4", group}}}};
}

Json transforms_only(Json transform_config) {
  return {{"config_groups", Json::object()},
          {"quant_method", "compressed-tensors"},
          {"transform_config", std::move(transform_config)}};
}

DownRotatedCheckpoint::DownRotatedCheckpoint(const io::Checkpoint& base,
                                             const model::LlamaConfig& config,
                                             std::span<const std::size_t> layers, ThreadPool& pool)
    : TransformedCheckpoint(base),
      rotation_(config.intermediate_size, ops::widest_hadamard_block(config.intermediate_size),
                best_isa()),
      layers_(layers.begin(), layers.end()) {
  for (const std::size_t layer : layers_) {
    const std::string weight = down_name(layer) + ".weight";
    change(weight, weight,
           [this, &pool](std::span<float> values, std::size_t rows, std::size_t cols) -> Status {
             pool.parallel_for(rows, kRowsPerPiece, [&](std::size_t begin, std::size_t end) {
               rotation_.apply(&values[begin * cols], end - begin);
             });
             return {};
           });
  }
  config_["quantization_config"] =
      transforms_only(down_rotation_config(block(), layers_, config.num_layers));
  warnings_.push_back(
      "inputs of down_proj are rotated while the model runs, as transform_config in config.json "
      "says; programs that do not read it compute another function (transformers up to 5.23 is "
      "one)");
}

Result<std::unique_ptr<DownRotatedCheckpoint>> DownRotatedCheckpoint::create(
    const io::Checkpoint& base, const model::LlamaConfig& config,
    std::span<const std::size_t> layers, ThreadPool& pool) {
  const std::string where = base.path().string() + ": rotate_down: ";
  if (config.quantization) {
    return Error{Error::Kind::kUnsupported,
                 where + "expected inputs that nobody rotates yet, got a transform_config"};
  }
  if (layers.empty()) {
    return Error{Error::Kind::kInvalidArgument,
                 where + "expected a down_proj with quantized weights, got none"};
  }
  if (ops::widest_hadamard_block(config.intermediate_size) == 1) {
    return Error{Error::Kind::kInvalidArgument, where + "expected an even intermediate_size, got " +
                                                    std::to_string(config.intermediate_size)};
  }
  return std::unique_ptr<DownRotatedCheckpoint>(
      new DownRotatedCheckpoint(base, config, layers, pool));
}

}  // namespace fptq::quantize
