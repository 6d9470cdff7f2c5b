#include <gtest/gtest.h>

#include <string>

#include "cli/console.h"
#include "cli/exit_code.h"
#include "cli/options.h"

namespace fptq::cli {
namespace {

TEST(ParseSize, ReadsBytesAndPowersOf1024) {
  EXPECT_EQ(1500U, *parse_size("1500"));
  EXPECT_EQ(1536U, *parse_size("1.5K"));
  EXPECT_EQ(512U << 20, *parse_size("512m"));
  EXPECT_EQ(std::uint64_t{3} << 30, *parse_size("3GiB"));
  EXPECT_EQ(std::uint64_t{2} << 40, *parse_size("2TB"));
  EXPECT_EQ(7U, *parse_size("7B"));
}

TEST(ParseSize, NamesWhatItCannotRead) {
  for (const char* text : {"", "G", "-1", "1X", "1GG", "1 G", "nan", "1e300", "9999999999T"}) {
    const auto size_bytes = parse_size(text);
    ASSERT_FALSE(size_bytes) << text;
    EXPECT_EQ(Error::Kind::kInvalidArgument, size_bytes.error().kind);
    EXPECT_EQ("expected a size like 1500, 512M or 1.5GiB, got \"" + std::string(text) + "\"",
              size_bytes.error().message);
  }
}

TEST(ProgressLine, EstimatesTheTimeLeftFromTheTimeThatPassed) {
  EXPECT_EQ("rounding [------------------------]   0%  0/30",
            progress_line({"rounding", 0, 30}, 5));
  EXPECT_EQ("rounding [########----------------]  33%  10/30  1:20 left",
            progress_line({"rounding", 10, 30}, 40));
  EXPECT_EQ("rounding [############------------]  50%  1/2  2:46:40 left",
            progress_line({"rounding", 1, 2}, 10000));
}

TEST(ExitCode, KeepsTheMeaningsThatScriptsRelyOn) {
  EXPECT_EQ(1, exit_code(Error::Kind::kCheckFailed));
  EXPECT_EQ(2, exit_code(Error::Kind::kInvalidArgument));
  EXPECT_EQ(3, exit_code(Error::Kind::kNotFound));
  EXPECT_EQ(3, exit_code(Error::Kind::kIo));
  EXPECT_EQ(3, exit_code(Error::Kind::kFormat));
  EXPECT_EQ(3, exit_code(Error::Kind::kUnsupported));
  EXPECT_EQ(4, exit_code(Error::Kind::kLimit));
  EXPECT_EQ(130, exit_code(Error::Kind::kInterrupted));
}

}  // namespace
}  // namespace fptq::cli
