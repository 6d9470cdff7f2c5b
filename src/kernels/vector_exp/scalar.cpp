// Scalar reference: every other variant has to match it bit for bit.

#include "kernels/simd/vec_scalar.h"
// The body is written over the Vec that the line above defines.
#include "kernels/vector_exp/body.h"

namespace fptq::kernels {

void vector_exp_scalar(const VectorExpArgs& args) {
  vector_exp_body(args);
}

}  // namespace fptq::kernels
