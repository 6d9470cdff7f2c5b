// Reference implementation. Every other variant must match it bit for bit.

#include "kernels/integer_gemm/scalar.h"
#include "kernels/w8a8_gemm/contract.h"

namespace fptq::kernels {

void w8a8_gemm_scalar(const IntegerGemmArgs& args) {
  integer_gemm_scalar<Codes8>(args);
}

}  // namespace fptq::kernels
