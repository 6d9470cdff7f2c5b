#include "eval/python_random.h"

#include <bit>
#include <numeric>
#include <set>

#include "base/check.h"

namespace fptq::eval {

PythonRandom::PythonRandom(std::uint32_t seed) {
  const auto mixed = [this](std::size_t i) {
    const std::uint32_t previous = state_[i - 1];
    return previous ^ (previous >> 30);
  };
  state_[0] = 19650218;
  for (std::size_t i = 1; i < kWords; ++i) {
    state_[i] = 1812433253U * mixed(i) + static_cast<std::uint32_t>(i);
  }
  // Both passes go round from word 1 on; word 0 is that behind the last.
  std::size_t i = 1;
  const auto advance = [&] {
    if (++i < kWords) return;
    state_[0] = state_[kWords - 1];
    i = 1;
  };
  for (std::size_t k = 0; k < kWords; ++k) {
    state_[i] = (state_[i] ^ (mixed(i) * 1664525U)) + seed;
    advance();
  }
  for (std::size_t k = 0; k + 1 < kWords; ++k) {
    state_[i] = (state_[i] ^ (mixed(i) * 1566083941U)) - static_cast<std::uint32_t>(i);
    advance();
  }
  state_[0] = 0x80000000U;
}

void PythonRandom::refill() {
  constexpr std::size_t kShift = 397;
  for (std::size_t i = 0; i < kWords; ++i) {
    const std::uint32_t joined =
        (state_[i] & 0x80000000U) | (state_[(i + 1) % kWords] & 0x7fffffffU);
    const std::uint32_t odd = (joined & 1U) != 0 ? 0x9908b0dfU : 0U;
    state_[i] = state_[(i + kShift) % kWords] ^ (joined >> 1) ^ odd;
  }
  next_ = 0;
}

std::uint32_t PythonRandom::bits() {
  if (next_ == kWords) refill();
  std::uint32_t word = state_[next_++];
  word ^= word >> 11;
  word ^= (word << 7) & 0x9d2c5680U;
  word ^= (word << 15) & 0xefc60000U;
  return word ^ (word >> 18);
}

std::uint32_t PythonRandom::below(std::uint32_t bound) {
  FPTQ_CHECK(bound >= 1, "a bound above 0");
  const unsigned width = 32U - static_cast<unsigned>(std::countl_zero(bound));
  for (;;) {
    const std::uint32_t drawn = bits() >> (32U - width);
    if (drawn < bound) return drawn;
  }
}

std::vector<std::size_t> PythonRandom::sample(std::size_t size, std::size_t count) {
  FPTQ_CHECK(count <= size && size < (std::size_t{1} << 32), "a sample that fits");
  // CPython takes whichever of the two needs less memory, and they draw differently: a set of
  // `count` members takes a table of about 4^ceil(log4(3 count)) entries.
  std::size_t set_size = 21;
  if (count > 5) {
    std::size_t table = 1;
    while (table < 3 * count) table *= 4;
    set_size += table;
  }
  std::vector<std::size_t> drawn;
  if (size <= set_size) {
    std::vector<std::size_t> pool(size);
    std::iota(pool.begin(), pool.end(), std::size_t{0});
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t j = below(static_cast<std::uint32_t>(size - i));
      drawn.push_back(pool[j]);
      pool[j] = pool[size - i - 1];
    }
    return drawn;
  }
  std::set<std::size_t> taken;
  while (drawn.size() < count) {
    const std::size_t j = below(static_cast<std::uint32_t>(size));
    if (taken.insert(j).second) drawn.push_back(j);
  }
  return drawn;
}

}  // namespace fptq::eval
