#include "ops/activation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace fptq::ops {
namespace {

TEST(SiluMul, GivesTheSameBitsForPartsAsForTheWhole) {
  std::vector<float> gate(30001);
  std::vector<float> up(gate.size());
  for (std::size_t i = 0; i < gate.size(); ++i) {
    gate[i] = std::sin(static_cast<float>(i)) * 9.0f;
    up[i] = std::cos(static_cast<float>(i));
  }
  const SiluMul silu_mul(best_isa());
  std::vector<float> whole(gate.size());
  silu_mul.forward(gate.data(), up.data(), gate.size(), whole.data());
  std::vector<float> parts(gate.size());
  for (std::size_t begin = 0; begin < gate.size(); begin += 1009) {
    const std::size_t count = std::min<std::size_t>(1009, gate.size() - begin);
    silu_mul.forward(&gate[begin], &up[begin], count, &parts[begin]);
  }
  EXPECT_EQ(whole, parts);
  const float last = gate.back() / (1.0f + std::exp(-gate.back())) * up.back();
  EXPECT_NEAR(last, whole.back(), 1e-5f);
}

}  // namespace
}  // namespace fptq::ops
