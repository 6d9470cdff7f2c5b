#include "algo/equalization.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "base/check.h"

namespace fptq::algo {
namespace {

// AWQ's least factor before normalization.
constexpr double kLeastAwqScale = 1e-4;

std::string number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  return std::to_string(value);
}

// values: finite and >= 0, or the reason why not.
Status check_magnitudes(std::span<const float> values, const std::string& where,
                        const std::string& what) {
  for (std::size_t k = 0; k < values.size(); ++k) {
    if (std::isfinite(values[k]) && values[k] >= 0.0f) continue;
    return Error{Error::Kind::kInvalidArgument, where + ": channel " + std::to_string(k) + ": " +
                                                    what + " must be finite and >= 0, got " +
                                                    number(static_cast<double>(values[k]))};
  }
  return {};
}

Status check_fraction(double value, const std::string& where) {
  if (value >= 0.0 && value <= 1.0) return {};
  return Error{Error::Kind::kInvalidArgument,
               where + ": expected a number from 0 to 1, got " + number(value)};
}

// The first i whose quotient values[i] / divisor(i) is not finite.
template <typename Divisor>
std::optional<std::size_t> overflow_at(std::span<const float> values, const Divisor& divisor) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i] / divisor(i))) return i;
  }
  return std::nullopt;
}

Error overflow(const std::string& where, float value, float scale) {
  return Error{Error::Kind::kFormat, where + ": " + number(static_cast<double>(value)) + " / " +
                                         std::to_string(static_cast<double>(scale)) +
                                         ": expected a quotient that float32 can hold"};
}

}  // namespace

Result<std::vector<float>> lae_scales(std::span<const float> channel_absmax) {
  FPTQ_TRY_VOID(check_magnitudes(channel_absmax, "lae_scales", "absmax"));
  std::vector<float> scales(channel_absmax.size());
  for (std::size_t k = 0; k < scales.size(); ++k) {
    const auto absmax = static_cast<double>(channel_absmax[k]);
    const auto scale = static_cast<float>(absmax / std::log2(2.0 + absmax));
    scales[k] = scale > 0.0f ? scale : 1.0f;
  }
  return scales;
}

Result<std::vector<float>> smoothquant_scales(std::span<const float> activation_absmax,
                                              std::span<const float> weight_absmax, double alpha) {
  const std::string where = "smoothquant_scales";
  FPTQ_TRY_VOID(check_fraction(alpha, where + ": alpha"));
  if (activation_absmax.size() != weight_absmax.size()) {
    return Error{Error::Kind::kInvalidArgument,
                 where + ": expected one weight_absmax per channel, got " +
                     std::to_string(weight_absmax.size()) + " for " +
                     std::to_string(activation_absmax.size()) + " channels"};
  }
  FPTQ_TRY_VOID(check_magnitudes(activation_absmax, where, "activation absmax"));
  FPTQ_TRY_VOID(check_magnitudes(weight_absmax, where, "weight absmax"));
  std::vector<float> scales(activation_absmax.size(), 1.0f);
  for (std::size_t k = 0; k < scales.size(); ++k) {
    const auto activation = static_cast<double>(activation_absmax[k]);
    const auto weight = static_cast<double>(weight_absmax[k]);
    if (activation == 0.0) continue;
    const double scale =
        weight == 0.0 ? activation : std::pow(activation, alpha) / std::pow(weight, 1.0 - alpha);
    scales[k] = static_cast<float>(scale);
    if (scales[k] > 0.0f && std::isfinite(scales[k])) continue;
    return Error{Error::Kind::kInvalidArgument,
                 where + ": channel " + std::to_string(k) +
                     ": expected a factor that float32 can hold, got one of 2^" +
                     std::to_string(std::ilogb(scale))};
  }
  return scales;
}

Result<std::vector<float>> awq_scales(std::span<const float> mean_abs, double ratio) {
  FPTQ_TRY_VOID(check_fraction(ratio, "awq_scales: ratio"));
  FPTQ_TRY_VOID(check_magnitudes(mean_abs, "awq_scales", "mean |x|"));
  std::vector<double> raw(mean_abs.size(), 0.0);  // 0: a dead channel
  double least = INFINITY;
  double most = 0.0;
  for (std::size_t k = 0; k < raw.size(); ++k) {
    if (mean_abs[k] == 0.0f) continue;
    raw[k] = std::max(std::pow(static_cast<double>(mean_abs[k]), ratio), kLeastAwqScale);
    least = std::min(least, raw[k]);
    most = std::max(most, raw[k]);
  }
  const double middle = std::sqrt(most * least);
  std::vector<float> scales(raw.size(), 1.0f);
  for (std::size_t k = 0; k < raw.size(); ++k) {
    if (raw[k] > 0.0) scales[k] = static_cast<float>(raw[k] / middle);
  }
  return scales;
}

Result<AwqChoice> search_awq(std::span<const float> mean_abs, const ScaleLoss& loss_of) {
  AwqChoice best;
  for (std::size_t i = 0; i < kAwqGrid; ++i) {
    const double ratio = static_cast<double>(i) / static_cast<double>(kAwqGrid);
    FPTQ_TRY(std::vector<float> scales, awq_scales(mean_abs, ratio));
    FPTQ_TRY(const double loss, loss_of(scales));
    if (!(loss >= 0.0 && std::isfinite(loss))) {
      return Error{Error::Kind::kFormat, "search_awq: ratio " + std::to_string(ratio) +
                                             ": expected a loss that is finite and >= 0, got " +
                                             number(loss)};
    }
    if (i == 0) best.unscaled_loss = loss;
    if (i > 0 && loss >= best.loss) continue;
    best.ratio = ratio;
    best.scales = std::move(scales);
    best.loss = loss;
  }
  return best;
}

void raise_scales(std::span<float> scales, float least) {
  for (float& scale : scales) scale = std::max(scale, least);
}

void update_column_absmax(std::span<const float> weights, std::span<float> absmax) {
  FPTQ_CHECK(!absmax.empty() && weights.size() % absmax.size() == 0, "whole rows");
  for (std::size_t row = 0; row < weights.size(); row += absmax.size()) {
    for (std::size_t k = 0; k < absmax.size(); ++k) {
      absmax[k] = std::max(absmax[k], std::abs(weights[row + k]));
    }
  }
}

void scale_columns(std::span<float> weights, std::span<const float> scales) {
  FPTQ_CHECK(!scales.empty() && weights.size() % scales.size() == 0, "whole rows");
  for (std::size_t row = 0; row < weights.size(); row += scales.size()) {
    for (std::size_t k = 0; k < scales.size(); ++k) weights[row + k] *= scales[k];
  }
}

Status divide_by_scales(std::span<float> vector, std::span<const float> scales) {
  FPTQ_CHECK(vector.size() == scales.size(), "one scale per channel");
  if (const auto k = overflow_at(vector, [&](std::size_t i) { return scales[i]; })) {
    return overflow("channel " + std::to_string(*k), vector[*k], scales[*k]);
  }
  for (std::size_t k = 0; k < scales.size(); ++k) vector[k] /= scales[k];
  return {};
}

Status divide_rows_by_scales(std::span<float> weights, std::span<const float> scales) {
  FPTQ_CHECK(!scales.empty() && weights.size() % scales.size() == 0, "one scale per row");
  const std::size_t cols = weights.size() / scales.size();
  if (const auto i = overflow_at(weights, [&](std::size_t at) { return scales[at / cols]; })) {
    const std::size_t row = *i / cols;
    return overflow("row " + std::to_string(row), weights[*i], scales[row]);
  }
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] /= scales[i / cols];
  return {};
}

}  // namespace fptq::algo
