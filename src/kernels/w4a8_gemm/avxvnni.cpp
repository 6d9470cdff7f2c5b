// AVX-VNNI variant.

#include "kernels/integer_gemm/lanes_avxvnni.h"
#include "kernels/w4a8_gemm/vnni_body.h"

namespace fptq::kernels {

void w4a8_gemm_avxvnni(const IntegerGemmArgs& args) {
  w4a8_gemm_body(args);
}

}  // namespace fptq::kernels
