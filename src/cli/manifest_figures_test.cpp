#include "cli/manifest_figures.h"

#include <gtest/gtest.h>

#include <fstream>

namespace fptq::cli {
namespace {

class ManifestFigures : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / "fptq_manifest_figures_test";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& manifest) const {
    std::ofstream(folder_ / "fptq_manifest.json") << manifest;
  }

  std::filesystem::path folder_;
  report::ModelFigures figures_;
};

TEST_F(ManifestFigures, AreErrorsOfLinearsAsNormsNotAsSquares) {
  write(R"({"tensors": [
      {"source": "model.embed_tokens.weight", "relative_squared_error": 0.25},
      {"source": "model.layers.0.input_layernorm.weight", "relative_squared_error": 0},
      {"source": "model.layers.12.mlp.up_proj.weight", "scheme": "w4g32-a8t",
       "relative_squared_error": 0.0625}]})");
  ASSERT_TRUE(add_manifest_figures(folder_, figures_));
  ASSERT_EQ(figures_.weight_errors.size(), 1U);
  EXPECT_EQ(figures_.weight_errors[0].block, 12U);
  EXPECT_EQ(figures_.weight_errors[0].kind, "mlp.up_proj");
  EXPECT_EQ(figures_.weight_errors[0].scheme, "w4g32-a8t");
  EXPECT_EQ(figures_.weight_errors[0].relative_error, 0.25);
  EXPECT_TRUE(figures_.activations.empty());
}

TEST_F(ManifestFigures, HaveTheInputsThatWereObserved) {
  write(R"({"inputs": [{"linears": ["model.layers.1.mlp.down_proj"], "absmax": 40.5,
      "p9999_below": 16, "policy": "dynamic", "activations": "a8t"}]})");
  ASSERT_TRUE(add_manifest_figures(folder_, figures_));
  ASSERT_EQ(figures_.activations.size(), 1U);
  EXPECT_EQ(figures_.activations[0].block, 1U);
  EXPECT_EQ(figures_.activations[0].kind, "mlp.down_proj");
  EXPECT_EQ(figures_.activations[0].absmax, 40.5);
  EXPECT_EQ(figures_.activations[0].policy, "a8t");
}

TEST_F(ManifestFigures, LeaveOutWhatIsNotUnderstood) {
  write(R"({"tensors": [3, {}, {"source": 1}, {"source": "model.layers.x.mlp.up_proj.weight",
      "relative_squared_error": 1}, {"source": "model.layers.1.mlp.up_proj.weight",
      "relative_squared_error": "much"}, {"source": "model.layers.1_proj.weight",
      "relative_squared_error": 1}, {"source": "model.layers.1.mlp.up_proj.weight",
      "relative_squared_error": -1}]})");
  ASSERT_TRUE(add_manifest_figures(folder_, figures_));
  EXPECT_TRUE(figures_.weight_errors.empty());
}

TEST_F(ManifestFigures, AreNoneWithoutAManifest) {
  ASSERT_TRUE(add_manifest_figures(folder_, figures_));
  ASSERT_TRUE(add_manifest_figures(folder_ / "model.gguf", figures_));
  EXPECT_TRUE(figures_.weight_errors.empty());
}

TEST_F(ManifestFigures, NameAManifestThatIsNoJson) {
  write("{");
  const Status status = add_manifest_figures(folder_, figures_);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, Error::Kind::kFormat);
  EXPECT_NE(status.error().message.find("fptq_manifest.json"), std::string::npos);
}

}  // namespace
}  // namespace fptq::cli
