#include "algo/table_rounding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/rng.h"
#include "numeric/code_table.h"

namespace fptq::algo {
namespace {

struct Rounded {
  std::vector<float> absmax;
  std::vector<std::uint8_t> codes;
  RoundingError error;
};

Rounded round_all(std::span<const float> values, const QuantArgs& weights) {
  Rounded rounded;
  rounded.absmax.resize((values.size() + weights.group_size - 1) / weights.group_size);
  rounded.codes.resize((values.size() + 1) / 2);
  block_constants(values, weights.group_size, rounded.absmax);
  rounded.error = round_to_table(values, weights, rounded.absmax, rounded.absmax, rounded.codes);
  return rounded;
}

std::vector<float> random_weights(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(rng.normal()) * 0.05f;
  return values;
}

TEST(TableRounding, PutsTheFirstCodeIntoTheHighBits) {
  std::vector<float> values(32, 0.0f);
  values[0] = -2.0f;
  values[3] = 2.0f;
  const Rounded rounded = round_all(values, table_weights(CodeType::kNf4, 32, false));
  EXPECT_EQ(2.0f, rounded.absmax[0]);
  EXPECT_EQ(0x07, rounded.codes[0]);
  EXPECT_EQ(0x7F, rounded.codes[1]);
  EXPECT_EQ(0x77, rounded.codes[2]);
}

TEST(TableRounding, EveryEntryOfTheTableIsItsOwnCode) {
  for (const CodeType type : {CodeType::kNf4, CodeType::kFp4}) {
    std::vector<float> values(32, 0.0f);
    for (std::size_t code = 0; code < kTableEntries; ++code) values[code] = code_table(type)[code];
    const Rounded rounded = round_all(values, table_weights(type, 32, false));
    for (std::size_t code = 0; code < kTableEntries; ++code) {
      const std::uint8_t chosen = table_code(rounded.codes.data(), code);
      EXPECT_EQ(values[code], code_table(type)[chosen]);
      // FP4's second zero.
      if (type == CodeType::kNf4 || code != 8) {
        EXPECT_EQ(code, chosen);
      }
    }
    EXPECT_EQ(0.0, rounded.error.squared_error);
  }
}

TEST(TableRounding, TakesTheSmallerOfTwoThatAreEquallyNear) {
  const auto table = code_table(CodeType::kNf4);
  std::vector<float> values(32, 0.0f);
  values[0] = 1.0f;
  for (std::size_t i = 0; i < 15; ++i) values[i + 1] = (table[i] + table[i + 1]) / 2;
  const Rounded rounded = round_all(values, table_weights(CodeType::kNf4, 32, false));
  for (std::size_t i = 0; i < 15; ++i) EXPECT_EQ(i, table_code(rounded.codes.data(), i + 1));
}

TEST(TableRounding, NoOtherEntryIsNearer) {
  for (const CodeType type : {CodeType::kNf4, CodeType::kFp4}) {
    const auto table = code_table(type);
    for (const std::size_t block : {32u, 64u, 4096u}) {
      const std::vector<float> values = random_weights(4096 + 65, 3);
      const Rounded rounded = round_all(values, table_weights(type, block, false));
      for (std::size_t i = 0; i < values.size(); ++i) {
        const float absmax = rounded.absmax[i / block];
        const auto distance = [&](std::size_t code) {
          return std::abs(static_cast<double>(values[i]) - double{table[code]} * double{absmax});
        };
        double least = distance(0);
        for (std::size_t code = 1; code < kTableEntries; ++code) {
          least = std::min(least, distance(code));
        }
        // Positions and middles are rounded to float32.
        EXPECT_LE(distance(table_code(rounded.codes.data(), i)), least + 2e-7 * double{absmax});
      }
    }
  }
}

TEST(TableRounding, BlocksOfZerosStayZero) {
  const std::vector<float> values(32 + 7, 0.0f);
  const Rounded nf4 = round_all(values, table_weights(CodeType::kNf4, 32, false));
  EXPECT_EQ(std::vector<std::uint8_t>(20, 0x77), nf4.codes);
  EXPECT_EQ((std::vector<float>{0.0f, kLeastPartialConstant}), nf4.absmax);
  const Rounded fp4 = round_all(values, table_weights(CodeType::kFp4, 32, false));
  EXPECT_EQ(std::vector<std::uint8_t>(20, 0x00), fp4.codes);
}

TEST(TableRounding, TinyAndHugeWeightsKeepFiniteConstants) {
  std::vector<float> values(64, 0.0f);
  values[0] = 1e-42f;
  values[32] = 3.4e38f;
  values[33] = -3.4e38f;
  const Rounded rounded = round_all(values, table_weights(CodeType::kNf4, 32, false));
  // Below 1e-38 positions are taken to it, and weights vanish.
  EXPECT_EQ(7, table_code(rounded.codes.data(), 0));
  EXPECT_EQ(15, table_code(rounded.codes.data(), 32));
  EXPECT_EQ(0, table_code(rounded.codes.data(), 33));
}

TEST(TableRounding, PiecesOfWholeBlocksGiveTheCodesOfTheWhole) {
  const std::vector<float> values = random_weights(64 * 7 + 5, 4);
  const QuantArgs weights = table_weights(CodeType::kNf4, 64, false);
  const Rounded whole = round_all(values, weights);
  const Rounded first = round_all(std::span(values).first(64 * 3), weights);
  const Rounded rest = round_all(std::span(values).subspan(64 * 3), weights);
  std::vector<std::uint8_t> joined = first.codes;
  joined.insert(joined.end(), rest.codes.begin(), rest.codes.end());
  EXPECT_EQ(whole.codes, joined);
}

TEST(TableRounding, MeasuresTheErrorAgainstRestoredConstants) {
  const std::vector<float> values = {1.0f, 0.5f};
  const QuantArgs weights = table_weights(CodeType::kFp4, 32, false);
  std::vector<float> absmax(1);
  block_constants(values, 32, absmax);
  std::vector<std::uint8_t> codes(1);
  const std::vector<float> restored_constants = {1.5f};
  const RoundingError error = round_to_table(values, weights, absmax, restored_constants, codes);
  EXPECT_EQ(0x35, codes[0]);
  EXPECT_DOUBLE_EQ(0.25 + 0.0625, error.squared_error);
  EXPECT_DOUBLE_EQ(1.25, error.squared_weight);
  EXPECT_DOUBLE_EQ(0.5, error.largest_error);
}

TEST(QuantizedConstants, RestoreWithinHalfAStepOfTheMap) {
  std::vector<float> constants = random_weights(1000, 5);
  for (float& constant : constants) constant = std::abs(constant);
  const QuantizedConstants quantized = quantize_constants(constants);
  ASSERT_EQ(4u, quantized.absmax.size());
  const std::vector<float> back = restored(quantized);
  for (std::size_t i = 0; i < constants.size(); ++i) {
    // Neighbours on the map are at most 1.8 / 128 apart; the missing -1 adds half of that.
    EXPECT_NEAR(constants[i], back[i], quantized.absmax[i / 256] * 0.0072f);
  }
}

TEST(QuantizedConstants, EqualConstantsAreTheirMean) {
  const std::vector<float> constants(300, 0.25f);
  const QuantizedConstants quantized = quantize_constants(constants);
  EXPECT_EQ(0.25f, quantized.offset);
  EXPECT_EQ((std::vector<float>{0.0f, 0.0f}), quantized.absmax);
  EXPECT_EQ(constants, restored(quantized));
}

TEST(QuantizedConstants, NothingGivesNothing) {
  const QuantizedConstants quantized = quantize_constants({});
  EXPECT_TRUE(quantized.codes.empty());
  EXPECT_TRUE(quantized.absmax.empty());
}

}  // namespace
}  // namespace fptq::algo
