// A checkpoint's quantization_config: which module is quantized how, and stored how.

#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "model/transform_config.h"
#include "numeric/scheme.h"

namespace fptq::model {

// How the weights of a quantized module lie in the file.
//   kPacked  X.weight_packed int32 [N, ceil(K * bits / 32)], code + 2^(bits-1), element 0 in the
//            low bits; X.weight_shape int64 [2]; zero points int32, packed along rows
//   kInt8    X.weight int8 [N, K], a byte per code of any width; zero points int8
//   kFloat   X.weight in floating point, not rounded yet ("dense")
// and in each X.weight_scale [N, G], [N, 1] or [1].
enum class QuantStorage { kPacked, kInt8, kFloat };

// compressed-tensors' name of the format: "pack-quantized", "int-quantized", "dense".
[[nodiscard]] std::string_view quant_storage_name(QuantStorage storage);

// Class names that a config group can target.
enum class ModuleKind { kLinear, kEmbedding };

// How one module is quantized.
struct ModuleQuantization {
  Scheme scheme;  // weights always present
  QuantStorage storage = QuantStorage::kPacked;
};

// What blocks of one row mean for weights of `cols` inputs: a channel where a block is the whole
// row, groups where it is not. Other strategies stay what they are.
[[nodiscard]] QuantArgs without_blocks(QuantArgs weights, std::size_t cols);

// The compressed-tensors convention (quant_method "compressed-tensors"; source: compressed-tensors
// 0.20), or bitsandbytes' (bitsandbytes_config.h), which leaves to the tensors what is quantized.
class QuantConfig {
 public:
  // `where` begins every message: "DIR/config.json: quantization_config".
  //
  // Errors: kUnsupported, by name, for another quant_method or format, for codes that are not
  // integers of 4 or 8 bits, activations that are not 8-bit integers per token dynamic or per
  // tensor static, quantized outputs or caches, sparsity, and activation order with permuted
  // groups; kFormat for values of the wrong type; TransformConfig::parse()'s and
  // check_bitsandbytes_config()'s.
  [[nodiscard]] static Result<QuantConfig> parse(const Json& config, const std::string& where);

  // Whether modules are stored as bitsandbytes does: find() knows none of them then.
  [[nodiscard]] bool is_bitsandbytes() const { return bitsandbytes_; }

  // What is done to inputs while the model runs.
  [[nodiscard]] const TransformConfig& transforms() const { return transforms_; }
  // Whether no module's weights are quantized: the configuration is there for its transforms only.
  [[nodiscard]] bool quantizes_nothing() const { return rules_.empty() && !bitsandbytes_; }

  // How the module of that name ("model.layers.0.mlp.up_proj") is quantized; nothing where it is
  // not, or is ignored. Weights in blocks of one row are Strategy::kBlock, whatever their width;
  // without_blocks() says what they are for a module. Among groups that match a module the exact
  // name wins over a regular expression, and that over the class name; then the first in the file.
  [[nodiscard]] std::optional<ModuleQuantization> find(std::string_view module,
                                                       ModuleKind kind) const;

 private:
  // A target, like an entry of `ignore`, is a class, a module's name, or "re:" and a regular
  // expression that has to match at the beginning of the name.
  struct Rule {
    std::string target;
    ModuleQuantization quantization;
  };

  bool bitsandbytes_ = false;
  std::vector<Rule> rules_;
  std::vector<std::string> ignored_;
  TransformConfig transforms_;
};

}  // namespace fptq::model
