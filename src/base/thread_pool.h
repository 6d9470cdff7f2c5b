// A fixed team of threads that run one job at a time.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace fptq {

// Runs jobs on `threads` threads, the caller's included; the others live as long as the pool.
//
// Thread safety: one thread at a time may call run() or parallel_for(), and a job must not call
// them again. Jobs must not throw. Between jobs the workers spin for some microseconds, because
// the next operation of a forward pass usually follows at once, and then sleep.
//
// A worker that the system has given no processor is not waited for: the others take its share.
// So a busy machine costs what it takes away, and not a scheduler's time slice per operation.
//
// Results must not depend on the number of threads: a job writes disjoint outputs, and every
// output is computed whole by one call.
class ThreadPool {
 public:
  // threads: at least 1.
  explicit ThreadPool(std::size_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] std::size_t threads() const { return workers_.size() + 1; }

  // Calls body(slot) once for every slot in [0, threads()), at the same time where there are
  // processors for it. Two calls with the same slot never overlap: scratch memory goes by slot.
  template <typename Body>
  void run(const Body& body) {
    parallel_for(threads(), 1, [&](std::size_t begin, std::size_t) { body(begin); });
  }

  // Calls body(begin, end) for consecutive pieces of [0, count) of at most `grain` elements.
  // Threads take pieces in ascending order, each piece once.
  template <typename Body>
  void parallel_for(std::size_t count, std::size_t grain, const Body& body) {
    if (count == 0) return;
    if (grain == 0) grain = 1;
    std::atomic<std::size_t> next{0};
    const auto take_pieces = [&] {
      for (;;) {
        const std::size_t begin = next.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= count) return;
        body(begin, count - begin < grain ? count : begin + grain);
      }
    };
    if (workers_.empty() || count <= grain) return take_pieces();
    run_job(
        Job{[](const void* context) { (*static_cast<const decltype(take_pieces)*>(context))(); },
            &take_pieces});
  }

 private:
  // Called by every thread that takes part; returns when no piece is left to take.
  struct Job {
    void (*call)(const void* context);
    const void* context;
  };

  void run_job(const Job& job);
  void work();

  // Written while no worker is in the job; read by a worker only after it entered.
  Job job_{};
  // Changes with every job; workers sleep on it.
  alignas(64) std::atomic<std::uint32_t> generation_{0};
  // Workers inside the job, plus kClosed while nobody may enter.
  alignas(64) std::atomic<std::uint32_t> entered_;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace fptq
