#include "report/format.h"

#include <gtest/gtest.h>

#include <limits>

namespace fptq::report {
namespace {

TEST(Format, RoundsToDigits) {
  EXPECT_EQ(fixed(1.005e3, 2), "1005.00");
  EXPECT_EQ(significant(0.0012345, 3), "0.00123");
  EXPECT_EQ(significant(41.66, 3), "41.7");
  EXPECT_EQ(significant(812.4, 3), "812");
  EXPECT_EQ(significant(1.5e-9, 2), "1.5e-09");
  EXPECT_EQ(significant(0.0, 3), "0");
  EXPECT_EQ(signed_percent(1.254), "+1.25 %");
  EXPECT_EQ(signed_percent(-0.3), "-0.30 %");
}

TEST(Format, NamesValuesThatAreNoNumbers) {
  EXPECT_EQ(fixed(std::numeric_limits<double>::infinity(), 2), "inf");
  EXPECT_EQ(significant(std::numeric_limits<double>::quiet_NaN(), 2), "nan");
}

TEST(Format, WritesBytesInPowersOf1024) {
  EXPECT_EQ(bytes_text(512), "512 B");
  EXPECT_EQ(bytes_text(60816028), "58.0 MiB");
  EXPECT_EQ(bytes_text(1ULL << 30), "1.00 GiB");
  EXPECT_EQ(bytes_text((1ULL << 30) - 1), "1.00 GiB");
}

TEST(EscapeHtml, LeavesNothingThatMarkupOrAttributesReact) {
  EXPECT_EQ(escape_html("<script>alert('x' & \"y\")</script>"),
            "&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)&lt;/script&gt;");
  EXPECT_EQ(escape_html(std::string("a\x01"
                                    "b\n",
                                    4)),
            "a\uFFFDb\n");
  EXPECT_EQ(escape_html("\u00E9"), "\u00E9");
}

TEST(Printable, KeepsTextAndDropsWhatActs) {
  EXPECT_EQ(printable("a\tb\n\u05D0 \u00E9 \U0001F600"), "a\tb\n\u05D0 \u00E9 \U0001F600");
  for (const char* acting : {"\x1B", "\x7F", "\u0085", "\u061C", "\u200E", "\u200F", "\u202A",
                             "\u202E", "\u2066", "\u2069"}) {
    EXPECT_EQ(printable(acting), "\uFFFD");
  }
  EXPECT_EQ(printable("\u2065\u206A"), "\u2065\u206A");
}

TEST(Printable, ReplacesWhatIsNoUtf8) {
  EXPECT_EQ(printable("\xFFx"), "\uFFFDx");
  EXPECT_EQ(printable("\xC3"), "\uFFFD");
  EXPECT_EQ(printable("\xE2\x82x"), "\uFFFD\uFFFDx");
  EXPECT_EQ(printable("\xC0\xAF"), "\uFFFD\uFFFD");
}

TEST(EscapeMarkdown, LeavesNoMarkupAndOneLine) {
  EXPECT_EQ(escape_markdown("a|b\n*c* <d> [e](f) `g` & _h_"),
            "a\\|b \\*c\\* &lt;d&gt; \\[e\\](f) \\`g\\` &amp; \\_h\\_");
}

}  // namespace
}  // namespace fptq::report
