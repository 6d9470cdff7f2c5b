#include "base/thread_pool.h"

#include "base/check.h"

namespace fptq {
namespace {

// About 50 microseconds: longer than the gap between two operations of a forward pass, short
// enough not to be seen in the CPU time of an idle program.
constexpr int kSpins = 20000;

// In ThreadPool::entered_: the job is over, or there is none.
constexpr std::uint32_t kClosed = 1U << 31;

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(std::size_t threads) : entered_(kClosed) {
  FPTQ_CHECK(threads >= 1, "a pool has at least the caller's thread");
  workers_.reserve(threads - 1);
  for (std::size_t i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_job(const Job& job) {
  job_ = job;
  entered_.store(0, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  job.call(job.context);
  // No piece is left. Whoever has not entered yet stays outside; the others finish their piece.
  entered_.fetch_or(kClosed, std::memory_order_acq_rel);
  for (int spins = 0; entered_.load(std::memory_order_acquire) != kClosed; ++spins) {
    // A worker may have lost its processor in the middle of a piece: let it run.
    if (spins < kSpins) {
      pause_cpu();
    } else {
      std::this_thread::yield();
    }
  }
}

void ThreadPool::work() {
  std::uint32_t seen = 0;
  for (;;) {
    std::uint32_t current = generation_.load(std::memory_order_acquire);
    for (int spins = 0; current == seen && spins < kSpins; ++spins) {
      pause_cpu();
      current = generation_.load(std::memory_order_acquire);
    }
    while (current == seen) {
      generation_.wait(seen, std::memory_order_acquire);
      current = generation_.load(std::memory_order_acquire);
    }
    seen = current;
    if (stop_.load(std::memory_order_relaxed)) return;
    std::uint32_t entered = entered_.load(std::memory_order_relaxed);
    while ((entered & kClosed) == 0) {
      // Acquires job_, which does not change again before this worker has left.
      if (!entered_.compare_exchange_weak(entered, entered + 1, std::memory_order_acquire))
        continue;
      job_.call(job_.context);
      entered_.fetch_sub(1, std::memory_order_release);
      break;
    }
  }
}

}  // namespace fptq
