// What is decided about one input of linears once the original model has been watched.

#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "algo/activation_policy.h"
#include "algo/channel_statistics.h"
#include "base/json.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "io/checkpoint.h"
#include "model/decoder_block.h"
#include "model/llama_config.h"
#include "quantize/plan.h"
#include "quantize/recipe.h"

namespace fptq::quantize {

// How wide one input is over the calibration set, and what follows.
struct InputChoice {
  std::size_t layer = 0;
  model::BlockInput input = model::BlockInput::kAttention;
  // In activation units, of the original model, transformed by rotation if at all.
  double absmax = 0;     // max |x|
  double p99_below = 0;  // powers of two that 99% and 99.99% of all |x| stay below
  double p9999_below = 0;
  // What the layer-wise policy says of absmax: the recipe's, or the paper's where it has none.
  algo::ActivationChoice policy = algo::ActivationChoice::kDynamic;
  // What becomes of the input. Absent: as the linears' schemes say.
  std::optional<algo::ActivationChoice> activations;
  std::vector<float> scales;    // [D] equalization's factors; empty: not equalized
  double equalized_absmax = 0;  // max over channels of absmax / scale; absmax where not equalized
  std::optional<double> awq_ratio;  // of the search, and what the losses with and without it are
  double awq_loss = 0;
  double awq_unscaled_loss = 0;

  bool operator==(const InputChoice&) const = default;
};

// "attention", "output", "mlp", "down".
[[nodiscard]] std::string_view block_input_name(model::BlockInput input);

// With factors, for the record on disk; without, for the manifest.
[[nodiscard]] Json to_json(const InputChoice& choice, bool with_scales);
// Errors: kFormat.
[[nodiscard]] Result<InputChoice> parse_input_choice(const Json& json, const std::string& where);

// Decides about an input from its statistics.
//   plan  of the checkpoint, as if nothing were known about activations
// Linears that are kept in floating point need no equalization: an input that only such ones read
// has none. AWQ measures what rounding its linears to nearest costs, as
// sum_k (sum_t x[t, k]^2) * sum_n (Q(W s)[n, k] / s[k] - W[n, k])^2, the diagonal of the Gram
// matrix in the place of all of it: products of different channels are left out, and 20 ratios take
// 20 roundings and no matrix product. Errors: those of the functions in algo/equalization.h, and of
// reading weights.
[[nodiscard]] Result<InputChoice> choose_input(const Recipe& recipe, const Plan& plan,
                                               const io::Checkpoint& checkpoint, std::size_t layer,
                                               model::BlockInput input,
                                               const algo::ChannelStatistics& statistics,
                                               ThreadPool& pool);

}  // namespace fptq::quantize
