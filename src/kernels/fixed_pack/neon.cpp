// NEON variant.

#include "kernels/fixed_pack/body.h"

namespace fptq::kernels {

void fixed_pack_neon(const FixedPackArgs& args) {
  fixed_pack_body(args);
}

}  // namespace fptq::kernels
