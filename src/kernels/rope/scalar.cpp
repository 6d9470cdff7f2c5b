// Scalar reference: every other variant has to match it bit for bit.

#include "kernels/simd/vec_scalar.h"
// The body is written over the Vec that the line above defines.
#include "kernels/rope/body.h"

namespace fptq::kernels {

void rope_scalar(const RopeArgs& args) {
  rope_body(args);
}

}  // namespace fptq::kernels
