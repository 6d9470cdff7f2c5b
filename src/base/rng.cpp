#include "base/rng.h"

#include <cmath>
#include <numbers>

namespace fptq {

std::uint64_t Rng::below(std::uint64_t bound) {
  // Values under 2^64 mod bound would make the low remainders more likely.
  const std::uint64_t reject_below = (0 - bound) % bound;
  std::uint64_t value = engine_();
  while (value < reject_below) value = engine_();
  return value % bound;
}

double Rng::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));  // 1 - u is never 0
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

}  // namespace fptq
