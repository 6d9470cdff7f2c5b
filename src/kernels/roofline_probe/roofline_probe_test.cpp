#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kernels/kernel_test_support.h"
#include "kernels/roofline_probe/dispatch.h"

namespace fptq::kernels {
namespace {

class RooflineProbes : public ::testing::TestWithParam<Variant<const RooflineProbe*>> {};

TEST_P(RooflineProbes, DoWorkThatGrowsWithTheRounds) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  const RooflineProbe& probe = *GetParam().run;
  EXPECT_EQ(0, probe.int8(0));
  EXPECT_NE(0, probe.int8(3));
  EXPECT_NE(probe.int8(3), probe.int8(4));
  EXPECT_EQ(0.0f, probe.f32(0));
  EXPECT_LT(probe.f32(1), probe.f32(2));
  EXPECT_GT(probe.int8_operations, 0u);
  EXPECT_GT(probe.f32_operations, 0u);
}

TEST_P(RooflineProbes, ReadEveryValueOnce) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  std::vector<float> data(512, 1.0f);
  EXPECT_EQ(512.0f, GetParam().run->read(data.data(), data.size()));
  EXPECT_EQ(256.0f, GetParam().run->read(data.data(), 256));
  EXPECT_EQ(0.0f, GetParam().run->read(data.data(), 0));
}

INSTANTIATE_TEST_SUITE_P(Variants, RooflineProbes,
                         ::testing::ValuesIn(roofline_probe_variants().begin(),
                                             roofline_probe_variants().end()),
                         testing::VariantName());

}  // namespace
}  // namespace fptq::kernels
