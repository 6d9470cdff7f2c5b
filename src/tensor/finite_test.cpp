#include "tensor/finite.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

namespace fptq {
namespace {

std::optional<std::size_t> find(const Tensor& tensor, std::size_t threads = 1) {
  ThreadPool pool(threads);
  return find_non_finite(tensor, pool);
}

Tensor of_bits(DType dtype, const std::vector<std::uint16_t>& values) {
  auto fresh = Tensor::create(dtype, {values.size()});
  EXPECT_TRUE(fresh);
  if (!values.empty()) std::memcpy(fresh->data, values.data(), 2 * values.size());
  return fresh->tensor;
}

TEST(FindNonFinite, NamesTheFirstOffendingElementAtEveryPlace) {
  for (const std::size_t length : {1U, 31U, 4095U, 4096U, 4097U, 9000U}) {
    for (const std::size_t place : {std::size_t{0}, length / 2, length - 1}) {
      std::vector<float> values(length, std::numeric_limits<float>::max());
      EXPECT_EQ(std::nullopt, find(*Tensor::from_f32({length}, values)));
      values[place] = -std::numeric_limits<float>::infinity();
      values[length - 1] = std::numeric_limits<float>::quiet_NaN();
      EXPECT_EQ(place, find(*Tensor::from_f32({length}, values)));
    }
  }
}

TEST(FindNonFinite, KnowsTheSixteenBitTypesApart) {
  // 0x7BFF and 0x7F7F are the largest finite values, 0x7C00 and 0x7F80 the infinities.
  EXPECT_EQ(std::nullopt, find(of_bits(DType::kF16, {0x7BFF, 0xFBFF, 0x0001})));
  EXPECT_EQ(1U, find(of_bits(DType::kF16, {0x7BFF, 0xFC00, 0x7C01})));
  EXPECT_EQ(std::nullopt, find(of_bits(DType::kBF16, {0x7C00, 0x7F7F, 0xFF7F})));
  EXPECT_EQ(2U, find(of_bits(DType::kBF16, {0x7C00, 0x7F7F, 0xFF80})));
}

TEST(FindNonFinite, FindsNothingInIntegersAndInNothing) {
  EXPECT_EQ(std::nullopt, find(of_bits(DType::kI16, {0x7FFF})));
  EXPECT_EQ(std::nullopt, find(of_bits(DType::kF16, {})));
}

TEST(FindNonFinite, NamesTheFirstOfSeveralWhateverTheNumberOfThreads) {
  constexpr std::size_t kElements = (std::size_t{1} << 21) + 5;
  std::vector<std::uint16_t> values(kElements, 0x3F80);
  for (const std::size_t place : {kElements - 1, kElements - 6, (std::size_t{1} << 20) - 1}) {
    values[place] = 0x7FC0;
    for (const std::size_t threads : {1U, 3U}) {
      EXPECT_EQ(place, find(of_bits(DType::kBF16, values), threads)) << threads << " threads";
    }
  }
}

}  // namespace
}  // namespace fptq
