#include "eval/resources.h"

#include <gtest/gtest.h>

#include <vector>

namespace fptq::eval {
namespace {

constexpr std::size_t kMebibyte = std::size_t{1} << 20;

// Writes so many bytes of memory and gives it back.
void touch(std::size_t bytes) {
  const std::vector<char> block(bytes, '\1');
  // Through a volatile pointer: memory that nobody reads would not have to be written.
  const volatile char* last = &block.back();
  ASSERT_EQ(*last, '\1');
}

TEST(PeakRss, GrowsWithMemoryThatIsTouched) {
  const auto before = peak_rss_bytes();
  if (!before) GTEST_SKIP() << "this system does not tell a process its peak memory";
  touch(64 * kMebibyte);
  EXPECT_GE(*peak_rss_bytes(), *before);
  EXPECT_GE(*peak_rss_bytes(), 64 * kMebibyte);
}

TEST(PeakRss, ForgetsWhatCameBeforeAReset) {
  touch(64 * kMebibyte);
  const auto before = peak_rss_bytes();
  if (!before || !reset_peak_rss()) GTEST_SKIP() << "this system has no peak that can be reset";
  EXPECT_LT(*peak_rss_bytes(), *before);
}

}  // namespace
}  // namespace fptq::eval
