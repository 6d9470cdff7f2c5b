// Scalar reference: every other variant has to match it bit for bit.

#include "kernels/simd/vec_scalar.h"
// The body is written over the Vec that the line above defines.
#include "kernels/rms_norm/body.h"

namespace fptq::kernels {

void rms_norm_scalar(const RmsNormArgs& args) {
  rms_norm_body(args);
}

}  // namespace fptq::kernels
