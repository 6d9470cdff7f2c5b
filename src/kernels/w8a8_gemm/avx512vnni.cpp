// AVX-512 VNNI variant.

#include "kernels/integer_gemm/lanes_avx512.h"
#include "kernels/w8a8_gemm/vnni_body.h"

namespace fptq::kernels {

void w8a8_gemm_avx512vnni(const IntegerGemmArgs& args) {
  w8a8_gemm_body(args);
}

}  // namespace fptq::kernels
