// Scalar reference: every other variant has to match it bit for bit.

#include "kernels/fixed_pack/body.h"

namespace fptq::kernels {

void fixed_pack_scalar(const FixedPackArgs& args) {
  fixed_pack_body(args);
}

}  // namespace fptq::kernels
