// AVX-512 variant.

#include "kernels/simd/vec_avx512.h"
// The body is written over the Vec that the line above defines.
#include "kernels/vector_exp/body.h"

namespace fptq::kernels {

void vector_exp_avx512vnni(const VectorExpArgs& args) {
  vector_exp_body(args);
}

}  // namespace fptq::kernels
