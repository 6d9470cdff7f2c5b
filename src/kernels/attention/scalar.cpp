// Scalar reference: every other variant has to match it bit for bit.

#include "kernels/simd/vec_scalar.h"
//
#include "kernels/attention/dot_scalar.h"
// The body is written over what the lines above define.
#include "kernels/attention/body.h"

namespace fptq::kernels {

void attention_scalar(const AttentionArgs& args) {
  attention_body(args);
}

}  // namespace fptq::kernels
