// Rotary position embedding of queries and keys.

#pragma once

#include <cstddef>
#include <span>

#include "base/cpu.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/rope/contract.h"

namespace fptq::ops {

// cos and sin of every position's angles, [positions, Dh / 2], row-major. The model builds them,
// because frequencies and their scaling are its configuration.
struct RopeTable {
  std::span<const float> cos;
  std::span<const float> sin;
};

// Bits: a head depends on itself and its position only. Thread safety: const members.
class Rope {
 public:
  // head_dim: even, at least 2. Errors: kUnsupported.
  [[nodiscard]] static Result<Rope> create(std::size_t head_dim, Isa isa);

  // Rotates in place; kernels/rope/contract.h has the formula.
  //   x          [T, heads, Dh]
  //   positions  [T], each a row of the table
  void apply(float* x, std::size_t heads, std::span<const std::size_t> positions,
             const RopeTable& table, ThreadPool& pool) const;

 private:
  Rope(std::size_t head_dim, kernels::RopeFn kernel) : head_dim_(head_dim), kernel_(kernel) {}

  std::size_t head_dim_;
  kernels::RopeFn kernel_;
};

}  // namespace fptq::ops
