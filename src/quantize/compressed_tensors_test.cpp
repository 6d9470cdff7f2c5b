#include "quantize/compressed_tensors.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

namespace fptq::quantize {
namespace {

std::vector<std::uint32_t> words_of(const std::vector<std::byte>& bytes) {
  std::vector<std::uint32_t> words(bytes.size() / 4);
  std::memcpy(words.data(), bytes.data(), bytes.size());
  return words;
}

TEST(PackCodes, PutsTheFirstCodeIntoTheLowestBits) {
  const std::array<std::int8_t, 10> codes = {-8, -7, -6, -5, 0, 5, 6, 7, 1, -1};
  std::vector<std::byte> packed(packed_row_bytes(codes.size()), std::byte{0xFF});
  pack_codes(codes, packed);
  EXPECT_EQ(words_of(packed), (std::vector<std::uint32_t>{0xFED83210U, 0x00000079U}));
}

TEST(PackCodes, TakesWholeWordsPerRow) {
  EXPECT_EQ(packed_row_bytes(0), 0U);
  EXPECT_EQ(packed_row_bytes(1), 4U);
  EXPECT_EQ(packed_row_bytes(8), 4U);
  EXPECT_EQ(packed_row_bytes(9), 8U);
}

TEST(StoredModule, NamesTheTensorsOfFourBitGroups) {
  const StoredModule stored =
      stored_module("a.b", {int_weights(4, Strategy::kGroup, 32, false), {}}, 20, 72, DType::kF16);
  EXPECT_EQ(stored.codes.name, "a.b.weight_packed");
  EXPECT_EQ(stored.codes.dtype, DType::kI32);
  EXPECT_EQ(stored.codes.shape, (Shape{20, 9}));
  EXPECT_EQ(stored.scales.name, "a.b.weight_scale");
  EXPECT_EQ(stored.scales.dtype, DType::kF16);
  EXPECT_EQ(stored.scales.shape, (Shape{20, 3}));
  ASSERT_TRUE(stored.zero_points);
  EXPECT_EQ(stored.zero_points->name, "a.b.weight_zero_point");
  EXPECT_EQ(stored.zero_points->dtype, DType::kI8);
  EXPECT_EQ(stored.zero_points->shape, (Shape{20, 3}));
  ASSERT_TRUE(stored.shape);
  EXPECT_EQ(stored.shape->name, "a.b.weight_shape");
  EXPECT_EQ(stored.bytes(), 20 * 9 * 4 + 20 * 3 * 2 + 20 * 3 + 16U);
}

TEST(StoredModule, NamesTheTensorsOfEightBitChannels) {
  const StoredModule stored = stored_module(
      "lm_head", {int_weights(8, Strategy::kChannel, 0, true), {}}, 20, 72, DType::kBF16);
  EXPECT_EQ(stored.codes.name, "lm_head.weight");
  EXPECT_EQ(stored.codes.dtype, DType::kI8);
  EXPECT_EQ(stored.codes.shape, (Shape{20, 72}));
  EXPECT_EQ(stored.scales.shape, (Shape{20, 1}));
  EXPECT_FALSE(stored.zero_points);
  EXPECT_FALSE(stored.shape);
}

TEST(QuantizationConfig, GivesTheClassToTheMajorityAndNamesTheRest) {
  const Scheme w4{int_weights(4, Strategy::kGroup, 32, false), a8_dynamic_per_token()};
  const Scheme w8{int_weights(8, Strategy::kChannel, 0, true), a8_dynamic_per_token()};
  const Scheme embedding{int_weights(8, Strategy::kChannel, 0, true), std::nullopt};
  const std::vector<ModuleScheme> modules = {{"model.embed_tokens", true, embedding},
                                             {"l.0.up", false, w8, 64},
                                             {"l.0.down", false, w4, 64},
                                             {"l.1.up", false, w4, 64},
                                             {"l.1.down", false, {}},
                                             {"lm_head", false, w8}};
  const Json config = quantization_config(modules);
  EXPECT_EQ(config["quant_method"], "compressed-tensors");
  EXPECT_EQ(config["format"], "mixed-precision");
  EXPECT_EQ(config["quantization_status"], "compressed");
  EXPECT_EQ(config["ignore"], Json::array({"l.1.down"}));
  const Json& groups = config["config_groups"];
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_EQ(groups["group_0"]["targets"], Json::array({"Embedding"}));
  EXPECT_EQ(groups["group_0"]["input_activations"], nullptr);
  // Both schemes have two layers: the first of equals gets the class, and comes last.
  EXPECT_EQ(groups["group_1"]["targets"], Json::array({"l.0.down", "l.1.up"}));
  EXPECT_EQ(groups["group_1"]["format"], "pack-quantized");
  EXPECT_EQ(groups["group_1"]["weights"].dump(),
            R"({"dynamic":false,"group_size":null,"num_bits":4,"strategy":"block",)"
            R"("symmetric":false,"type":"int","block_structure":[1,32]})");
  EXPECT_EQ(groups["group_1"]["input_activations"].dump(),
            R"({"dynamic":true,"group_size":null,"num_bits":8,"strategy":"token",)"
            R"("symmetric":true,"type":"int"})");
  EXPECT_EQ(groups["group_2"]["targets"], Json::array({"Linear"}));
  EXPECT_EQ(groups["group_2"]["format"], "int-quantized");
}

TEST(QuantizationConfig, DescribesWhatTheLibrarysGroupsCannotHoldAsBlocksOfOneRow) {
  const auto weights = [](const QuantArgs& args, std::size_t cols) {
    const std::vector<ModuleScheme> modules = {{"l.0.up", false, {args, std::nullopt}, cols}};
    const Json json = quantization_config(modules)["config_groups"]["group_0"]["weights"];
    return json["strategy"].get<std::string>() +
           (json.contains("block_structure") ? json["block_structure"].dump() : "");
  };
  EXPECT_EQ(weights(int_weights(4, Strategy::kGroup, 32, false), 64), "block[1,32]");
  EXPECT_EQ(weights(int_weights(4, Strategy::kChannel, 0, false), 64), "block[1,64]");
  EXPECT_EQ(weights(int_weights(4, Strategy::kGroup, 32, true), 80), "block[1,32]");
  EXPECT_EQ(weights(int_weights(8, Strategy::kGroup, 32, true), 80), "block[1,32]");
  EXPECT_EQ(weights(int_weights(4, Strategy::kGroup, 32, true), 64), "group");
  EXPECT_EQ(weights(int_weights(8, Strategy::kGroup, 32, false), 64), "group");
  EXPECT_EQ(weights(int_weights(8, Strategy::kChannel, 0, false), 64), "channel");
}

TEST(QuantizationConfig, NamesOneFormatWhereAllGroupsHaveIt) {
  const Scheme w8{int_weights(8, Strategy::kChannel, 0, true), a8_dynamic_per_token()};
  const std::vector<ModuleScheme> modules = {
      {"model.embed_tokens", true, {}}, {"l.0.up", false, w8}, {"lm_head", false, {}}};
  const Json config = quantization_config(modules);
  EXPECT_EQ(config["format"], "int-quantized");
  EXPECT_EQ(config["ignore"], Json::array({"lm_head"}));
  EXPECT_EQ(config["config_groups"].size(), 1U);
}

}  // namespace
}  // namespace fptq::quantize
