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

ModelCost round_of(double load_s, std::vector<double> token_s, std::uint64_t peak) {
  ModelCost cost;
  cost.prompt_tokens = 100;
  cost.load_s = load_s;
  cost.first_token_s = 2.0 * load_s;
  cost.prefill_tok_s = 1000.0 / load_s;
  cost.token_s = std::move(token_s);
  cost.peak_rss_bytes = peak;
  return cost;
}

TEST(AddCosts, TakesMediansOverRoundsAndTheLargestPeak) {
  std::vector<ModelCost> rounds = {round_of(1.0, {0.1, 0.3}, 10), round_of(4.0, {0.2, 0.2}, 30),
                                   round_of(2.0, {0.5, 0.5}, 20)};
  rounds[0].energy_j = 8.0;
  rounds[1].energy_j = 4.0;
  rounds[0].idle_before = 0.9;
  rounds[2].idle_before = 0.4;
  rounds[0].others_during = 0.02;
  rounds[1].others_during = 0.3;
  Resources resources;
  resources.disk_bytes = 7;
  resources.peak_rss_bytes = 1000;  // of the process that evaluated
  add_costs(std::move(rounds), resources);
  EXPECT_EQ(resources.disk_bytes, 7u);
  EXPECT_DOUBLE_EQ(*resources.load_s, 2.0);
  EXPECT_DOUBLE_EQ(*resources.first_token_s, 4.0);
  EXPECT_DOUBLE_EQ(*resources.prefill_tok_s, 500.0);
  EXPECT_DOUBLE_EQ(*resources.decode_tok_s, 5.0);  // 5, 5 and 2
  EXPECT_DOUBLE_EQ(*resources.token_s_median, 0.25);
  EXPECT_DOUBLE_EQ(*resources.token_s_p95, 0.5);
  EXPECT_DOUBLE_EQ(*resources.energy_j_per_token, 3.0);  // 4 and 2
  EXPECT_DOUBLE_EQ(*resources.cpu_idle_before, 0.4);
  EXPECT_DOUBLE_EQ(*resources.cpu_others_during, 0.3);
  EXPECT_EQ(*resources.peak_rss_bytes, 30u);
  EXPECT_EQ(resources.rounds.size(), 3u);
}

TEST(AddCosts, LeavesOutWhatNoRoundCouldTell) {
  ModelCost round = round_of(1.0, {0.1}, 10);
  round.peak_rss_bytes.reset();
  Resources resources;
  add_costs({round}, resources);
  EXPECT_FALSE(resources.energy_j_per_token.has_value());
  EXPECT_FALSE(resources.cpu_idle_before.has_value());
  EXPECT_FALSE(resources.peak_rss_bytes.has_value());
}

TEST(AvailableMemory, IsReadInBytes) {
  EXPECT_EQ(parse_available_memory("MemTotal:  4 kB\nMemAvailable:    123 kB\nBuffers: 1 kB\n"),
            123u * 1024u);
  EXPECT_FALSE(parse_available_memory("MemTotal: 4 kB\n").has_value());
  EXPECT_FALSE(parse_available_memory("MemAvailable: much\n").has_value());
}

}  // namespace
}  // namespace fptq::eval
