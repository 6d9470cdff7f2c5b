#include "eval/resources.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstring>

namespace fptq::eval {
namespace {

constexpr std::size_t kMebibyte = std::size_t{1} << 20;

// Writes so many bytes of memory and gives them back to the system: not through an allocator,
// because that of the address sanitizer keeps what is freed.
void touch(std::size_t bytes) {
  void* block = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(block, MAP_FAILED);
  std::memset(block, 1, bytes);
  // Through a volatile pointer: memory that nobody reads would not have to be written.
  const volatile char* last = static_cast<const char*>(block) + bytes - 1;
  ASSERT_EQ(*last, '\1');
  ASSERT_EQ(::munmap(block, bytes), 0);
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
