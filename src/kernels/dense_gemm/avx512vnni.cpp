// AVX-512 variant.

#include "kernels/simd/vec_avx512.h"
// The body is written over the Vec that the line above defines.
#include "kernels/dense_gemm/body.h"

namespace fptq::kernels {

void dense_gemm_avx512vnni(const DenseGemmArgs& args) {
  dense_gemm_body(args);
}

}  // namespace fptq::kernels
