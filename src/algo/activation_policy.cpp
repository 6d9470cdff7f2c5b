#include "algo/activation_policy.h"

#include <array>
#include <cmath>
#include <string>

namespace fptq::algo {
namespace {

constexpr std::array<std::string_view, 3> kNames = {"static", "lae-static", "dynamic"};

}  // namespace

std::string_view activation_choice_name(ActivationChoice choice) {
  return kNames[static_cast<std::size_t>(choice)];
}

Result<ActivationChoice> parse_activation_choice(std::string_view name) {
  for (const ActivationChoice choice :
       {ActivationChoice::kStatic, ActivationChoice::kEqualizedStatic,
        ActivationChoice::kDynamic}) {
    if (activation_choice_name(choice) == name) return choice;
  }
  return Error{Error::Kind::kInvalidArgument,
               "activation choice: expected static, lae-static or dynamic, got \"" +
                   std::string(name) + "\""};
}

Status check_thresholds(const ActivationThresholds& thresholds) {
  const auto [v0, v1] = thresholds;
  if (!(std::isfinite(v0) && v0 > 0.0)) {
    return Error{Error::Kind::kInvalidArgument,
                 "v0: expected a finite number above 0, got " + std::to_string(v0)};
  }
  if (!(std::isfinite(v1) && v1 >= v0)) {
    return Error{Error::Kind::kInvalidArgument,
                 "v1: expected a finite number of at least v0 = " + std::to_string(v0) + ", got " +
                     std::to_string(v1)};
  }
  return {};
}

Result<ActivationChoice> choose_activation(double absmax, const ActivationThresholds& thresholds) {
  if (!(std::isfinite(absmax) && absmax >= 0.0)) {
    return Error{Error::Kind::kInvalidArgument,
                 "activation range: expected a finite number >= 0, got " + std::to_string(absmax)};
  }
  if (absmax <= thresholds.v0) return ActivationChoice::kStatic;
  if (absmax < thresholds.v1) return ActivationChoice::kEqualizedStatic;
  return ActivationChoice::kDynamic;
}

}  // namespace fptq::algo
