// AVX2 variant.

#include "kernels/nf4a16_gemm/lookup_avx2.h"
// The body is written over the Vec and the lookup that the line above defines.
#include "kernels/nf4a16_gemm/body.h"

namespace fptq::kernels {

void nf4a16_gemm_avx2(const Nf4a16GemmArgs& args) {
  nf4a16_gemm_body(args);
}

}  // namespace fptq::kernels
