// Scalar reference: every other variant has to match it bit for bit.

#include "kernels/simd/vec_scalar.h"
// The body is written over the Vec that the line above defines.
#include "kernels/quadratic_form/body.h"

namespace fptq::kernels {

void quadratic_form_scalar(const QuadraticFormArgs& args) {
  quadratic_form_body(args);
}

}  // namespace fptq::kernels
