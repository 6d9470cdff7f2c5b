#include "model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fptq::model {
namespace {

// One float32 power, correctly rounded but for rare ties.
float power(float base, float exponent) {
  return static_cast<float>(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
}

// theta ^ (2 i / Dh), for i in [0, Dh / 2).
std::vector<float> position_periods(float theta, std::size_t head_dim) {
  std::vector<float> periods(head_dim / 2);
  for (std::size_t i = 0; i < periods.size(); ++i) {
    periods[i] = power(theta, static_cast<float>(2 * i) / static_cast<float>(head_dim));
  }
  return periods;
}

std::vector<float> default_frequencies(float theta, std::size_t head_dim) {
  std::vector<float> inverse = position_periods(theta, head_dim);
  for (float& value : inverse) value = 1.0f / value;
  return inverse;
}

// Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, those between mixed.
void scale_llama3(const RopeConfig& config, std::vector<float>& inverse) {
  const double context = static_cast<double>(config.original_max_positions);
  const auto longest = static_cast<float>(context / config.low_freq_factor);
  const auto shortest = static_cast<float>(context / config.high_freq_factor);
  const auto factor = static_cast<float>(config.factor);
  const auto low = static_cast<float>(config.low_freq_factor);
  const auto range = static_cast<float>(config.high_freq_factor - config.low_freq_factor);
  for (float& value : inverse) {
    const float wavelength = static_cast<float>(2.0 * std::numbers::pi) / value;
    if (wavelength > longest) {
      value = value / factor;
    } else if (!(wavelength < shortest)) {
      const float smooth = (static_cast<float>(context) / wavelength - low) / range;
      const float stretched = (1.0f - smooth) * value / factor;
      value = stretched + smooth * value;
    }
  }
}

// The channel whose angle turns `rotations` times over the original context.
double correction_channel(const RopeConfig& config, std::size_t head_dim, double rotations) {
  const auto context = static_cast<double>(config.original_max_positions);
  return static_cast<double>(head_dim) * std::log(context / (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(config.theta));
}

// YaRN: between two channels a ramp from extrapolated to interpolated frequencies.
// Source: Peng et al., arXiv:2309.00071 (2023).
std::vector<float> yarn_frequencies(const RopeConfig& config, std::size_t head_dim) {
  double low = correction_channel(config, head_dim, config.beta_fast);
  double high = correction_channel(config, head_dim, config.beta_slow);
  if (config.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(head_dim) - 1.0);
  if (low == high) high += 0.001;  // no division by zero

  std::vector<float> inverse = position_periods(static_cast<float>(config.theta), head_dim);
  for (std::size_t i = 0; i < inverse.size(); ++i) {
    const float extrapolated = 1.0f / inverse[i];
    const float interpolated = 1.0f / (static_cast<float>(config.factor) * inverse[i]);
    const float ramp =
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float kept = 1.0f - std::clamp(ramp, 0.0f, 1.0f);
    const float stretched_part = interpolated * (1.0f - kept);
    inverse[i] = stretched_part + extrapolated * kept;
  }
  return inverse;
}

double yarn_mscale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

float attention_scaling_of(const RopeConfig& config) {
  if (config.kind != RopeKind::kYarn) return 1.0f;
  if (config.attention_factor) return static_cast<float>(*config.attention_factor);
  if (config.mscale.value_or(0.0) != 0.0 && config.mscale_all_dim.value_or(0.0) != 0.0) {
    return static_cast<float>(yarn_mscale(config.factor, *config.mscale) /
                              yarn_mscale(config.factor, *config.mscale_all_dim));
  }
  return static_cast<float>(yarn_mscale(config.factor, 1.0));
}

std::vector<float> trained_frequencies(const RopeConfig& config, std::size_t head_dim) {
  if (config.kind == RopeKind::kYarn) return yarn_frequencies(config, head_dim);
  std::vector<float> inverse = default_frequencies(static_cast<float>(config.theta), head_dim);
  if (config.kind == RopeKind::kLinear) {
    for (float& value : inverse) value /= static_cast<float>(config.factor);
  }
  if (config.kind == RopeKind::kLlama3) scale_llama3(config, inverse);
  return inverse;
}

}  // namespace

RopeFrequencies::RopeFrequencies(const RopeConfig& config, std::size_t head_dim,
                                 std::size_t max_positions)
    : config_(config),
      head_dim_(head_dim),
      max_positions_(max_positions),
      attention_scaling_(attention_scaling_of(config)),
      inverse_(trained_frequencies(config, head_dim)) {}

std::vector<float> RopeFrequencies::inverse_frequencies(std::size_t total_length) const {
  if (config_.kind != RopeKind::kDynamic || total_length <= max_positions_) return inverse_;
  const float stretch = static_cast<float>(config_.factor) * static_cast<float>(total_length) /
                            static_cast<float>(max_positions_) -
                        static_cast<float>(config_.factor - 1.0);
  const auto width = static_cast<double>(head_dim_);
  const float theta =
      static_cast<float>(config_.theta) * power(stretch, static_cast<float>(width / (width - 2.0)));
  return default_frequencies(theta, head_dim_);
}

void RopeFrequencies::angles(std::size_t position, std::span<const float> inverse, float* cos,
                             float* sin) const {
  for (std::size_t i = 0; i < inverse.size(); ++i) {
    const double angle = static_cast<double>(static_cast<float>(position) * inverse[i]);
    cos[i] = static_cast<float>(std::cos(angle)) * attention_scaling_;
    sin[i] = static_cast<float>(std::sin(angle)) * attention_scaling_;
  }
}

}  // namespace fptq::model
