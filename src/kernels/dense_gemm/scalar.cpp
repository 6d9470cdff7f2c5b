// Scalar reference: every other variant has to match it bit for bit.

#include "kernels/simd/vec_scalar.h"
// The body is written over the Vec that the line above defines.
#include "kernels/dense_gemm/body.h"

namespace fptq::kernels {

void dense_gemm_scalar(const DenseGemmArgs& args) {
  dense_gemm_body(args);
}

}  // namespace fptq::kernels
