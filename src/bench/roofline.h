// What this machine can do at most, measured.

#pragma once

#include "base/cpu.h"
#include "base/result.h"
#include "base/thread_pool.h"

namespace fptq::bench {

// Highest rates seen, of all the pool's threads together. A share of a limit is only meaningful
// for a speed measured in the same run: clocks and neighbours on a shared host change.
struct MachineLimits {
  double dram_read_gb_s;  // 1e9 bytes per second, reading twice the largest cache (1 GiB at most)
  double int8_gops;       // 1e9 operations per second; a multiplication and an addition are two
  double f32_gflops;      // likewise, float32 fma
};

// Measures for about `seconds` in all, with the instructions of `isa`.
// kernels/roofline_probe/contract.h says which instruction counts as an ISA's int8 peak.
// Errors: kLimit where the buffer for that cannot be had.
[[nodiscard]] Result<MachineLimits> measure_limits(ThreadPool& pool, Isa isa, double seconds = 1.5);

}  // namespace fptq::bench
