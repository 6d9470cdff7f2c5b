#include "model/inventory.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "support/tiny_checkpoint.h"

namespace fptq::model {
namespace {

// A checkpoint whose tensors hold the bytes that they are given.
class Builder {
 public:
  explicit Builder(Json config) { model_.config = std::move(config); }

  void add(const std::string& name, DType dtype, const Shape& shape,
           std::span<const std::byte> bytes) {
    auto made = Tensor::create(dtype, shape);
    ASSERT_TRUE(made);
    ASSERT_EQ(made->tensor.bytes().size(), bytes.size()) << name;
    std::memcpy(made->data, bytes.data(), bytes.size());
    model_.tensors.emplace_back(name, made->tensor);
  }
  void add_zeros(const std::string& name, DType dtype, const Shape& shape) {
    add(name, dtype, shape, std::vector<std::byte>(*element_count(shape) * dtype_bytes(dtype)));
  }
  std::shared_ptr<const io::Checkpoint> build() const { return testing::memory_checkpoint(model_); }

 private:
  testing::TinyModel model_;
};

Json w4g32_config() {
  return Json::parse(R"({"architectures": ["LlamaForCausalLM"], "quantization_config": {
    "quant_method": "compressed-tensors", "format": "pack-quantized",
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
      "num_bits": 4, "type": "int", "symmetric": false, "strategy": "group", "group_size": 32}}},
    "ignore": ["lm_head"]}})");
}

TEST(Inventory, CountsAPackedWeightOnceWithEverythingThatBelongsToIt) {
  Builder checkpoint(w4g32_config());
  const std::string module = "model.layers.0.mlp.up_proj";
  constexpr std::array<std::int64_t, 2> kShape = {16, 100};
  checkpoint.add_zeros("lm_head.weight", DType::kBF16, {4, 100});
  checkpoint.add_zeros(module + ".weight_packed", DType::kI32, {16, 13});
  checkpoint.add_zeros(module + ".weight_scale", DType::kF16, {16, 4});
  checkpoint.add(module + ".weight_shape", DType::kI64, {2}, std::as_bytes(std::span(kShape)));
  checkpoint.add_zeros(module + ".weight_zero_point", DType::kI32, {2, 4});

  const auto inventory = take_inventory(*checkpoint.build());
  ASSERT_TRUE(inventory) << inventory.error().message;
  ASSERT_EQ(2U, inventory->entries.size());
  EXPECT_EQ("bf16", inventory->entries[0].scheme);
  EXPECT_FALSE(inventory->entries[0].decoder_linear);
  const InventoryEntry& linear = inventory->entries[1];
  EXPECT_EQ(module + ".weight", linear.name);
  EXPECT_EQ((Shape{16, 100}), linear.shape);
  EXPECT_EQ("w4g32", linear.scheme);
  EXPECT_EQ(16U * 13 * 4 + 16 * 4 * 2 + 16 + 2 * 4 * 4, linear.bytes);
  EXPECT_EQ(1600U, linear.parameters);
  EXPECT_TRUE(linear.decoder_linear);
  EXPECT_EQ(2000U, inventory->parameters);
  EXPECT_EQ(8.0 * static_cast<double>(linear.bytes) / 1600, inventory->linear_bits_per_weight());
  EXPECT_EQ(8.0 * static_cast<double>(linear.bytes + 800) / 2000, inventory->bits_per_weight());
}

TEST(Inventory, NamesBlocksOfOneRowByTheWidthOfTheRow) {
  Json config = w4g32_config();
  config["quantization_config"]["config_groups"]["group_0"]["weights"] =
      Json::parse(R"({"num_bits": 4, "type": "int", "symmetric": false, "strategy": "block",
                      "block_structure": [1, 64]})");
  Builder checkpoint(config);
  constexpr std::array<std::int64_t, 2> kWhole = {16, 64};
  constexpr std::array<std::int64_t, 2> kHalf = {16, 128};
  for (const auto& [module, shape] : {std::pair("a", kWhole), std::pair("b", kHalf)}) {
    const std::string name = module;
    const auto cols = static_cast<std::size_t>(shape[1]);
    checkpoint.add_zeros(name + ".weight_packed", DType::kI32, {16, cols / 8});
    checkpoint.add_zeros(name + ".weight_scale", DType::kF16, {16, cols / 64});
    checkpoint.add_zeros(name + ".weight_zero_point", DType::kI8, {16, cols / 64});
    checkpoint.add(name + ".weight_shape", DType::kI64, {2}, std::as_bytes(std::span(shape)));
  }
  const auto inventory = take_inventory(*checkpoint.build());
  ASSERT_TRUE(inventory) << inventory.error().message;
  ASSERT_EQ(2U, inventory->entries.size());
  EXPECT_EQ("w4c-asym", inventory->entries[0].scheme);
  EXPECT_EQ("w4g64", inventory->entries[1].scheme);
}

TEST(Inventory, RejectsAWeightShapeThatThePackedWeightContradicts) {
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{16, 96}, {16, 105}, {15, 100}, {16, -1}}) {
    Builder checkpoint(w4g32_config());
    checkpoint.add_zeros("a.weight_packed", DType::kI32, {16, 13});
    checkpoint.add_zeros("a.weight_scale", DType::kF16, {16, 4});
    checkpoint.add("a.weight_shape", DType::kI64, {2}, std::as_bytes(std::span(shape)));
    const auto inventory = take_inventory(*checkpoint.build());
    ASSERT_FALSE(inventory) << shape[0] << ' ' << shape[1];
    EXPECT_EQ(Error::Kind::kFormat, inventory.error().kind);
    EXPECT_EQ(
        "tiny: tensor \"a.weight_shape\": expected the shape of a.weight_packed [16, 13] "
        "unpacked, got [" +
            std::to_string(shape[0]) + ", " + std::to_string(shape[1]) + "]",
        inventory.error().message);
  }
}

TEST(Inventory, KeepsTheScalesOfATiedClassifierWithoutCountingThemAsWeights) {
  Json config = w4g32_config();
  config["quantization_config"]["ignore"] = Json::array();
  Builder checkpoint(config);
  checkpoint.add_zeros("lm_head.weight_scale", DType::kF16, {16, 1});
  const auto inventory = take_inventory(*checkpoint.build());
  ASSERT_TRUE(inventory) << inventory.error().message;
  ASSERT_EQ(1U, inventory->entries.size());
  EXPECT_EQ("lm_head.weight_scale", inventory->entries[0].name);
  EXPECT_EQ(0U, inventory->parameters);
  EXPECT_EQ(32U, inventory->bytes);
  EXPECT_EQ(0.0, inventory->bits_per_weight());
}

TEST(WeightStatistics, LeaveOutWhatIsNotFiniteAndSayWhereItIs) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> values(40000, 0.0F);
  values[3] = 3;
  values[4] = -4;
  values[20000] = nan;
  values[39999] = std::numeric_limits<float>::infinity();
  Builder checkpoint(Json::object());
  checkpoint.add("a.weight", DType::kF32, {40000}, std::as_bytes(std::span(values)));
  const auto built = checkpoint.build();
  for (const std::size_t threads : {1U, 3U}) {
    ThreadPool pool(threads);
    const auto found = weight_statistics(*built, built->tensors()[0], pool);
    ASSERT_TRUE(found && found->has_value());
    EXPECT_EQ(4.0F, (*found)->absmax);
    EXPECT_EQ(2U, (*found)->non_finite);
    EXPECT_EQ(20000U, (*found)->first_non_finite);
    // mean -1 / 39998, mean of squares 25 / 39998
    EXPECT_NEAR(0.024999999, (*found)->std, 1e-6);
  }
}

TEST(WeightStatistics, AreNotTakenOfCodes) {
  Builder checkpoint(Json::object());
  checkpoint.add_zeros("a.weight", DType::kI8, {4, 4});
  const auto built = checkpoint.build();
  ThreadPool pool(1);
  const auto found = weight_statistics(*built, built->tensors()[0], pool);
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->has_value());
}

}  // namespace
}  // namespace fptq::model
