#include "ops/activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace fptq::ops {
namespace {

TEST(SiluMul, GivesTheSameBitsOnEveryNumberOfThreads) {
  std::vector<float> gate(30001);
  std::vector<float> up(gate.size());
  for (std::size_t i = 0; i < gate.size(); ++i) {
    gate[i] = std::sin(static_cast<float>(i)) * 9.0f;
    up[i] = std::cos(static_cast<float>(i));
  }
  std::vector<float> expected;
  for (std::size_t threads = 1; threads <= 3; ++threads) {
    ThreadPool pool(threads);
    std::vector<float> y(gate.size());
    SiluMul(best_isa()).forward(gate.data(), up.data(), gate.size(), y.data(), pool);
    if (threads == 1) expected = y;
    EXPECT_EQ(expected, y);
  }
  const float last = gate.back() / (1.0f + std::exp(-gate.back())) * up.back();
  EXPECT_NEAR(last, expected.back(), 1e-5f);
}

}  // namespace
}  // namespace fptq::ops
