// Seeded random numbers that are the same on every platform and standard library.

#pragma once

#include <cstdint>
#include <random>

namespace fptq {

// mt19937_64 is specified to the bit; the standard's distributions are not, hence these.
class Rng {
 public:
  explicit Rng(std::uint64_t seed) : engine_(seed) {}

  std::uint64_t bits() { return engine_(); }
  // Uniform in [0, 1), 53 bits.
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1.0p-53; }
  // Uniform in [0, bound), bound >= 1. Unbiased.
  std::uint64_t below(std::uint64_t bound);
  // Normal with mean 0 and variance 1 (Box-Muller).
  double normal();

 private:
  std::mt19937_64 engine_;
};

}  // namespace fptq
