#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace fptq {
namespace {

TEST(ThreadPool, RunsTheBodyOnceForEverySlot) {
  for (const std::size_t threads : {1U, 2U, 5U}) {
    ThreadPool pool(threads);
    std::vector<int> calls(threads, 0);
    for (int repeat = 0; repeat < 100; ++repeat) {
      pool.run([&](std::size_t slot) { ++calls[slot]; });
    }
    EXPECT_EQ(std::vector<int>(threads, 100), calls);
  }
}

TEST(ThreadPool, CoversEveryElementOfAParallelForExactlyOnce) {
  ThreadPool pool(3);
  for (const std::size_t count : {0U, 1U, 7U, 64U, 1001U}) {
    for (const std::size_t grain : {0U, 1U, 8U, 5000U}) {
      std::vector<int> visits(count, 0);
      pool.parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) ++visits[i];
      });
      EXPECT_EQ(std::vector<int>(count, 1), visits) << "count " << count << " grain " << grain;
    }
  }
}

TEST(ThreadPool, ManyShortJobsLoseNoPiece) {
  // Workers enter late, or not at all, and must never see an earlier or a later job.
  ThreadPool pool(4);
  std::vector<std::uint64_t> sums(64, 0);
  std::uint64_t expected = 0;
  for (std::uint64_t job = 0; job < 20000; ++job) {
    pool.parallel_for(sums.size(), 1, [&](std::size_t begin, std::size_t) { sums[begin] += job; });
    expected += job;
  }
  EXPECT_EQ(std::vector<std::uint64_t>(64, expected), sums);
}

TEST(ThreadPool, WakesWorkersThatWentToSleep) {
  ThreadPool pool(2);
  std::vector<int> calls(2, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  pool.run([&](std::size_t slot) { ++calls[slot]; });
  EXPECT_EQ((std::vector<int>{1, 1}), calls);
}

}  // namespace
}  // namespace fptq
