// SHA-256 without libcrypto, for builds that have none.

#include <array>
#include <bit>
#include <cstdint>

#include "base/sha256.h"

namespace fptq {
namespace {

// FIPS 180-4, 4.2.2: the first 32 bits of the fractional parts of the cube roots of the first 64
// primes, and 5.3.3: of the square roots of the first 8.
struct Constants {
  std::array<std::uint32_t, 64> rounds{};
  std::array<std::uint32_t, 8> initial{};

  Constants() {
    std::size_t found = 0;
    for (std::uint32_t n = 2; found < rounds.size(); ++n) {
      bool prime = true;
      for (std::uint32_t d = 2; d * d <= n; ++d) prime = prime && n % d != 0;
      if (!prime) continue;
      rounds[found] = fraction_bits(n, 3);
      if (found < initial.size()) initial[found] = fraction_bits(n, 2);
      ++found;
    }
  }

  // The first 32 bits after the point of value^(1/power): floor(value^(1/power) * 2^32) mod 2^32,
  // found by bisection in integers.
  static std::uint32_t fraction_bits(std::uint32_t value, unsigned power) {
    __extension__ using Wide = unsigned __int128;
    std::uint64_t low = 0;  // low^power <= value * 2^(32 * power) < high^power
    std::uint64_t high = std::uint64_t{32} << 32;
    while (high - low > 1) {
      const std::uint64_t middle = low + (high - low) / 2;
      // middle < 2^37, so middle^3 < 2^111; value * 2^96 < 2^105.
      Wide product = Wide{middle} * middle;
      if (power == 3) product *= middle;
      (product <= Wide{value} << (32 * power) ? low : high) = middle;
    }
    return static_cast<std::uint32_t>(low);
  }
};

const Constants& constants() {
  static const Constants kConstants;
  return kConstants;
}

}  // namespace

struct Sha256::State {
  std::array<std::uint32_t, 8> hash = constants().initial;
  std::array<unsigned char, 64> block{};
  std::uint64_t total_bytes = 0;

  void add(unsigned char byte) {
    block[total_bytes++ % 64] = byte;
    if (total_bytes % 64 == 0) compress();
  }

  void compress() {
    std::array<std::uint32_t, 64> w{};
    for (std::size_t t = 0; t < 16; ++t) {
      for (std::size_t i = 0; i < 4; ++i) w[t] = w[t] << 8 | block[4 * t + i];
    }
    for (std::size_t t = 16; t < 64; ++t) {
      const std::uint32_t s0 =
          std::rotr(w[t - 15], 7) ^ std::rotr(w[t - 15], 18) ^ (w[t - 15] >> 3);
      const std::uint32_t s1 = std::rotr(w[t - 2], 17) ^ std::rotr(w[t - 2], 19) ^ (w[t - 2] >> 10);
      w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    auto [a, b, c, d, e, f, g, h] = hash;
    for (std::size_t t = 0; t < 64; ++t) {
      const std::uint32_t sum1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
      const std::uint32_t t1 = h + sum1 + ((e & f) ^ (~e & g)) + constants().rounds[t] + w[t];
      const std::uint32_t sum0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
      const std::uint32_t t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
      h = g;
      g = f;
      f = e;
      e = d + t1;
      d = c;
      c = b;
      b = a;
      a = t1 + t2;
    }
    const std::array<std::uint32_t, 8> added = {a, b, c, d, e, f, g, h};
    for (std::size_t i = 0; i < 8; ++i) hash[i] += added[i];
  }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) state_->add(static_cast<unsigned char>(byte));
}

std::string Sha256::finish() {
  const std::uint64_t bits = state_->total_bytes * 8;
  state_->add(0x80);
  while (state_->total_bytes % 64 != 56) state_->add(0);
  for (int shift = 56; shift >= 0; shift -= 8) {
    state_->add(static_cast<unsigned char>(bits >> shift & 0xFF));
  }
  std::string hex;
  for (const std::uint32_t word : state_->hash) {
    for (int shift = 28; shift >= 0; shift -= 4) hex += "0123456789abcdef"[word >> shift & 15];
  }
  return hex;
}

std::string sha256_hex(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

}  // namespace fptq
