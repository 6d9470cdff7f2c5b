// AVX-512 variant.

#include "kernels/simd/vec_avx512.h"
// What follows is written over the Vec that the line above defines.
#include "kernels/hadamard/lanes_avx512vnni.h"
// The body is written over both.
#include "kernels/hadamard/body.h"

namespace fptq::kernels {

void hadamard_avx512vnni(const HadamardArgs& args) {
  hadamard_body(args);
}

}  // namespace fptq::kernels
