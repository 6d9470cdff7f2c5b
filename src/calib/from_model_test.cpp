#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "calib/calibration_set.h"
#include "engine/tiny_model_test.h"

namespace fptq::calib {
namespace {

using engine::Ids;

class CalibrationFromModel : public engine::TinyModelTest {
 protected:
  CalibrationSet draw(const CalibrationOptions& options) {
    auto set = calibration_from_model(*model_, *tokenizer_, special_, options);
    EXPECT_TRUE(set) << set.error().message;
    return set ? *std::move(set) : CalibrationSet{};
  }

  text::SpecialTokens special_ = {.bos = testing::kTinyBos,
                                  .pad = {},
                                  .stops = {testing::kTinyEos},
                                  .chat_stops = {},
                                  .encode_adds_bos = true,
                                  .names = {}};
};

TEST_F(CalibrationFromModel, DrawsFullSequencesThatBeginWithBos) {
  const CalibrationSet set = draw({.sequences = 20, .tokens_per_sequence = 12, .seed = 1});
  ASSERT_EQ(set.sequences.size(), 20u);
  for (const Ids& sequence : set.sequences) {
    ASSERT_EQ(sequence.size(), 12u);
    EXPECT_EQ(sequence[0], testing::kTinyBos);
    for (const std::int32_t id : sequence) {
      EXPECT_GE(id, 0);
      EXPECT_LT(id, 320);
    }
  }
  EXPECT_EQ(std::set(set.sequences.begin(), set.sequences.end()).size(), 20u);
  EXPECT_EQ(set.source, "self");
  EXPECT_EQ(set.sha256.size(), 64u);
  EXPECT_TRUE(set.warnings.empty());
}

TEST_F(CalibrationFromModel, GivesTheSameForTheSameSeed) {
  const CalibrationOptions options = {.sequences = 40, .tokens_per_sequence = 10, .seed = 4};
  const CalibrationSet first = draw(options);
  const CalibrationSet again = draw(options);
  EXPECT_EQ(again.sequences, first.sequences);
  EXPECT_EQ(again.sha256, first.sha256);
  const CalibrationSet fewer = draw({.sequences = 3, .tokens_per_sequence = 10, .seed = 4});
  EXPECT_EQ(fewer.sequences, std::vector(first.sequences.begin(), first.sequences.begin() + 3));
  EXPECT_NE(draw({.sequences = 3, .tokens_per_sequence = 10, .seed = 5}).sequences,
            fewer.sequences);
}

TEST_F(CalibrationFromModel, BeginsANewTextBehindItsEnd) {
  special_.stops.clear();
  for (std::int32_t id = 2; id < 80; ++id) special_.stops.push_back(id);  // a quarter of all
  const CalibrationSet set = draw({.sequences = 6, .tokens_per_sequence = 40, .seed = 2});
  std::size_t ends = 0;
  for (const Ids& sequence : set.sequences) {
    ASSERT_EQ(sequence.size(), 40u);
    for (std::size_t i = 0; i + 1 < sequence.size(); ++i) {
      if (sequence[i] < 2 || sequence[i] >= 80) continue;
      ++ends;
      EXPECT_EQ(sequence[i + 1], testing::kTinyBos) << "token " << i;
    }
  }
  EXPECT_GT(ends, 10u);
}

TEST_F(CalibrationFromModel, GoesOnFromBeginnings) {
  const std::vector<Ids> beginnings = {{testing::kTinyBos, 30, 31}, {testing::kTinyBos, 40}};
  const CalibrationSet set =
      draw({.sequences = 5, .tokens_per_sequence = 12, .seed = 1, .beginnings = beginnings});
  ASSERT_EQ(set.sequences.size(), 5u);
  for (std::size_t i = 0; i < 5; ++i) {
    const Ids& expected = beginnings[i % 2];
    ASSERT_EQ(set.sequences[i].size(), 12u);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), set.sequences[i].begin())) << i;
  }
  EXPECT_NE(set.sequences[0], set.sequences[2]);
  special_.encode_adds_bos = false;
  const CalibrationSet without =
      draw({.sequences = 1, .tokens_per_sequence = 12, .seed = 1, .beginnings = {{30, 31}}});
  EXPECT_EQ(without.sequences[0].size(), 12u);
  EXPECT_EQ(without.sequences[0][0], 30);
  EXPECT_EQ(without.sequences[0][1], 31);
}

TEST_F(CalibrationFromModel, LeavesOutWhatATokenizerDoesNotAdd) {
  special_.encode_adds_bos = false;
  const CalibrationOptions options = {.sequences = 2, .tokens_per_sequence = 128, .seed = 3};
  const CalibrationSet without_bos = draw(options);
  ASSERT_EQ(without_bos.sequences[0].size(), 128u);
  special_.encode_adds_bos = true;
  const CalibrationSet with_bos = draw(options);
  // Drawn from the same beginning with the same seed, up to the first end of a text.
  const Ids& without = without_bos.sequences[0];
  const Ids& with = with_bos.sequences[0];
  const std::size_t same = std::min<std::size_t>(
      100, static_cast<std::size_t>(std::find(without.begin(), without.end(), testing::kTinyEos) -
                                    without.begin()));
  EXPECT_GT(same, 3u);
  EXPECT_TRUE(
      std::equal(without.begin(), without.begin() + static_cast<long>(same), with.begin() + 1));
}

TEST_F(CalibrationFromModel, StartsFromAnyTokenWhereThereAreNoSpecialOnes) {
  special_ = {};
  const CalibrationSet set = draw({.sequences = 4, .tokens_per_sequence = 16});
  ASSERT_EQ(set.sequences.size(), 4u);
  for (const Ids& sequence : set.sequences) EXPECT_EQ(sequence.size(), 16u);
}

TEST_F(CalibrationFromModel, ShortensSequencesToTheContext) {
  const CalibrationSet set = draw({.sequences = 1, .tokens_per_sequence = 512});
  EXPECT_EQ(set.sequences[0].size(), 128u);
  ASSERT_EQ(set.warnings.size(), 1u);
  EXPECT_EQ(set.warnings[0],
            "calibration: sequences of 512 tokens are longer than the model's context: shortened "
            "to 128");
}

TEST_F(CalibrationFromModel, ReportsTokensAndStopsWhereAsked) {
  std::uint64_t last = 0;
  const auto set = calibration_from_model(*model_, *tokenizer_, special_,
                                          {.sequences = 40, .tokens_per_sequence = 8},
                                          [&](const ProgressUpdate& update) {
                                            EXPECT_EQ(update.total, 40u * 8u);
                                            EXPECT_GE(update.done, last);
                                            EXPECT_LE(update.done, update.total);
                                            last = update.done;
                                            return true;
                                          });
  ASSERT_TRUE(set) << set.error().message;
  EXPECT_EQ(last, 40u * 8u);
  const auto stopped = calibration_from_model(*model_, *tokenizer_, special_, {},
                                              [](const ProgressUpdate&) { return false; });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().kind, Error::Kind::kInterrupted);
}

TEST_F(CalibrationFromModel, RefusesOptionsOutOfRange) {
  const auto set = calibration_from_model(*model_, *tokenizer_, special_, {.sequences = 0});
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().message, "calibration: expected at least 1 sequence, got 0");
}

}  // namespace
}  // namespace fptq::calib
