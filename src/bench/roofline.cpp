#include "bench/roofline.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "base/aligned_memory.h"
#include "kernels/roofline_probe/dispatch.h"

namespace fptq::bench {
namespace {

using Clock = std::chrono::steady_clock;

// One call of the reading loop: 1 MiB, so that threads finish together.
constexpr std::size_t kReadFloats = std::size_t{1} << 18;
// A timed burst of arithmetic lasts about this long.
constexpr double kBurstSeconds = 0.01;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Runs job(thread) on all threads again and again for `seconds`, at least twice, and returns the
// shortest time of one run: what disturbs a measurement only ever makes it longer.
template <typename Job>
double shortest_run(ThreadPool& pool, double seconds, const Job& job) {
  pool.run(job);  // wakes the threads, raises the clock
  double shortest = 1e30;
  const Clock::time_point start = Clock::now();
  do {
    const Clock::time_point begin = Clock::now();
    pool.run(job);
    shortest = std::min(shortest, seconds_since(begin));
  } while (seconds_since(start) < seconds);
  return shortest;
}

// Operations per nanosecond of all threads.
template <typename Probe>
double arithmetic_rate(ThreadPool& pool, double seconds, std::uint64_t operations,
                       const Probe& probe) {
  std::uint64_t rounds = 1000;
  for (;;) {
    const Clock::time_point begin = Clock::now();
    probe(rounds);
    if (seconds_since(begin) > kBurstSeconds / 2) break;
    rounds *= 2;
  }
  const double time = shortest_run(pool, seconds, [&](std::size_t) { probe(rounds); });
  return static_cast<double>(rounds * operations * pool.threads()) / time * 1e-9;
}

}  // namespace

Result<MachineLimits> measure_limits(ThreadPool& pool, Isa isa, double seconds) {
  const kernels::RooflineProbe& probe =
      *select_variant(kernels::roofline_probe_variants(), isa).run;
  const std::size_t buffer_bytes = uncached_buffer_bytes();
  const std::size_t buffer_floats = buffer_bytes / sizeof(float);
  const std::shared_ptr<std::byte> bytes = allocate_zeroed(buffer_bytes);
  if (bytes == nullptr) {
    return Error{Error::Kind::kLimit, "measuring memory speed: expected " +
                                          std::to_string(buffer_bytes >> 20) +
                                          " MiB of free memory, got none"};
  }
  auto* buffer = reinterpret_cast<float*>(bytes.get());
  // Each page is first touched by a thread that reads, so that it lies near a reader.
  pool.parallel_for(buffer_floats, kReadFloats, [&](std::size_t begin, std::size_t end) {
    std::memset(buffer + begin, 0, (end - begin) * sizeof(float));
  });

  // A sink that other threads might read keeps the probes' results, hence their work.
  std::atomic<float> float_sink{0.0f};
  std::atomic<std::int32_t> int_sink{0};
  MachineLimits limits{};
  limits.int8_gops = arithmetic_rate(
      pool, seconds / 4, probe.int8_operations,
      [&](std::uint64_t rounds) { int_sink.store(probe.int8(rounds), std::memory_order_relaxed); });
  limits.f32_gflops =
      arithmetic_rate(pool, seconds / 4, probe.f32_operations, [&](std::uint64_t rounds) {
        float_sink.store(probe.f32(rounds), std::memory_order_relaxed);
      });

  double shortest = 1e30;
  const Clock::time_point start = Clock::now();
  do {
    const Clock::time_point begin = Clock::now();
    pool.parallel_for(buffer_floats, kReadFloats, [&](std::size_t first, std::size_t last) {
      float_sink.store(probe.read(buffer + first, last - first), std::memory_order_relaxed);
    });
    shortest = std::min(shortest, seconds_since(begin));
  } while (seconds_since(start) < seconds / 2);
  limits.dram_read_gb_s = static_cast<double>(buffer_floats * sizeof(float)) / shortest * 1e-9;
  return limits;
}

}  // namespace fptq::bench
