// Equalization against llm-compressor 0.14.0.1's LogarithmicEqualization and SmoothQuant.

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "algo/channel_statistics.h"
#include "algo/equalization.h"
#include "io/safetensors.h"
#include "support/test_data.h"

namespace fptq {
namespace {

using Floats = std::vector<float>;

class EqualizationGolden : public ::testing::Test {
 protected:
  void SetUp() override {
    FPTQ_REQUIRE_TEST_DATA("golden/formats/equalization");
    auto opened = io::SafetensorsFile::open(testing::test_data_dir() /
                                            "golden/formats/equalization/scales.safetensors");
    ASSERT_TRUE(opened) << opened.error().message;
    file_.emplace(*std::move(opened));
    const Tensor x = *file_->read("x");
    algo::ChannelStatistics statistics(x.cols());
    ASSERT_TRUE(statistics.add(x.to_f32().data(), x.rows()));
    absmax_.assign(statistics.absmax().begin(), statistics.absmax().end());
    for (std::size_t k = 0; k < x.cols(); ++k) {
      ranges_.push_back(statistics.max()[k] - statistics.min()[k]);
    }
    weight_ranges_.assign(x.cols(), 0.0f);
    algo::update_column_absmax(floats("w0"), weight_ranges_);
    algo::update_column_absmax(floats("w1"), weight_ranges_);
    for (float& range : weight_ranges_) range *= 2.0f;  // the library's weight range
  }

  Floats floats(const std::string& name) { return file_->read(name)->to_f32(); }

  // The library works in float32, with a handful of roundings per factor; its factor of a dead
  // channel is 0, or its floor.
  void expect_near(const Result<Floats>& actual, const std::string& name) {
    ASSERT_TRUE(actual) << actual.error().message;
    const Floats expected = floats(name);
    ASSERT_EQ(actual->size(), expected.size());
    for (std::size_t k = 0; k < expected.size(); ++k) {
      const float wanted = absmax_[k] == 0.0f ? 1.0f : expected[k];
      EXPECT_NEAR((*actual)[k], wanted, 1e-6f * wanted) << name << ": channel " << k;
    }
  }

  std::optional<io::SafetensorsFile> file_;
  Floats absmax_;         // max |x|
  Floats ranges_;         // max x - min x, what the library feeds in
  Floats weight_ranges_;  // 2 max |w|
};

TEST_F(EqualizationGolden, HasDeadChannelsOfBothKinds) {
  EXPECT_EQ(absmax_[3], 0.0f);
  EXPECT_EQ(weight_ranges_[6], 0.0f);
  EXPECT_EQ(ranges_, floats("activation_range"));
}

TEST_F(EqualizationGolden, LogarithmicFactorsAreEqual) {
  expect_near(algo::lae_scales(absmax_), "log_equalization.from_absmax");
  expect_near(algo::lae_scales(ranges_), "log_equalization.raw");
}

TEST_F(EqualizationGolden, SmoothQuantFactorsAreEqual) {
  for (const auto& [alpha, name] :
       {std::pair{0.5, "smoothquant.0.5"}, std::pair{0.8, "smoothquant.0.8"}}) {
    const std::string base = name;
    expect_near(algo::smoothquant_scales(absmax_, weight_ranges_, alpha), base + ".from_absmax");
    expect_near(algo::smoothquant_scales(ranges_, weight_ranges_, alpha), base + ".raw");
  }
}

TEST_F(EqualizationGolden, FloorIsTheLibrarys) {
  Floats scales = floats("log_equalization.raw");
  algo::raise_scales(scales);
  EXPECT_EQ(scales, floats("log_equalization"));
}

}  // namespace
}  // namespace fptq
