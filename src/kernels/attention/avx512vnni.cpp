// AVX-512 variant.

#include "kernels/simd/vec_avx512.h"
// The body is written over the Vec that the line above defines.
#include "kernels/attention/body.h"

namespace fptq::kernels {

void attention_avx512vnni(const AttentionArgs& args) {
  attention_body(args);
}

}  // namespace fptq::kernels
