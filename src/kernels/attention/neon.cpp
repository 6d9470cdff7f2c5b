// NEON variant.

#include "kernels/simd/vec_neon.h"
//
#include "kernels/attention/dot_neon.h"
// The body is written over what the lines above define.
#include "kernels/attention/body.h"

namespace fptq::kernels {

void attention_neon(const AttentionArgs& args) {
  attention_body(args);
}

}  // namespace fptq::kernels
