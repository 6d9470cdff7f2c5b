// AVX2 variant.

#include "kernels/simd/vec_avx2.h"
// The body is written over the Vec that the line above defines.
#include "kernels/rope/body.h"

namespace fptq::kernels {

void rope_avx2(const RopeArgs& args) {
  rope_body(args);
}

}  // namespace fptq::kernels
