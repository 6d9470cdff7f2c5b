// A fixed team of threads that run one job at a time.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace fptq {

// Runs jobs on `threads` threads, the caller's included; the others live as long as the pool.
//
// Thread safety: one thread at a time may call run() or parallel_for(), and a job must not call
// them again. Jobs must not throw. Between jobs the workers spin for some microseconds, because
// the next operation of a forward pass usually follows at once, and then sleep.
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

  // Calls body(thread_index) once for every thread_index in [0, threads()).
  template <typename Body>
  void run(const Body& body) {
    run_job(Job{[](const void* context, std::size_t thread) {
                  (*static_cast<const Body*>(context))(thread);
                },
                &body});
  }

  // Calls body(begin, end) for consecutive pieces of [0, count) of at most `grain` elements.
  // Threads take pieces in ascending order, each piece once.
  template <typename Body>
  void parallel_for(std::size_t count, std::size_t grain, const Body& body) {
    if (count == 0) return;
    if (grain == 0) grain = 1;
    if (workers_.empty() || count <= grain) {
      for (std::size_t begin = 0; begin < count; begin += grain) {
        body(begin, count - begin < grain ? count : begin + grain);
      }
      return;
    }
    std::atomic<std::size_t> next{0};
    run([&](std::size_t) {
      for (;;) {
        const std::size_t begin = next.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= count) return;
        body(begin, count - begin < grain ? count : begin + grain);
      }
    });
  }

 private:
  struct Job {
    void (*call)(const void* context, std::size_t thread);
    const void* context;
  };

  void run_job(const Job& job);
  void work(std::size_t thread);

  Job job_{};
  alignas(64) std::atomic<std::uint32_t> generation_{0};
  alignas(64) std::atomic<std::size_t> running_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace fptq
