#include <cmath>

#include "kernels/kernel_test_support.h"
#include "kernels/rope/dispatch.h"

namespace fptq::kernels {
namespace {

using testing::expect_same_bits;
using testing::random_floats;

// Random heads at positions that are neither sorted nor unique, with a gap between tokens.
std::vector<float> run(RopeFn function, std::size_t heads, std::size_t head_dim) {
  const std::vector<std::size_t> positions = {4, 0, 7, 4};
  const std::size_t stride = heads * head_dim + 1;
  std::vector<float> x = random_floats(positions.size() * stride, 1);
  std::vector<float> cos(8 * head_dim / 2);
  std::vector<float> sin(cos.size());
  for (std::size_t i = 0; i < cos.size(); ++i) {
    cos[i] = std::cos(static_cast<float>(i));
    sin[i] = std::sin(static_cast<float>(i));
  }
  function({x.data(), stride, positions.size(), heads, head_dim, cos.data(), sin.data(),
            positions.data()});
  return x;
}

TEST(RopeScalar, RotatesEachPairOfHalves) {
  std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 8};
  const std::vector<float> cos = {9, 9, 0.5f, 2.0f};
  const std::vector<float> sin = {9, 9, 4.0f, 3.0f};
  const std::size_t position = 1;
  rope_scalar({x.data(), 8, 1, 2, 4, cos.data(), sin.data(), &position});
  // x[0] * 0.5 - x[2] * 4, x[1] * 2 - x[3] * 3, x[2] * 0.5 + x[0] * 4, x[3] * 2 + x[1] * 3
  EXPECT_EQ((std::vector<float>{-11.5f, -8.0f, 5.5f, 14.0f, -25.5f, -12.0f, 23.5f, 34.0f}), x);
}

class Rope : public ::testing::TestWithParam<Variant<RopeFn>> {};

TEST_P(Rope, MatchesScalarBitForBit) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const std::size_t heads : {0u, 1u, 3u}) {
    for (const std::size_t head_dim : {2u, 6u, 16u, 30u, 32u, 34u, 64u, 80u, 128u}) {
      SCOPED_TRACE(::testing::Message() << "heads=" << heads << " head_dim=" << head_dim);
      expect_same_bits(run(rope_scalar, heads, head_dim), run(GetParam().run, heads, head_dim));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, Rope,
                         ::testing::ValuesIn(rope_variants().begin(), rope_variants().end()),
                         testing::VariantName());

}  // namespace
}  // namespace fptq::kernels
