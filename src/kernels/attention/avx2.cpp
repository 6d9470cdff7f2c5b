// AVX2 variant.

#include "kernels/simd/vec_avx2.h"
//
#include "kernels/attention/dot_avx2.h"
// The body is written over what the lines above define.
#include "kernels/attention/body.h"

namespace fptq::kernels {

void attention_avx2(const AttentionArgs& args) {
  attention_body(args);
}

}  // namespace fptq::kernels
