#include "eval/machine_noise.h"

#include <gtest/gtest.h>

namespace fptq::eval {
namespace {

TEST(CpuTimes, AreReadFromTheFirstLine) {
  const auto times =
      parse_cpu_times("cpu  100 10 20 300 40 1 2 27 5 5\ncpu0 1 1 1 1 1 1 1 1 1 1\n", 100.0);
  ASSERT_TRUE(times.has_value());
  EXPECT_DOUBLE_EQ(times->total_s, 5.0);
  EXPECT_DOUBLE_EQ(times->idle_s, 3.4);
}

TEST(CpuTimes, AreNothingWhereTheSystemWritesSomethingElse) {
  EXPECT_FALSE(parse_cpu_times("", 100.0).has_value());
  EXPECT_FALSE(parse_cpu_times("intr 1 2 3", 100.0).has_value());
  EXPECT_FALSE(parse_cpu_times("cpu 1 2 3", 100.0).has_value());
  EXPECT_FALSE(parse_cpu_times("cpu 1 2 x 4 5 6 7 8", 100.0).has_value());
  EXPECT_FALSE(parse_cpu_times("cpu 1 2\n3 4 5 6 7 8", 100.0).has_value());
}

TEST(CpuShares, AreOfTheTimeBetweenTwoMoments) {
  const CpuTimes begin{100.0, 50.0, 2.0};
  const CpuTimes end{120.0, 55.0, 12.0};
  EXPECT_DOUBLE_EQ(*idle_share(begin, end), 0.25);
  EXPECT_DOUBLE_EQ(*others_share(begin, end), 0.25);  // 20 s, 5 idle, 10 of this process
}

TEST(CpuShares, DoNotLeaveTheRangeWhereClocksDisagree) {
  const CpuTimes begin{100.0, 50.0, 2.0};
  const CpuTimes end{101.0, 50.5, 3.5};
  EXPECT_EQ(*others_share(begin, end), 0.0);
}

TEST(CpuShares, OfOthersAreNothingForAMoment) {
  const CpuTimes begin{100.0, 50.0, 2.0};
  const CpuTimes end{100.4, 50.1, 2.1};
  EXPECT_FALSE(others_share(begin, end).has_value());
  EXPECT_TRUE(idle_share(begin, end).has_value());
}

TEST(CpuShares, AreNothingWithoutTwoMoments) {
  const CpuTimes moment{100.0, 50.0, 2.0};
  EXPECT_FALSE(idle_share(moment, moment).has_value());
  EXPECT_FALSE(idle_share(std::nullopt, moment).has_value());
  EXPECT_FALSE(others_share(moment, std::nullopt).has_value());
}

TEST(CpuTimes, CountTheWorkOfThisProcess) {
  const auto before = cpu_times();
  if (!before) GTEST_SKIP() << "this system has no /proc/stat";
  volatile double sum = 0.0;
  for (int i = 0; i < 20'000'000; ++i) sum = sum + 1.0;
  EXPECT_GT(cpu_times()->own_s, before->own_s);
}

}  // namespace
}  // namespace fptq::eval
