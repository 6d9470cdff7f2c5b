#include "bench/roofline.h"

#include <gtest/gtest.h>

namespace fptq::bench {
namespace {

TEST(Roofline, MeasuresEveryLimitOnEveryIsaOfThisMachine) {
  ThreadPool pool(2);
  for (const Isa isa : {Isa::kScalar, best_isa()}) {
    const auto limits = measure_limits(pool, isa, /*seconds=*/0.01);
    ASSERT_TRUE(limits);
    EXPECT_GT(limits->dram_read_gb_s, 0.0);
    EXPECT_GT(limits->int8_gops, 0.0);
    EXPECT_GT(limits->f32_gflops, 0.0);
  }
}

}  // namespace
}  // namespace fptq::bench
