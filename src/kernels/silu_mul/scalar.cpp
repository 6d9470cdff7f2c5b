// Scalar reference: every other variant has to match it bit for bit.

#include "kernels/simd/vec_scalar.h"
// The body is written over the Vec that the line above defines.
#include "kernels/silu_mul/body.h"

namespace fptq::kernels {

void silu_mul_scalar(const SiluMulArgs& args) {
  silu_mul_body(args);
}

}  // namespace fptq::kernels
