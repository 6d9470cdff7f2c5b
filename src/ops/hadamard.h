// The rotation of a linear's inputs that is computed while the model runs.

#pragma once

#include <cstddef>

#include "base/cpu.h"
#include "kernels/hadamard/contract.h"

namespace fptq::ops {

// The widest block of a rotation of `width` channels: the largest power of two that divides it.
[[nodiscard]] std::size_t widest_hadamard_block(std::size_t width);

// x H, where H [width, width] has S / sqrt(B) on its diagonal, S [B, B] Sylvester's Hadamard matrix
// of ones and minus ones. H is symmetric and orthogonal, hence its own inverse: x W^T = (x H)(W
// H)^T. An outlier of size a becomes B values of size a / sqrt(B).
//
// Bits: block by block, whatever the instruction set. Thread safety: const members.
// Source: Ashkboos et al., "QuaRot", arXiv:2404.00456 (2024), stage 1b.
class BlockHadamard {
 public:
  //   width  of a row, >= 1
  //   block  B, a power of two that divides it; 1: x stays as it is
  BlockHadamard(std::size_t width, std::size_t block, Isa isa);

  // rows [count, width], in place. On the calling thread: the caller splits rows, because it
  // quantizes them next.
  void apply(float* rows, std::size_t count) const;

  [[nodiscard]] std::size_t width() const { return width_; }
  [[nodiscard]] std::size_t block() const { return block_; }

 private:
  std::size_t width_;
  std::size_t block_;
  float scale_;
  kernels::HadamardFn kernel_;
};

}  // namespace fptq::ops
