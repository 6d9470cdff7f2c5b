#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>

namespace fptq {
namespace {

TEST(ElementCount, MultipliesTheAxes) {
  EXPECT_EQ(1U, element_count({}));
  EXPECT_EQ(24U, element_count({2, 3, 4}));
  EXPECT_EQ(0U, element_count({5, 0}));
}

TEST(ElementCount, RefusesProductsThatWrapAround) {
  EXPECT_FALSE(element_count({1ULL << 32, 1ULL << 32}));
  EXPECT_EQ(0U, element_count({1ULL << 32, 1ULL << 32, 0})) << "no elements, however it is read";
}

TEST(Tensor, WidensHalfPrecisionThatIsNotAligned) {
  // One byte of padding puts every 16-bit element at an odd address.
  alignas(4) std::array<std::byte, 9> bytes{};
  const std::array<std::uint16_t, 4> bf16 = {0x3F80, 0xC000, 0x0000, 0x4049};
  std::memcpy(bytes.data() + 1, bf16.data(), 8);
  const Tensor tensor(DType::kBF16, {2, 2}, std::span(bytes).subspan(1), nullptr);
  EXPECT_EQ((std::vector<float>{1.0f, -2.0f, 0.0f, 3.140625f}), tensor.to_f32());
  float last = 0.0f;
  tensor.read_f32(3, 1, &last);
  EXPECT_EQ(3.140625f, last);
}

TEST(Tensor, CopiesShareTheirBytes) {
  const auto tensor = Tensor::from_f32({2, 1}, std::array{1.0f, 2.0f});
  ASSERT_TRUE(tensor);
  const Tensor copy = *tensor;  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_EQ(tensor->bytes().data(), copy.bytes().data());
  EXPECT_EQ(2U, copy.rows());
  EXPECT_EQ(1U, copy.cols());
}

TEST(Tensor, AVectorIsOneRow) {
  const auto tensor = Tensor::create(DType::kI8, {5});
  ASSERT_TRUE(tensor);
  EXPECT_EQ(1U, tensor->tensor.rows());
  EXPECT_EQ(5U, tensor->tensor.cols());
}

TEST(Tensor, TooLargeIsAnErrorAndNotACrash) {
  const auto tensor = Tensor::create(DType::kF32, {1ULL << 40, 1ULL << 40});
  ASSERT_FALSE(tensor);
  EXPECT_EQ(Error::Kind::kLimit, tensor.error().kind);
  EXPECT_EQ("a tensor of shape [1099511627776, 1099511627776] is too large",
            tensor.error().message);
}

}  // namespace
}  // namespace fptq
