// NEON variant.

#include "kernels/simd/vec_neon.h"
// The body is written over the Vec that the line above defines.
#include "kernels/rms_norm/body.h"

namespace fptq::kernels {

void rms_norm_neon(const RmsNormArgs& args) {
  rms_norm_body(args);
}

}  // namespace fptq::kernels
