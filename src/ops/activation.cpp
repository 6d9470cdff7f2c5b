#include "ops/activation.h"

#include "kernels/silu_mul/dispatch.h"

namespace fptq::ops {
namespace {

// Elements of a piece: some microseconds of work.
constexpr std::size_t kGrain = std::size_t{1} << 13;

}  // namespace

SiluMul::SiluMul(Isa isa) : kernel_(select_variant(kernels::silu_mul_variants(), isa).run) {}

void SiluMul::forward(const float* gate, const float* up, std::size_t count, float* y,
                      ThreadPool& pool) const {
  pool.parallel_for(count, kGrain, [&](std::size_t begin, std::size_t end) {
    kernel_({.gate = gate + begin, .up = up + begin, .y = y + begin, .count = end - begin});
  });
}

}  // namespace fptq::ops
