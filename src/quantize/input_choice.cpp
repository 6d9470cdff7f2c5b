#include "quantize/input_choice.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "algo/equalization.h"
#include "algo/rounding.h"
#include "numeric/quantizer.h"
#include "quantize/equalized_checkpoint.h"

namespace fptq::quantize {
namespace {

using algo::ActivationChoice;
using model::BlockInput;
using model::BlockLinear;

constexpr std::array<std::string_view, 4> kInputNames = {"attention", "output", "mlp", "down"};

// A linear of the input whose weights are rounded to integers.
struct Reader {
  const TensorPlan* plan;
  Tensor weights;  // [N, K]
};

Result<std::vector<Reader>> rounded_readers(const Plan& plan, const io::Checkpoint& checkpoint,
                                            std::size_t layer, BlockInput input) {
  std::vector<Reader> readers;
  for (const BlockLinear linear : model::readers_of(input)) {
    const std::string module = model::block_module_name(layer, linear);
    const auto found =
        std::find_if(plan.tensors.begin(), plan.tensors.end(),
                     [&](const TensorPlan& tensor) { return tensor.module == module; });
    if (found == plan.tensors.end() || !found->rounded()) continue;
    FPTQ_TRY(Tensor weights, checkpoint.read(found->source));
    readers.push_back({&*found, std::move(weights)});
  }
  return readers;
}

// sum_k squares[k] * sum_n (Q(W s)[n, k] / s[k] - W[n, k])^2, rows added in their order.
double rounding_loss(const Reader& reader, std::span<const float> scales,
                     std::span<const double> squares, ThreadPool& pool) {
  const std::size_t rows = reader.weights.rows();
  const std::size_t cols = reader.weights.cols();
  std::vector<double> losses(rows);
  pool.parallel_for(rows, 8, [&](std::size_t begin, std::size_t end) {
    QuantizedMatrix row = algo::make_quantized_matrix(1, cols, *reader.plan->scheme.weights,
                                                      reader.plan->quantized->scales.dtype);
    std::vector<float> weights(cols);
    std::vector<float> scaled(cols);
    for (std::size_t n = begin; n < end; ++n) {
      reader.weights.read_f32(n * cols, cols, weights.data());
      for (std::size_t k = 0; k < cols; ++k) scaled[k] = weights[k] * scales[k];
      algo::round_row_to_nearest(scaled, 0, row);
      const std::vector<float> rounded = dequantize(row);
      double loss = 0;
      for (std::size_t k = 0; k < cols; ++k) {
        const double error = static_cast<double>(rounded[k]) / static_cast<double>(scales[k]) -
                             static_cast<double>(weights[k]);
        loss += error * error * squares[k];
      }
      losses[n] = loss;
    }
  });
  double total = 0;
  for (const double loss : losses) total += loss;
  return total;
}

Status search_scales(std::span<const Reader> readers, const algo::ChannelStatistics& statistics,
                     ThreadPool& pool, InputChoice& choice) {
  const auto loss_of = [&](std::span<const float> scales) -> Result<double> {
    double loss = 0;
    for (const Reader& reader : readers) {
      if (reader.plan->quantized) {
        loss += rounding_loss(reader, scales, statistics.sum_squares(), pool);
      }
    }
    return loss;
  };
  FPTQ_TRY(algo::AwqChoice found, algo::search_awq(statistics.mean_abs(), loss_of));
  choice.awq_ratio = found.ratio;
  choice.awq_loss = found.loss;
  choice.awq_unscaled_loss = found.unscaled_loss;
  if (found.ratio > 0) choice.scales = std::move(found.scales);
  return {};
}

Status equalize(const Recipe& recipe, std::span<const Reader> readers,
                const algo::ChannelStatistics& statistics, ThreadPool& pool, InputChoice& choice) {
  switch (recipe.equalization) {
    case Equalization::kNone:
      return {};
    case Equalization::kLae: {
      FPTQ_TRY(choice.scales, algo::lae_scales(statistics.absmax()));
      break;
    }
    case Equalization::kSmoothQuant: {
      std::vector<float> weight_absmax(statistics.channels());
      for (const Reader& reader : readers) {
        std::vector<float> row(reader.weights.cols());
        for (std::size_t n = 0; n < reader.weights.rows(); ++n) {
          reader.weights.read_f32(n * row.size(), row.size(), row.data());
          algo::update_column_absmax(row, weight_absmax);
        }
      }
      FPTQ_TRY(choice.scales, algo::smoothquant_scales(statistics.absmax(), weight_absmax,
                                                       recipe.smoothquant_alpha));
      break;
    }
    case Equalization::kAwq: {
      FPTQ_TRY_VOID(search_scales(readers, statistics, pool, choice));
      break;
    }
  }
  algo::raise_scales(choice.scales);
  return {};
}

// The smallest power of two that this share of all values stays below.
double below(const algo::MagnitudeHistogram& histogram, double share) {
  const double wanted = share * static_cast<double>(histogram.total());
  auto seen = static_cast<double>(histogram.zeros);
  if (seen >= wanted) return 0;
  for (std::size_t bin = 0; bin < algo::MagnitudeHistogram::kBins; ++bin) {
    seen += static_cast<double>(histogram.counts[bin]);
    if (seen >= wanted) {
      return std::ldexp(1.0, algo::MagnitudeHistogram::kFirstExponent + static_cast<int>(bin) + 1);
    }
  }
  return INFINITY;
}

// The grid that the policy may choose for: 8 bits, symmetric.
bool has_free_activations(std::span<const Reader> readers) {
  return std::any_of(readers.begin(), readers.end(), [](const Reader& reader) {
    const auto& activations = reader.plan->scheme.activations;
    return activations && activations->num_bits == 8 && activations->symmetric;
  });
}

double largest_quotient(std::span<const float> absmax, std::span<const float> scales) {
  double largest = 0;
  for (std::size_t k = 0; k < absmax.size(); ++k) {
    largest = std::max(largest, static_cast<double>(absmax[k]) / static_cast<double>(scales[k]));
  }
  return largest;
}

}  // namespace

std::string_view block_input_name(BlockInput input) {
  return kInputNames[static_cast<std::size_t>(input)];
}

Result<InputChoice> choose_input(const Recipe& recipe, const Plan& plan,
                                 const io::Checkpoint& checkpoint, std::size_t layer,
                                 BlockInput input, const algo::ChannelStatistics& statistics,
                                 ThreadPool& pool) {
  InputChoice choice;
  choice.layer = layer;
  choice.input = input;
  choice.absmax = choice.equalized_absmax = static_cast<double>(statistics.tensor_absmax());
  const algo::MagnitudeHistogram histogram = statistics.histogram();
  choice.p99_below = below(histogram, 0.99);
  choice.p9999_below = below(histogram, 0.9999);
  FPTQ_TRY(choice.policy,
           algo::choose_activation(
               choice.absmax, recipe.activation_policy.value_or(algo::ActivationThresholds{})));
  FPTQ_TRY(const std::vector<Reader> readers, rounded_readers(plan, checkpoint, layer, input));
  if (readers.empty()) return choice;
  const bool chooses = recipe.activation_policy && has_free_activations(readers);
  const bool can_equalize = follows_norm(input) && recipe.equalization != Equalization::kNone;
  if (chooses) {
    choice.activations = choice.policy;
    if (choice.policy == ActivationChoice::kEqualizedStatic && !can_equalize) {
      choice.activations = ActivationChoice::kDynamic;
    }
  }
  const bool wanted =
      !recipe.activation_policy || choice.activations == ActivationChoice::kEqualizedStatic;
  if (!can_equalize || !wanted) return choice;
  const Status status = equalize(recipe, readers, statistics, pool, choice);
  if (!status) {
    return with_context(status.error(), "inputs of " + model::block_module_name(
                                                           layer, model::readers_of(input)[0]));
  }
  if (!choice.scales.empty()) {
    choice.equalized_absmax = largest_quotient(statistics.absmax(), choice.scales);
  }
  return choice;
}

Json to_json(const InputChoice& choice, bool with_scales) {
  Json linears = Json::array();
  for (const BlockLinear linear : model::readers_of(choice.input)) {
    linears.push_back(model::block_module_name(choice.layer, linear));
  }
  Json json = {{"layer", choice.layer},
               {"input", block_input_name(choice.input)},
               {"linears", std::move(linears)},
               {"absmax", choice.absmax},
               {"p99_below", choice.p99_below},
               {"p9999_below", choice.p9999_below},
               {"policy", algo::activation_choice_name(choice.policy)},
               {"activations", nullptr},
               {"equalized", !choice.scales.empty()},
               {"equalized_absmax", choice.equalized_absmax}};
  if (choice.activations) {
    json["activations"] = algo::activation_choice_name(*choice.activations);
  }
  if (choice.awq_ratio) {
    json["awq"] = {{"ratio", *choice.awq_ratio},
                   {"loss", choice.awq_loss},
                   {"unscaled_loss", choice.awq_unscaled_loss}};
  }
  if (with_scales) json["scales"] = choice.scales;
  return json;
}

Result<InputChoice> parse_input_choice(const Json& json, const std::string& where) {
  InputChoice choice;
  // The file is this program's own; whatever does not fit means that it is damaged.
  try {
    choice.layer = json.at("layer").get<std::size_t>();
    const auto name = json.at("input").get<std::string>();
    const auto input = std::find(kInputNames.begin(), kInputNames.end(), name);
    if (input == kInputNames.end()) {
      return Error{Error::Kind::kFormat, where + ": input \"" + name + "\": not known"};
    }
    choice.input = static_cast<BlockInput>(input - kInputNames.begin());
    choice.absmax = json.at("absmax").get<double>();
    choice.p99_below = json.at("p99_below").get<double>();
    choice.p9999_below = json.at("p9999_below").get<double>();
    FPTQ_TRY(choice.policy, algo::parse_activation_choice(json.at("policy").get<std::string>()));
    if (!json.at("activations").is_null()) {
      FPTQ_TRY(choice.activations,
               algo::parse_activation_choice(json.at("activations").get<std::string>()));
    }
    choice.scales = json.at("scales").get<std::vector<float>>();
    choice.equalized_absmax = json.at("equalized_absmax").get<double>();
    if (json.contains("awq")) {
      choice.awq_ratio = json["awq"].at("ratio").get<double>();
      choice.awq_loss = json["awq"].at("loss").get<double>();
      choice.awq_unscaled_loss = json["awq"].at("unscaled_loss").get<double>();
    }
  } catch (const Json::exception& failure) {
    return Error{Error::Kind::kFormat, where + ": " + failure.what()};
  }
  return choice;
}

}  // namespace fptq::quantize
