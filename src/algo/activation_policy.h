// How the inputs of a linear become 8-bit numbers, by their range over the calibration set.

#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace fptq::algo {

enum class ActivationChoice : std::uint8_t {
  kStatic,           // one scale for all tokens, from calibration
  kEqualizedStatic,  // logarithmic equalization (algo/equalization.h), then one scale
  kDynamic,          // one scale per token, at run time
};

// "static", "lae-static", "dynamic".
[[nodiscard]] std::string_view activation_choice_name(ActivationChoice choice);
// Errors: kInvalidArgument lists the names.
[[nodiscard]] Result<ActivationChoice> parse_activation_choice(std::string_view name);

// In activation units; 0 < v0 <= v1, both finite. The defaults are the paper's.
struct ActivationThresholds {
  double v0 = 15.0;   // up to here a range is small enough as it is
  double v1 = 150.0;  // from here on no scale fits all tokens

  bool operator==(const ActivationThresholds&) const = default;
};

// Errors: kInvalidArgument names the threshold out of range.
[[nodiscard]] Status check_thresholds(const ActivationThresholds& thresholds);

// v <= v0: kStatic; v0 < v < v1: kEqualizedStatic; else kDynamic.
//   absmax      v = max |x| over the linear's input and the calibration set, finite and >= 0
//   thresholds  have passed check_thresholds()
// Errors: kInvalidArgument for a range that is negative, infinite or NaN.
// Source: Li et al., "FPTQ", arXiv:2308.15987 (2023), the layer-wise strategy.
[[nodiscard]] Result<ActivationChoice> choose_activation(double absmax,
                                                         const ActivationThresholds& thresholds);

}  // namespace fptq::algo
