#include "quantize/layer_pattern.h"

#include <gtest/gtest.h>

#include <string>

namespace fptq::quantize {
namespace {

TEST(LayerPattern, IsFoundAnywhereInTheName) {
  const auto pattern = LayerPattern::compile(R"(layers\.(0|11)\..*down_proj$)");
  ASSERT_TRUE(pattern);
  EXPECT_TRUE(pattern->found_in("model.layers.0.mlp.down_proj"));
  EXPECT_TRUE(pattern->found_in("model.layers.11.mlp.down_proj"));
  EXPECT_FALSE(pattern->found_in("model.layers.1.mlp.down_proj"));
  EXPECT_FALSE(pattern->found_in("model.layers.0.mlp.up_proj"));
}

TEST(LayerPattern, RejectsWhatIsNotARegularExpression) {
  const auto pattern = LayerPattern::compile("layers.(");
  ASSERT_FALSE(pattern);
  EXPECT_EQ(pattern.error().kind, Error::Kind::kInvalidArgument);
  EXPECT_EQ(pattern.error().message.find("pattern \"layers.(\": expected an ECMAScript"), 0U)
      << pattern.error().message;
}

TEST(LayerPattern, RejectsEmptyLongAndUnprintablePatterns) {
  EXPECT_FALSE(LayerPattern::compile(""));
  EXPECT_FALSE(LayerPattern::compile("a\nb"));
  EXPECT_FALSE(LayerPattern::compile("\xc3\xa9"));
  EXPECT_TRUE(LayerPattern::compile(std::string(256, 'a')));
  EXPECT_FALSE(LayerPattern::compile(std::string(257, 'a')));
}

TEST(LayerPattern, RejectsNumbersThatOverflow) {
  const auto pattern = LayerPattern::compile("a{44444444444444444444}");
  ASSERT_FALSE(pattern);
  EXPECT_EQ(pattern.error().message,
            "pattern \"a{44444444444444444444}\": expected numbers of at most 4 digits");
  EXPECT_FALSE(LayerPattern::compile("(a{9999}){9999}"));
}

// By backtracking the first of these would take about 2^400 steps, and the second would need a
// stack as deep as the name is long.
TEST(LayerPattern, AnswersAtOnceWhateverThePatternIs) {
  const auto nested = LayerPattern::compile("(a+)+b");
  ASSERT_TRUE(nested);
  EXPECT_FALSE(nested->found_in(std::string(400, 'a')));
  const auto star = LayerPattern::compile("(.*)*x");
  ASSERT_TRUE(star);
  EXPECT_FALSE(star->found_in(std::string(512, 'a')));
}

TEST(LayerPattern, NeverMatchesNamesThatNoModelHas) {
  const auto pattern = LayerPattern::compile("a");
  ASSERT_TRUE(pattern);
  EXPECT_TRUE(pattern->found_in(std::string(512, 'a')));
  EXPECT_FALSE(pattern->found_in(std::string(513, 'a')));
}

}  // namespace
}  // namespace fptq::quantize
