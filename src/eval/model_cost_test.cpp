#include "eval/model_cost.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace fptq::eval {
namespace {

ModelCost sample() {
  ModelCost cost;
  cost.prompt_tokens = 192;
  cost.load_s = 0.5;
  cost.first_token_s = 0.25;
  cost.prefill_tok_s = 800.0;
  cost.token_s = {0.01, 0.03};
  cost.peak_rss_bytes = 12345678;
  cost.idle_before = 0.97;
  return cost;
}

TEST(ModelCost, HasASpeedOfAllTokensTogether) {
  EXPECT_DOUBLE_EQ(sample().decode_tok_s(), 50.0);
}

TEST(ModelCost, TakesTheLargerShareOfOtherWork) {
  ModelCost cost;
  EXPECT_FALSE(cost.other_work().has_value());
  cost.others_during = 0.25;
  EXPECT_DOUBLE_EQ(*cost.other_work(), 0.25);
  cost.idle_before = 0.875;
  EXPECT_DOUBLE_EQ(*cost.other_work(), 0.25);
  cost.others_during.reset();
  EXPECT_DOUBLE_EQ(*cost.other_work(), 0.125);
}

TEST(ModelCost, SurvivesItsJson) {
  const auto back = parse_model_cost(to_json(sample()), "child");
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->prompt_tokens, 192u);
  EXPECT_EQ(back->load_s, 0.5);
  EXPECT_EQ(back->first_token_s, 0.25);
  EXPECT_EQ(back->prefill_tok_s, 800.0);
  EXPECT_EQ(back->token_s, (std::vector<double>{0.01, 0.03}));
  EXPECT_EQ(back->peak_rss_bytes, 12345678u);
  EXPECT_EQ(back->idle_before, 0.97);
  EXPECT_FALSE(back->others_during.has_value());
  EXPECT_FALSE(back->energy_j.has_value());
}

TEST(ModelCost, RefusesAnythingElse) {
  Json without = to_json(sample());
  without.erase("load_s");
  Json wrong = to_json(sample());
  wrong["token_s"] = "soon";
  Json empty = to_json(sample());
  empty["token_s"] = Json::array();
  for (const Json& json : {without, wrong, empty, Json(3)}) {
    const auto parsed = parse_model_cost(json, "child");
    ASSERT_FALSE(parsed) << json.dump();
    EXPECT_EQ(parsed.error().kind, Error::Kind::kFormat);
    EXPECT_EQ(parsed.error().message,
              "child: expected what `fptq measure --json` writes, got something else");
  }
}

TEST(MeasureCost, NeedsTokens) {
  CostOptions options;
  options.generated_tokens = 0;
  const auto load = []() -> Result<model::LlamaModel*> { return nullptr; };
  const auto refused = measure_cost(load, options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, Error::Kind::kInvalidArgument);
  EXPECT_EQ(refused.error().message,
            "resources: expected at least 1 token to read and 1 to generate, got 512 and 0");
}

TEST(MeasureCost, PassesOnWhyAModelCannotBeLoaded) {
  const auto failed = measure_cost(
      []() -> Result<model::LlamaModel*> {
        return Error{Error::Kind::kNotFound, "model: not there"};
      },
      {});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "model: not there");
}

}  // namespace
}  // namespace fptq::eval
