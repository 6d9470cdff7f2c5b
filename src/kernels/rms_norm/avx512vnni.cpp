// AVX-512 variant.

#include "kernels/simd/vec_avx512.h"
// The body is written over the Vec that the line above defines.
#include "kernels/rms_norm/body.h"

namespace fptq::kernels {

void rms_norm_avx512vnni(const RmsNormArgs& args) {
  rms_norm_body(args);
}

}  // namespace fptq::kernels
