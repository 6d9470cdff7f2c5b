#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "base/file.h"
#include "base/sha256.h"
#include "calib/calibration_set.h"
#include "support/temporary_directory.h"
#include "support/tiny_tokenizer.h"

namespace fptq::calib {
namespace {

using Ids = std::vector<std::int32_t>;

constexpr std::size_t kContext = 128;

// Upper-case letters and digits: the tiny tokenizer has a token for each and no merges.
class CalibrationFile : public testing::TemporaryDirectoryTest {
 protected:
  Result<CalibrationSet> read(std::string_view contents, const CalibrationOptions& options,
                              const std::string& name = "calib.txt",
                              TextFormat format = TextFormat::kFromExtension) {
    path_ = root_ / name;
    EXPECT_TRUE(write_text_file(path_, contents));
    return calibration_from_file(path_, format, tokenizer_, special_, kContext, options);
  }
  CalibrationSet must_read(std::string_view contents, const CalibrationOptions& options,
                           const std::string& name = "calib.txt") {
    auto set = read(contents, options, name);
    EXPECT_TRUE(set) << set.error().message;
    return set ? *std::move(set) : CalibrationSet{};
  }
  // The message without the directory.
  std::string error(std::string_view contents, const std::string& name = "calib.txt") {
    const auto set = read(contents, {}, name);
    EXPECT_FALSE(set);
    if (set) return "";
    EXPECT_EQ(set.error().kind, Error::Kind::kFormat);
    return without_directory(set.error().message);
  }
  std::string without_directory(std::string message) const {
    const std::string directory = root_.string() + "/";
    const std::size_t at = message.find(directory);
    return at == std::string::npos ? message : message.erase(at, directory.size());
  }

  // What a sequence says, with < for BOS and > for EOS.
  std::string say(const Ids& sequence) const {
    std::string text;
    for (const std::int32_t id : sequence) {
      text += id == testing::kTinyBos   ? "<"
              : id == testing::kTinyEos ? ">"
                                        : *tokenizer_.decode(std::span(&id, 1), false);
    }
    return text;
  }
  std::vector<std::string> say(const CalibrationSet& set) const {
    std::vector<std::string> texts;
    for (const Ids& sequence : set.sequences) texts.push_back(say(sequence));
    return texts;
  }

  text::Tokenizer tokenizer_ =
      *text::Tokenizer::from_json(testing::tiny_tokenizer_json(320), "tiny");
  text::SpecialTokens special_ = {.bos = testing::kTinyBos,
                                  .pad = {},
                                  .stops = {testing::kTinyEos},
                                  .chat_stops = {},
                                  .encode_adds_bos = true,
                                  .names = {}};
  std::filesystem::path path_;
};

std::string line(const std::string& text) {
  return R"({"text": ")" + text + "\"}\n";
}

TEST_F(CalibrationFile, TakesConsecutiveWindowsFromTheStart) {
  const CalibrationSet set =
      must_read("ABCDEFGHIJKL", {.sequences = 3, .tokens_per_sequence = 4, .seed = 9});
  EXPECT_EQ(say(set), (std::vector<std::string>{"<ABC", "<DEF", "<GHI"}));
  EXPECT_EQ(set.tokens(), 12u);
  EXPECT_EQ(set.source, "calib.txt");
  EXPECT_EQ(set.sha256, sha256_hex(std::as_bytes(std::span(std::string_view("ABCDEFGHIJKL")))));
  EXPECT_TRUE(set.warnings.empty());
}

TEST_F(CalibrationFile, PutsNoBosWhereTheTokenizerAddsNone) {
  special_.encode_adds_bos = false;
  EXPECT_EQ(say(must_read("ABCDEFGH", {.sequences = 2, .tokens_per_sequence = 4})),
            (std::vector<std::string>{"ABCD", "EFGH"}));
}

TEST_F(CalibrationFile, SkipsAByteOrderMark) {
  EXPECT_EQ(say(must_read("\xef\xbb\xbf"
                          "ABC",
                          {.sequences = 1, .tokens_per_sequence = 4})),
            (std::vector<std::string>{"<ABC"}));
}

TEST_F(CalibrationFile, WarnsOfTooLittleTextWithBothNumbers) {
  const CalibrationSet set = must_read("ABCDEFGH", {.sequences = 3, .tokens_per_sequence = 4});
  EXPECT_EQ(say(set), (std::vector<std::string>{"<ABC", "<DEF"}));
  ASSERT_EQ(set.warnings.size(), 1u);
  EXPECT_EQ(without_directory(set.warnings[0]),
            "calib.txt: expected text for 3 sequences of 4 tokens, got 2. A longer text calibrates "
            "better");
}

TEST_F(CalibrationFile, TakesAShortTextAsAShortSequence) {
  const CalibrationSet set = must_read("AB", {.sequences = 3, .tokens_per_sequence = 4});
  EXPECT_EQ(say(set), (std::vector<std::string>{"<AB"}));
  ASSERT_EQ(set.warnings.size(), 1u);
  EXPECT_EQ(without_directory(set.warnings[0]),
            "calib.txt: expected text for 3 sequences of 4 tokens, got 1 of 3. A longer text "
            "calibrates better");
}

TEST_F(CalibrationFile, ShortensSequencesToTheContext) {
  const std::string text(400, 'A');
  const CalibrationSet set = must_read(text, {.sequences = 1, .tokens_per_sequence = 500});
  ASSERT_EQ(set.sequences.size(), 1u);
  EXPECT_EQ(set.sequences[0].size(), kContext);
  ASSERT_EQ(set.warnings.size(), 1u);
  EXPECT_EQ(set.warnings[0],
            "calibration: sequences of 500 tokens are longer than the model's context: shortened "
            "to 128");
}

TEST_F(CalibrationFile, RefusesWhatIsNoText) {
  EXPECT_EQ(error(""),
            "calib.txt: expected text to calibrate on, got an empty file. Give a plain text or a "
            "JSONL file in UTF-8");
  EXPECT_EQ(error(" \n\t"),
            "calib.txt: expected text to calibrate on, got 3 bytes of white space. Give a plain "
            "text or a JSONL file in UTF-8");
  EXPECT_EQ(error("AB\xff"),
            "calib.txt: byte 2: expected UTF-8 text, got byte 255. Give a plain text or a JSONL "
            "file in UTF-8");
  EXPECT_EQ(error(std::string("A\0B\xff", 4)),
            "calib.txt: byte 1: expected UTF-8 text, got byte 0. Give a plain text or a JSONL file "
            "in UTF-8");
}

TEST_F(CalibrationFile, RefusesLessThanTwoTokens) {
  special_.encode_adds_bos = false;
  EXPECT_EQ(error("A"),
            "calib.txt: expected text of at least 2 tokens to calibrate on, got less. Give a "
            "longer one");
}

TEST_F(CalibrationFile, RefusesOptionsOutOfRange) {
  EXPECT_EQ(read("ABC", {.sequences = 0}).error().message,
            "calibration: expected at least 1 sequence, got 0");
  EXPECT_EQ(read("ABC", {.tokens_per_sequence = 1}).error().message,
            "calibration: expected sequences of at least 2 tokens, got 1");
  EXPECT_EQ(
      calibration_from_file(root_ / "none", TextFormat::kText, tokenizer_, special_, kContext, {})
          .error()
          .kind,
      Error::Kind::kNotFound);
}

TEST_F(CalibrationFile, DrawsDocumentsInAnOrderOfTheSeed) {
  std::string contents;
  for (char letter = 'A'; letter <= 'Z'; ++letter) contents += line(std::string(5, letter));
  const auto letters = [&](std::uint64_t seed) {
    const CalibrationSet set = must_read(
        contents, {.sequences = 8, .tokens_per_sequence = 4, .seed = seed}, "calib.jsonl");
    std::string text;
    for (const std::string& sequence : say(set)) {
      // One document each.
      EXPECT_EQ(sequence, "<" + std::string(3, sequence[1]));
      text += sequence[1];
    }
    return text;
  };
  EXPECT_EQ(letters(1), letters(1));
  EXPECT_NE(letters(1), letters(2));
  const std::string drawn = letters(1);
  EXPECT_EQ(std::set(drawn.begin(), drawn.end()).size(), 8u);
}

TEST_F(CalibrationFile, TakesFurtherWindowsOfLongDocumentsInTurn) {
  const CalibrationSet set = must_read(line("ABCDEFGHIJ") + "\n" + line("0123456789"),
                                       {.sequences = 6, .tokens_per_sequence = 4}, "calib.jsonl");
  std::vector<std::string> sorted = say(set);
  ASSERT_EQ(sorted.size(), 6u);
  EXPECT_NE(sorted[0][1] < 'A', sorted[1][1] < 'A') << "both documents have their turn";
  EXPECT_NE(sorted[2][1] < 'A', sorted[3][1] < 'A');
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, (std::vector<std::string>{"<012", "<345", "<678", "<ABC", "<DEF", "<GHI"}));
  EXPECT_TRUE(set.warnings.empty());
}

TEST_F(CalibrationFile, JoinsShortDocuments) {
  const std::string contents = line("AA") + line("BB") + line("CC") + line("");
  const CalibrationSet set =
      must_read(contents, {.sequences = 1, .tokens_per_sequence = 9}, "calib.ndjson");
  ASSERT_EQ(set.sequences.size(), 1u);
  std::string text = say(set)[0];
  ASSERT_EQ(text.size(), 9u);
  EXPECT_EQ(text[0], '<');
  EXPECT_EQ(text.substr(3, 2), "><");
  EXPECT_EQ(text.substr(7, 2), "><") << "the third document does not fit";
  special_.encode_adds_bos = false;
  EXPECT_EQ(
      say(must_read(contents, {.sequences = 1, .tokens_per_sequence = 5}, "calib.jsonl"))[0].substr(
          2, 1),
      ">");
}

TEST_F(CalibrationFile, NamesTheLineThatIsNoDocument) {
  const std::string tail = ". JSONL has one such object per line";
  EXPECT_EQ(error("\n[1]\n", "a.jsonl"),
            "a.jsonl: line 2: expected an object with a string \"text\", got not an object" + tail);
  EXPECT_EQ(error(R"({"body": "A"})", "a.jsonl"),
            "a.jsonl: line 1: expected an object with a string \"text\", got one without that key" +
                tail);
  EXPECT_EQ(
      error(R"({"text": 7})", "a.jsonl"),
      "a.jsonl: line 1: expected an object with a string \"text\", got text of type number" + tail);
  EXPECT_TRUE(error("{\"text\": \"A\n", "a.jsonl").starts_with("a.jsonl: line 1, column "));
}

TEST(TextFormat, HasNamesThatAreRead) {
  EXPECT_EQ(*parse_text_format(""), TextFormat::kFromExtension);
  EXPECT_EQ(*parse_text_format("text"), TextFormat::kText);
  EXPECT_EQ(*parse_text_format("jsonl"), TextFormat::kJsonl);
  EXPECT_EQ(parse_text_format("csv").error().message,
            "calibration format: expected text or jsonl, got \"csv\"");
}

TEST_F(CalibrationFile, ReadsJsonlAsTextWhereToldTo) {
  const auto set =
      read(line("A"), {.sequences = 1, .tokens_per_sequence = 4}, "calib.jsonl", TextFormat::kText);
  ASSERT_TRUE(set);
  EXPECT_EQ(say(*set)[0], "<{\"t");
}

}  // namespace
}  // namespace fptq::calib
