#include "ops/hadamard.h"

#include <bit>
#include <cmath>

#include "base/check.h"
#include "kernels/hadamard/dispatch.h"

namespace fptq::ops {

std::size_t widest_hadamard_block(std::size_t width) {
  FPTQ_CHECK(width > 0, "a row of at least one channel");
  return width & (~width + 1);
}

BlockHadamard::BlockHadamard(std::size_t width, std::size_t block, Isa isa)
    : width_(width),
      block_(block),
      scale_(static_cast<float>(1.0 / std::sqrt(static_cast<double>(block)))),
      kernel_(select_variant(kernels::hadamard_variants(), isa).run) {
  FPTQ_CHECK(width > 0 && std::has_single_bit(block) && width % block == 0,
             "a power of two that divides the width");
}

void BlockHadamard::apply(float* rows, std::size_t count) const {
  kernel_({.x = rows, .count = count * width_, .block = block_, .scale = scale_});
}

}  // namespace fptq::ops
