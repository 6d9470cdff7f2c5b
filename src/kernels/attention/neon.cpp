// NEON variant.

#include "kernels/simd/vec_neon.h"
// The body is written over the Vec that the line above defines.
#include "kernels/attention/body.h"

namespace fptq::kernels {

void attention_neon(const AttentionArgs& args) {
  attention_body(args);
}

}  // namespace fptq::kernels
