#include "ops/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

namespace fptq::ops {
namespace {

TEST(Rope, GivesTheSameBitsOnEveryNumberOfThreads) {
  constexpr std::size_t kTokens = 100;
  constexpr std::size_t kHeads = 5;
  constexpr std::size_t kHeadDim = 70;
  std::vector<float> cos(kTokens * kHeadDim / 2);
  std::vector<float> sin(cos.size());
  for (std::size_t i = 0; i < cos.size(); ++i) {
    cos[i] = std::cos(static_cast<float>(i));
    sin[i] = std::sin(static_cast<float>(i));
  }
  std::vector<std::size_t> positions(kTokens);
  std::iota(positions.rbegin(), positions.rend(), 0);
  std::vector<float> x(kTokens * kHeads * kHeadDim);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 1001) - 500.0f;

  const Rope rope = *Rope::create(kHeadDim, best_isa());
  std::vector<float> expected;
  for (std::size_t threads = 1; threads <= 3; ++threads) {
    ThreadPool pool(threads);
    std::vector<float> rotated = x;
    rope.apply(rotated.data(), kHeads, positions, {cos, sin}, pool);
    if (threads == 1) expected = rotated;
    EXPECT_EQ(expected, rotated);
  }
  // Rotations keep the length of every pair.
  for (const std::size_t i : {0u, 34u}) {
    EXPECT_NEAR(std::hypot(x[i], x[i + 35]), std::hypot(expected[i], expected[i + 35]), 1e-3);
  }
  EXPECT_NE(x, expected);
}

TEST(Rope, DoesNothingForNoTokens) {
  ThreadPool pool(1);
  Rope::create(8, Isa::kScalar)->apply(nullptr, 3, {}, {}, pool);
}

TEST(Rope, RejectsAnOddHead) {
  for (const std::size_t head_dim : {0u, 7u}) {
    const auto rope = Rope::create(head_dim, Isa::kScalar);
    ASSERT_FALSE(rope);
    EXPECT_EQ(Error::Kind::kUnsupported, rope.error().kind);
    EXPECT_EQ("head_dim: expected an even number, got " + std::to_string(head_dim) +
                  "; rotary embedding turns pairs of channels",
              rope.error().message);
  }
}

}  // namespace
}  // namespace fptq::ops
