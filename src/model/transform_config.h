// A checkpoint's transform_config: what is done to the inputs of linears while the model runs.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace fptq::model {

// Rotations of inputs in the compressed-tensors convention (source: compressed-tensors 0.20):
// entries of `apply` with location "input" of groups of type "hadamard". Those of location
// "weight_input" and "weight_output" are done to the weights before they are stored and change
// nothing here, whatever their type.
class TransformConfig {
 public:
  // `where` begins every message: "DIR/config.json: quantization_config: transform_config".
  //
  // Errors: kUnsupported, by name, for other locations, and for other types, permutations and
  // precisions of groups that are applied while the model runs; for keys that are not known;
  // kFormat for values of the wrong type.
  [[nodiscard]] static Result<TransformConfig> parse(const Json& config, const std::string& where);

  // Whether nothing is done while the model runs.
  [[nodiscard]] bool empty() const { return rotations_.empty(); }

  // For each of `layers` layers the block B of the rotation (ops/hadamard.h) of the inputs of its
  // down_proj, `width` wide; 0 where there is none. Empty: nothing is rotated.
  //
  // Errors: kUnsupported where another module is rotated, or one twice; kFormat for a target that
  // is no down_proj of the model, and for a block that is no power of two or does not divide the
  // width.
  [[nodiscard]] Result<std::vector<std::size_t>> down_rotations(std::size_t layers,
                                                                std::size_t width) const;

 private:
  // One entry of `apply` with location "input".
  struct InputRotation {
    std::string where;
    std::size_t block;  // 0: the whole width
    std::vector<std::string> targets;
    std::vector<std::string> ignored;
  };

  static Status read_group(const Json& group, const std::string& where, TransformConfig& result);
  static Status add_layers(const InputRotation& rotation, std::size_t width,
                           std::vector<std::size_t>& blocks);

  std::vector<InputRotation> rotations_;
};

}  // namespace fptq::model
