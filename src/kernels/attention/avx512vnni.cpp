// AVX-512 variant.

#include "kernels/simd/vec_avx512.h"
//
#include "kernels/attention/dot_avx512vnni.h"
// The body is written over what the lines above define.
#include "kernels/attention/body.h"

namespace fptq::kernels {

void attention_avx512vnni(const AttentionArgs& args) {
  attention_body(args);
}

}  // namespace fptq::kernels
