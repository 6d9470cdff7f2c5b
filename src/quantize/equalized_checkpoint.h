// Channel factors moved from the inputs behind a norm into the linears that read them.

#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/result.h"
#include "io/checkpoint.h"
#include "model/decoder_block.h"
#include "model/llama_config.h"
#include "quantize/transformed_checkpoint.h"

namespace fptq::quantize {

// Factors s [D] by layer and input: kAttention or kMlp, which follow a norm. Others have none.
using InputScales = std::map<std::pair<std::size_t, model::BlockInput>, std::vector<float>>;

// Whether a norm's weight can take up the factors of that input.
[[nodiscard]] inline bool follows_norm(model::BlockInput input) {
  return input == model::BlockInput::kAttention || input == model::BlockInput::kMlp;
}
// "model.layers.3.input_layernorm.weight".  input: follows_norm()
[[nodiscard]] std::string norm_weight_name(std::size_t layer, model::BlockInput input);

// (gamma / s) in the norm, W * s in the linears behind it: the function of the original.
//
// gamma' = gamma / s is rounded to the type of gamma, in which it is written, and the linears get
// what that makes of s: W'[n, k] = W[n, k] * (gamma[k] / gamma'[k]), in float32. So logits differ
// from the original's by the rounding of float32 alone, some 2^-23 relative per product, and not
// by that of gamma'. Where gamma[k] is 0, or gamma'[k] would be none of the type's normal numbers,
// channel k keeps gamma and s = 1: in float16 that range is 6e-5 to 65504.
class EqualizedCheckpoint final : public TransformedCheckpoint {
 public:
  //   config  of `base`, whose weights are floats
  //   scales  each [D], finite and > 0
  // Errors: kInvalidArgument, naming input and channel, for factors that are not; kFormat where
  // gamma or a linear's weight is missing or of another shape.
  [[nodiscard]] static Result<std::unique_ptr<EqualizedCheckpoint>> create(
      const io::Checkpoint& base, const model::LlamaConfig& config, const InputScales& scales);

 private:
  using TransformedCheckpoint::TransformedCheckpoint;

  [[nodiscard]] Status equalize(std::size_t layer, model::BlockInput input,
                                const std::vector<float>& scales);
};

}  // namespace fptq::quantize
