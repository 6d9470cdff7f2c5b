// Scalar reference: every other variant has to match it bit for bit.

#include "kernels/simd/vec_scalar.h"
// What follows is written over the Vec that the line above defines.
#include "kernels/hadamard/lanes_scalar.h"
// The body is written over both.
#include "kernels/hadamard/body.h"

namespace fptq::kernels {

void hadamard_scalar(const HadamardArgs& args) {
  hadamard_body(args);
}

}  // namespace fptq::kernels
