// exp(x) with the same bits on every ISA. Include a vec_<isa>.h before it.

#pragma once

#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

// e^x, less than 1.1 ulp off, subnormal results included (the test tries every exponent).
// x <= -104 and -inf give 0, x above 88.7228 gives +inf, NaN gives NaN.
//
// x = n * ln 2 + r with |r| <= ln 2 / 2, and e^r = 1 + r + r^2 * q(r). q is (e^r - 1 - r) / r^2
// interpolated at the Chebyshev nodes of that interval, with coefficients rounded to float32: it
// is 0.09 ulp off at most, so that most of the error comes from the last addition (1/2 ulp) and
// from r and q * r^2 + r (1/4 each, as their own ulp is smaller by half).
inline Vec vec_exp(Vec x) {
  // The variable is the second operand, because vec_max and vec_min return that one for NaN.
  x = vec_max(vec_set(-104.0f), vec_min(vec_set(89.0f), x));
  const Vec magic = vec_set(0x1.8p23f);  // adding it rounds to an integer
  const Vec t = fma(x, vec_set(0x1.715476p+0f), magic);
  const Vec n = t - magic;
  Vec r = fma(n, vec_set(-0x1.62e4p-1f), x);  // ln 2, upper 15 bits: the product is exact
  r = fma(n, vec_set(-0x1.7f7d1cp-20f), r);
  Vec q = vec_set(0x1.6d110ap-10f);
  q = fma(q, r, vec_set(0x1.120b6ep-7f));
  q = fma(q, r, vec_set(0x1.55551ap-5f));
  q = fma(q, r, vec_set(0x1.5554dcp-3f));
  q = fma(q, r, vec_set(0.5f));
  return scale_by_pow2(vec_set(1.0f) + fma(q, r * r, r), t);
}

// 2^x for x <= 0, less than 1.1 ulp off; below 2^-100 it is 0. 2^0 is 1 exactly. NaN gives NaN.
// A weight that small is lost beside the largest, which is 1, and what is multiplied by it would be
// subnormal: on x86 a hundred times as slow.
//
// x = n + r with |r| <= 1/2, both exact, and 2^r = 1 + r * q(r). q is (2^r - 1) / r interpolated
// at six Chebyshev nodes of that interval, with coefficients rounded to float32: it is 0.16 ulp
// off at most.
inline Vec vec_exp2_of_negative(Vec x) {
  const Vec magic = vec_set(0x1.8p23f);  // adding it rounds to an integer
  const Vec t = x + magic;
  const Vec r = x - (t - magic);
  Vec q = vec_set(0x1.44138ap-13f);
  q = fma(q, r, vec_set(0x1.5f0890p-10f));
  q = fma(q, r, vec_set(0x1.3b2a54p-7f));
  q = fma(q, r, vec_set(0x1.c6af6cp-5f));
  q = fma(q, r, vec_set(0x1.ebfbe0p-3f));
  q = fma(q, r, vec_set(0x1.62e430p-1f));
  return scale_down_by_pow2(fma(q, r, vec_set(1.0f)), t, x);
}

inline F32x16 exp16(F32x16 x) {
  for (Vec& part : x.part) part = vec_exp(part);
  return x;
}

}  // namespace
}  // namespace fptq::kernels
