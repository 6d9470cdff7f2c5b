// NEON variant.

#include "kernels/simd/vec_neon.h"
// The body is written over the Vec that the line above defines.
#include "kernels/rope/body.h"

namespace fptq::kernels {

void rope_neon(const RopeArgs& args) {
  rope_body(args);
}

}  // namespace fptq::kernels
