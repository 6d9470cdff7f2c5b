// AVX2 variant.

#include "kernels/simd/vec_avx2.h"
// The body is written over the Vec that the line above defines.
#include "kernels/rms_norm/body.h"

namespace fptq::kernels {

void rms_norm_avx2(const RmsNormArgs& args) {
  rms_norm_body(args);
}

}  // namespace fptq::kernels
