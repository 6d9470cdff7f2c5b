// AVX2 variant.

#include "kernels/simd/vec_avx2.h"
// The body is written over the Vec that the line above defines.
#include "kernels/silu_mul/body.h"

namespace fptq::kernels {

void silu_mul_avx2(const SiluMulArgs& args) {
  silu_mul_body(args);
}

}  // namespace fptq::kernels
