#include "quantize/input_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "algo/equalization.h"
#include "base/rng.h"
#include "quantize/observation.h"
#include "support/tiny_checkpoint.h"

namespace fptq::quantize {
namespace {

using algo::ActivationChoice;
using model::BlockInput;

class ChooseInput : public ::testing::Test {
 protected:
  static Recipe recipe(const std::string& text) {
    auto parsed = parse_recipe("{weights: w4g32, " + text + "}", "recipe");
    EXPECT_TRUE(parsed) << parsed.error().message;
    return *std::move(parsed);
  }

  // Inputs with |x| <= 1, but for channel 3, which reaches `absmax`, and channel 5, which is dead.
  algo::ChannelStatistics statistics(float absmax, std::size_t channels = 64) {
    algo::ChannelStatistics all(channels);
    Rng rng(2);
    std::vector<float> x(channels * 50);
    for (float& value : x) value = static_cast<float>(2 * rng.uniform() - 1);
    for (std::size_t t = 0; t < 50; ++t) x[t * channels + 3] *= absmax;
    for (std::size_t t = 0; t < 50; ++t) x[t * channels + 5] = 0;
    x[3] = -absmax;
    EXPECT_TRUE(all.add(x.data(), 50));
    return all;
  }

  InputChoice choose(const std::string& text, BlockInput input, float absmax) {
    const Recipe how = recipe(text);
    const auto plan = make_plan(how, *checkpoint_);
    EXPECT_TRUE(plan);
    const std::size_t width = input == BlockInput::kDown ? 96 : 64;
    auto choice =
        choose_input(how, *plan, *checkpoint_, 1, input, statistics(absmax, width), pool_);
    EXPECT_TRUE(choice) << choice.error().message;
    return *std::move(choice);
  }

  std::shared_ptr<const io::Checkpoint> checkpoint_ =
      testing::memory_checkpoint(testing::make_tiny_model({}));
  ThreadPool pool_{2};
};

constexpr char kPaper[] = "equalize: lae, activation_policy: '15,150'";

TEST_F(ChooseInput, FollowsThePaperBehindANorm) {
  const InputChoice narrow = choose(kPaper, BlockInput::kMlp, 10);
  EXPECT_EQ(narrow.policy, ActivationChoice::kStatic);
  EXPECT_EQ(narrow.activations, ActivationChoice::kStatic);
  EXPECT_TRUE(narrow.scales.empty());
  EXPECT_EQ(narrow.absmax, 10);
  EXPECT_EQ(narrow.equalized_absmax, 10);
  EXPECT_EQ(narrow.p99_below, 4);  // 1% of all: two thirds of channel 3, above 3.6
  EXPECT_EQ(narrow.p9999_below, 16);

  const InputChoice middle = choose(kPaper, BlockInput::kMlp, 30);
  EXPECT_EQ(middle.policy, ActivationChoice::kEqualizedStatic);
  EXPECT_EQ(middle.activations, ActivationChoice::kEqualizedStatic);
  EXPECT_EQ(middle.scales, *algo::lae_scales(statistics(30).absmax()));
  EXPECT_EQ(middle.scales[5], 1.0f);
  EXPECT_NEAR(middle.equalized_absmax, std::log2(32.0), 1e-5);

  const InputChoice wide = choose(kPaper, BlockInput::kMlp, 151);
  EXPECT_EQ(wide.policy, ActivationChoice::kDynamic);
  EXPECT_EQ(wide.activations, ActivationChoice::kDynamic);
  EXPECT_TRUE(wide.scales.empty());
}

TEST_F(ChooseInput, IsDynamicWhereThePolicyAsksForWhatCannotBeDone) {
  for (const BlockInput input : {BlockInput::kOutput, BlockInput::kDown}) {
    EXPECT_EQ(choose(kPaper, input, 10).activations, ActivationChoice::kStatic);
    const InputChoice middle = choose(kPaper, input, 30);
    EXPECT_EQ(middle.policy, ActivationChoice::kEqualizedStatic);
    EXPECT_EQ(middle.activations, ActivationChoice::kDynamic);
    EXPECT_TRUE(middle.scales.empty());
  }
  const InputChoice unequalized = choose("activation_policy: '15,150'", BlockInput::kMlp, 30);
  EXPECT_EQ(unequalized.activations, ActivationChoice::kDynamic);
}

TEST_F(ChooseInput, SaysWhatThePaperWouldDoWhereNobodyAsks) {
  const InputChoice choice = choose("equalize: lae", BlockInput::kMlp, 200);
  EXPECT_EQ(choice.policy, ActivationChoice::kDynamic);
  EXPECT_FALSE(choice.activations);
  EXPECT_EQ(choice.scales.size(), 64U);
}

TEST_F(ChooseInput, LeavesFloatAndAsymmetricActivationsAlone) {
  for (const char* kept : {", activations: a16", ", activations: a8t-asym"}) {
    const InputChoice choice = choose(kPaper + std::string(kept), BlockInput::kMlp, 30);
    EXPECT_FALSE(choice.activations) << kept;
    EXPECT_TRUE(choice.scales.empty()) << kept;
  }
}

TEST_F(ChooseInput, EqualizesNothingThatOnlyFloatLinearsRead) {
  const std::string kept = "equalize: lae, overrides: [{match: mlp, scheme: keep}]";
  EXPECT_TRUE(choose(kept, BlockInput::kMlp, 30).scales.empty());
  EXPECT_FALSE(choose(kept, BlockInput::kAttention, 30).scales.empty());
}

TEST_F(ChooseInput, SmoothQuantKnowsTheWeightsOfAllLinearsThatReadTheInput) {
  const InputChoice choice =
      choose("equalize: smoothquant, smoothquant_alpha: 0.75", BlockInput::kAttention, 30);
  std::vector<float> weight_absmax(64);
  for (const char* linear : {"q_proj", "k_proj", "v_proj"}) {
    const auto weights =
        checkpoint_->read("model.layers.1.self_attn." + std::string(linear) + ".weight");
    algo::update_column_absmax(weights->to_f32(), weight_absmax);
  }
  EXPECT_EQ(choice.scales, *algo::smoothquant_scales(statistics(30).absmax(), weight_absmax, 0.75));
}

TEST_F(ChooseInput, AwqTakesTheRatioThatLosesLeast) {
  const InputChoice choice = choose("equalize: awq", BlockInput::kMlp, 30);
  ASSERT_TRUE(choice.awq_ratio);
  EXPECT_LE(choice.awq_loss, choice.awq_unscaled_loss);
  EXPECT_GT(*choice.awq_ratio, 0);  // one channel is 30 times as large as the others
  EXPECT_EQ(choice.scales, *algo::awq_scales(statistics(30).mean_abs(), *choice.awq_ratio));
}

// Weights of a table have no grid to search on: their loss is the same for every ratio.
TEST_F(ChooseInput, AwqLeavesAloneWhatScalingMakesNoBetter) {
  auto how = recipe("equalize: awq");
  how.linears = *parse_layer_choice("nf4", std::nullopt);
  how.embedding = how.classifier = LayerChoice{};
  const auto plan = make_plan(how, *checkpoint_);
  ASSERT_TRUE(plan) << plan.error().message;
  const auto choice =
      choose_input(how, *plan, *checkpoint_, 0, BlockInput::kMlp, statistics(30), pool_);
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->awq_ratio, 0.0);
  EXPECT_TRUE(choice->scales.empty());
}

TEST_F(ChooseInput, IsReadFromItsRecord) {
  for (const char* text : {kPaper, "equalize: awq"}) {
    const InputChoice choice = choose(text, BlockInput::kMlp, 30);
    const auto again = parse_input_choice(*parse_json(to_json(choice, true).dump(), "r"), "r");
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(*again, choice);
  }
}

TEST_F(ChooseInput, ReportsADamagedRecord) {
  const Json whole = to_json(choose(kPaper, BlockInput::kMlp, 30), true);
  for (const auto& [key, value] : whole.items()) {
    if (key == "linears" || key == "equalized") continue;  // for readers of the manifest
    Json damaged = whole;
    damaged.erase(key);
    const auto read = parse_input_choice(damaged, "file");
    ASSERT_FALSE(read) << key;
    EXPECT_TRUE(read.error().message.starts_with("file: ")) << read.error().message;
  }
}

TEST_F(ChooseInput, BecomesTheSchemeOfItsLinears) {
  const InputChoice choice = choose(kPaper, BlockInput::kMlp, 30);
  const ActivationChoices activations = activations_of({choice});
  EXPECT_EQ(activations.size(), 2U);
  const auto plan = make_plan(recipe(kPaper), *checkpoint_, activations);
  ASSERT_TRUE(plan) << plan.error().message;
  for (const ModuleScheme& module : plan->modules) {
    if (module.embedding) continue;
    const bool chosen = module.module == "model.layers.1.mlp.up_proj" ||
                        module.module == "model.layers.1.mlp.gate_proj";
    EXPECT_EQ(module.scheme.activations, chosen ? a8_static_per_tensor() : a8_dynamic_per_token())
        << module.module;
  }
  EXPECT_EQ(scales_of({choice}).size(), 1U);
}

}  // namespace
}  // namespace fptq::quantize
