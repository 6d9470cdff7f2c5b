// AVX-512 variant.

#include "kernels/simd/vec_avx512.h"
// The body is written over the Vec that the line above defines.
#include "kernels/quadratic_form/body.h"

namespace fptq::kernels {

void quadratic_form_avx512vnni(const QuadraticFormArgs& args) {
  quadratic_form_body(args);
}

}  // namespace fptq::kernels
