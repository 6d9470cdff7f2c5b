#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace fptq {
namespace {

TEST(Utf8, AcceptsTheFirstAndLastCodePointOfEveryLength) {
  for (const std::string& text :
       {std::string("\0", 1), std::string("\x7f"), std::string("\xc2\x80"), std::string("\xdf\xbf"),
        std::string("\xe0\xa0\x80"), std::string("\xed\x9f\xbf"), std::string("\xee\x80\x80"),
        std::string("\xef\xbf\xbf"), std::string("\xf0\x90\x80\x80"),
        std::string("\xf4\x8f\xbf\xbf"), std::string()}) {
    EXPECT_EQ(invalid_utf8_at(text), std::nullopt);
  }
}

TEST(Utf8, NamesTheFirstBadByte) {
  EXPECT_EQ(invalid_utf8_at("ab\x80"), 2u);            // a continuation byte alone
  EXPECT_EQ(invalid_utf8_at("a\xc1\xbf"), 1u);         // overlong, two bytes
  EXPECT_EQ(invalid_utf8_at("\xe0\x9f\xbf"), 0u);      // overlong, three bytes
  EXPECT_EQ(invalid_utf8_at("\xf0\x8f\xbf\xbf"), 0u);  // overlong, four bytes
  EXPECT_EQ(invalid_utf8_at("x\xed\xa0\x80"), 1u);     // a surrogate
  EXPECT_EQ(invalid_utf8_at("\xf4\x90\x80\x80"), 0u);  // above U+10FFFF
  EXPECT_EQ(invalid_utf8_at("\xf5\x80\x80\x80"), 0u);
  EXPECT_EQ(invalid_utf8_at("\xff"), 0u);
}

TEST(Utf8, RejectsASequenceThatIsCutOff) {
  EXPECT_EQ(invalid_utf8_at("a\xc3"), 1u);
  EXPECT_EQ(invalid_utf8_at("a\xe4\xbd"), 1u);
  EXPECT_EQ(invalid_utf8_at("a\xe4"), 1u);
  EXPECT_EQ(invalid_utf8_at("a\xf0\x9f\x98"), 1u);
  EXPECT_EQ(invalid_utf8_at("a\xe4\xbdz"), 1u);
}

TEST(CodePoints, AreCountedWhateverTheirBytes) {
  EXPECT_EQ(count_code_points(""), 0U);
  EXPECT_EQ(count_code_points("a\u00E4\u20AC\U0001F600"), 4U);
}

}  // namespace
}  // namespace fptq
