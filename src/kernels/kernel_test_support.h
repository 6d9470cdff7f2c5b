// What the tests of float kernels share: inputs, bitwise comparison, awkward sizes.

#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/rng.h"
#include "kernels/element_type.h"
#include "kernels/variant.h"
#include "numeric/dtype.h"

namespace fptq::kernels {

// How a variant shows as the parameter of a test: its ISA.
template <typename Function>
std::ostream& operator<<(std::ostream& out, const Variant<Function>& variant) {
  return out << isa_name(variant.isa);
}

}  // namespace fptq::kernels

namespace fptq::kernels::testing {

// Normal values times `scale`.
inline std::vector<float> random_floats(std::size_t count, std::uint64_t seed, float scale = 1.0f) {
  Rng rng(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(rng.normal()) * scale;
  return values;
}

// Values as a checkpoint stores them, behind `misalignment` bytes that nobody reads.
struct StoredValues {
  StoredValues(std::span<const float> source, ElementType type, std::size_t misalignment)
      : offset(misalignment) {
    const std::size_t width = type == ElementType::kF32 ? 4 : 2;
    bytes.resize(offset + source.size() * width);
    for (std::size_t i = 0; i < source.size(); ++i) {
      const std::uint16_t half =
          type == ElementType::kBF16 ? f32_to_bf16(source[i]) : f32_to_f16(source[i]);
      const float widened = type == ElementType::kF32    ? source[i]
                            : type == ElementType::kBF16 ? bf16_to_f32(half)
                                                         : f16_to_f32(half);
      const void* from = type == ElementType::kF32 ? static_cast<const void*>(&source[i])
                                                   : static_cast<const void*>(&half);
      std::memcpy(bytes.data() + offset + i * width, from, width);
      values.push_back(widened);
    }
  }
  [[nodiscard]] const void* data() const { return bytes.data() + offset; }

  std::size_t offset;
  std::vector<unsigned char> bytes;
  std::vector<float> values;  // what the stored bytes mean
};

// Values from -1 to 1 that are the same on every platform: no library function is involved.
inline std::vector<float> portable_floats(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(rng.below(20001)) * 1e-4f - 1.0f;
  return values;
}

// FNV-1a over the bits, to compare results with those of another machine.
inline std::uint64_t bits_hash(std::span<const float> values) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const float value : values) {
    hash = (hash ^ std::bit_cast<std::uint32_t>(value)) * 0x100000001b3ULL;
  }
  return hash;
}

// Fails at the first element whose bits differ.
inline void expect_same_bits(std::span<const float> expected, std::span<const float> actual) {
  ASSERT_EQ(expected.size(), actual.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(expected[i]), std::bit_cast<std::uint32_t>(actual[i]))
        << "element " << i << ": expected " << expected[i] << ", got " << actual[i];
  }
}

// The name of a parameterized case: the variant's ISA.
struct VariantName {
  template <typename Info>
  std::string operator()(const Info& info) const {
    return std::string(isa_name(info.param.isa));
  }
};

}  // namespace fptq::kernels::testing

// Skips the current test, with the reason, for the reference itself.
#define FPTQ_SKIP_REFERENCE(isa) \
  if ((isa) == ::fptq::Isa::kScalar) GTEST_SKIP() << "the scalar variant is the reference"

// Skips the current test, with the reason, where the CPU cannot run the variant.
#define FPTQ_REQUIRE_ISA(isa) \
  if (!::fptq::cpu_supports(isa)) GTEST_SKIP() << "this CPU lacks " << ::fptq::isa_name(isa)
