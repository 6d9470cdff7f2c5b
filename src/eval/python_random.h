// Python's `random.Random`, as far as lm-evaluation-harness draws examples with it.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fptq::eval {

// The Mersenne Twister MT19937, seeded as CPython seeds it with a non-negative integer below 2^32
// (init_by_array of Matsumoto and Nishimura, "mt19937ar.c", with the seed as the only key).
class PythonRandom {
 public:
  explicit PythonRandom(std::uint32_t seed);

  // getrandbits(32).
  std::uint32_t bits();
  // Uniform in [0, bound), 1 <= bound < 2^32: draws as many bits as bound has until one fits.
  std::uint32_t below(std::uint32_t bound);
  // Indices of random.sample(range(size), count), in order; count <= size < 2^32.
  std::vector<std::size_t> sample(std::size_t size, std::size_t count);

 private:
  static constexpr std::size_t kWords = 624;

  void refill();

  std::array<std::uint32_t, kWords> state_{};
  std::size_t next_ = kWords;
};

}  // namespace fptq::eval
