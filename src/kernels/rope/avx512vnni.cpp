// AVX-512 variant.

#include "kernels/simd/vec_avx512.h"
// The body is written over the Vec that the line above defines.
#include "kernels/rope/body.h"

namespace fptq::kernels {

void rope_avx512vnni(const RopeArgs& args) {
  rope_body(args);
}

}  // namespace fptq::kernels
