#include "numeric/scheme.h"

#include <gtest/gtest.h>

#include <string>

namespace fptq {
namespace {

TEST(Scheme, ShortNamesReadBackAsThemselves) {
  for (const std::string name :
       {"w4g32", "w4g32-a8t", "w4g64-a8t", "w4g128-a8s", "w4c-a8t", "w8c", "w8c-a8t", "w8g128",
        "nf4b64", "nf4b64-dq", "fp4b128", "fp4b32-dq", "w4g96-a8t", "w4c-asym", "w4g32-sym-a8t",
        "w8c-asym-a8t", "w4c-a8t-asym", "w4c-asym-a8s-asym", "w4g32-a8t-asym"}) {
    const auto scheme = parse_scheme(name);
    ASSERT_TRUE(scheme) << name;
    EXPECT_EQ(name, scheme_name(*scheme));
  }
}

TEST(Scheme, FourBitGroupsAreAsymmetricUnlessSaidOtherwise) {
  EXPECT_FALSE(parse_scheme("w4g32-a8t")->weights->symmetric);
  EXPECT_TRUE(parse_scheme("w4g32-sym-a8t")->weights->symmetric);
  EXPECT_TRUE(parse_scheme("w4c")->weights->symmetric);
  EXPECT_FALSE(parse_scheme("w8c-asym")->weights->symmetric);
}

TEST(Scheme, NamesOnlyTheSymmetryThatIsNotUsual) {
  EXPECT_EQ("w4g32-a8t", scheme_name(*parse_scheme("w4g32-asym-a8t-sym")));
  EXPECT_EQ("w4c", scheme_name(*parse_scheme("w4c-sym")));
  EXPECT_EQ("w4g32", layout_name(*parse_scheme("w4g32-sym")->weights));
  EXPECT_EQ("w4c", layout_name(*parse_scheme("w4c-asym")->weights));
}

TEST(Scheme, SymmetryBelongsToTheOperandBeforeIt) {
  const auto weights = parse_scheme("w4c-asym-a8t");
  EXPECT_FALSE(weights->weights->symmetric);
  EXPECT_TRUE(weights->activations->symmetric);
  const auto activations = parse_scheme("w4c-a8t-asym");
  EXPECT_TRUE(activations->weights->symmetric);
  EXPECT_FALSE(activations->activations->symmetric);
  EXPECT_NE(scheme_name(*weights), scheme_name(*activations));
}

TEST(Scheme, A16MeansThatActivationsStayInFloatingPoint) {
  const auto scheme = parse_scheme("w4g32-a16");
  ASSERT_TRUE(scheme);
  EXPECT_FALSE(scheme->activations);
  EXPECT_EQ("w4g32", scheme_name(*scheme));
}

TEST(Scheme, FloatNamesQuantizeNothing) {
  for (const char* name : {"bf16", "f16", "f32", "keep"}) {
    const auto scheme = parse_scheme(name);
    ASSERT_TRUE(scheme);
    EXPECT_FALSE(scheme->weights);
    EXPECT_EQ("float", scheme_name(*scheme));
  }
}

TEST(Scheme, DescriptionNamesTheSymmetryOfEachOperand) {
  EXPECT_EQ("w4g32-a8t (weights asymmetric, activations symmetric)",
            describe_scheme(*parse_scheme("w4g32-a8t")));
}

TEST(Scheme, NamesThePartThatItDoesNotUnderstand) {
  EXPECT_EQ(
      "scheme \"w4g32-a4t\": \"a4t\" is not understood; expected w4g32, w4g64, w4g128, w4c or w8c, "
      "then optionally -sym or -asym, then -a8t or -a16; nf4, fp4, nf4b64 or nf4b64-dq; or bf16, "
      "f16, f32, keep",
      parse_scheme("w4g32-a4t").error().message);
  for (const char* bad : {"",
                          "w",
                          "w4",
                          "w5c",
                          "w4g",
                          "w4g0",
                          "w4g-1",
                          "w4g99999999999999999999",
                          "w4g32-",
                          "w4g32-a8t-a8t",
                          "w4g32-sym-asym",
                          "w4g32-dq",
                          "nf4-sym",
                          "w4g32x",
                          "W4G32",
                          "nf4b",
                          "nf4x",
                          "nf4b48",
                          "nf4b16",
                          "fp4b8192",
                          "nf4-dq",
                          "nf4b64-dq-dq",
                          "w8c-a8t "}) {
    EXPECT_FALSE(parse_scheme(bad)) << bad;
  }
}

TEST(Scheme, TablesAloneMeanBlocksOf64WithQuantizedConstants) {
  EXPECT_EQ("nf4b64-dq", scheme_name(*parse_scheme("nf4")));
  EXPECT_EQ("fp4b64-dq", scheme_name(*parse_scheme("fp4-a16")));
  EXPECT_FALSE(parse_scheme("nf4b64")->weights->double_quantized);
  EXPECT_EQ("nf4b64-dq", describe_scheme(*parse_scheme("nf4")));
}

TEST(Scheme, HasOneSymmetryPerOperand) {
  for (const char* bad :
       {"w8c-a8t-sym-asym", "w8c-a16-asym", "w8c-sym-a8t-a8s", "nf4-a16-sym", "bf16-sym"}) {
    EXPECT_FALSE(parse_scheme(bad)) << bad;
  }
}

}  // namespace
}  // namespace fptq
