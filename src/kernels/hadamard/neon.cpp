// NEON variant.

#include "kernels/simd/vec_neon.h"
// What follows is written over the Vec that the line above defines.
#include "kernels/hadamard/lanes_neon.h"
// The body is written over both.
#include "kernels/hadamard/body.h"

namespace fptq::kernels {

void hadamard_neon(const HadamardArgs& args) {
  hadamard_body(args);
}

}  // namespace fptq::kernels
