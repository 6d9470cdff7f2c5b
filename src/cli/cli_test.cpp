#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "cli/console.h"
#include "cli/evaluation.h"
#include "cli/exit_code.h"
#include "cli/fresh_process.h"
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

// What print_published() writes to stdout and stderr.
std::pair<std::string, std::string> published_text(const eval::EvalResult& result) {
  Console console(/*quiet=*/false, /*json_on_stdout=*/false);
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  print_published(result, console);
  std::fflush(stdout);
  const std::string printed = ::testing::internal::GetCapturedStdout();
  return {printed, ::testing::internal::GetCapturedStderr()};
}

TEST(PrintPublished, SetsAFigureBesideThePerplexityThatItComparesWith) {
  eval::EvalResult result;
  result.perplexities.emplace_back().context = 2048;
  result.published = {{{"Llama-3.2-1B", "bf16", eval::Protocol::kGptq, 2048, 9.7548, "a paper"}}};
  EXPECT_EQ(published_text(result).first,
            "published for Llama-3.2-1B (bf16) under gptq ctx 2048: 9.7548 (a paper)\n");
  EXPECT_EQ(published_text(result).second, "");
}

TEST(PrintPublished, SaysWhatFiguresAreOfWhereNoneCompares) {
  eval::EvalResult result;
  result.perplexities.emplace_back().context = 256;
  result.published.emplace_back();
  EXPECT_EQ(published_text(result).first, "");
  EXPECT_EQ(published_text(result).second,
            "gptq ctx 256 on this text compares with no published figure: those are of WikiText-2 "
            "test (wiki.test.raw), --ctx 2048\n");
}

TEST(MeasureArguments, CarryWhatDecidesTheCost) {
  CommonOptions common;
  common.threads = 3;
  common.seed = 7;
  common.isa = "avx2";
  common.ram_limit_bytes = 1000;
  RunOptions run;
  run.kv = model::KvType::kInt8;
  run.require = "w4g32-a8t";
  run.activations = model::ActivationMode::kFloat;
  BenchFlags flags;
  flags.prompt_tokens = 100;
  flags.generated_tokens = 20;
  EXPECT_EQ(measure_arguments({"-model", run}, common, flags),
            (std::vector<std::string>{"fptq",
                                      "measure",
                                      "--json",
                                      "-",
                                      "--bench-prompt",
                                      "100",
                                      "--bench-tokens",
                                      "20",
                                      "--threads",
                                      "3",
                                      "--seed",
                                      "7",
                                      "--kv",
                                      "int8",
                                      "--isa",
                                      "avx2",
                                      "--ram-limit",
                                      "1000",
                                      "--require",
                                      "w4g32-a8t",
                                      "--activations",
                                      "a16",
                                      "--",
                                      "-model"}));
}

TEST(TakeTurns, MeasuresAllModelsBeforeAnyAgain) {
  EXPECT_EQ(take_turns(2, 3), (std::vector<std::size_t>{0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(take_turns(1, 2), (std::vector<std::size_t>{0, 0}));
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
