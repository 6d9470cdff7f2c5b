// AVX2 variant.

#include "kernels/fixed_pack/body.h"

namespace fptq::kernels {

void fixed_pack_avx2(const FixedPackArgs& args) {
  fixed_pack_body(args);
}

}  // namespace fptq::kernels
