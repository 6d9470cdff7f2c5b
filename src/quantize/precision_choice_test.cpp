#include "quantize/precision_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "model/llama_config.h"
#include "support/tiny_checkpoint.h"

namespace fptq::quantize {
namespace {

using testing::make_tiny_model;
using testing::memory_checkpoint;

Recipe recipe_with(const std::string& yaml) {
  auto recipe = parse_recipe(yaml, "recipe");
  EXPECT_TRUE(recipe) << recipe.error().message;
  return *std::move(recipe);
}

Result<PrecisionProblem> problem_of(const Recipe& recipe) {
  const auto checkpoint = memory_checkpoint(make_tiny_model());
  const auto plan = make_plan(recipe, *checkpoint);
  EXPECT_TRUE(plan);
  return precision_problem(recipe, *plan, *model::parse_llama_config(checkpoint->config(), "tiny"));
}

std::vector<std::string> names_of(const PrecisionLinear& linear) {
  std::vector<std::string> names;
  for (const PrecisionCandidate& candidate : linear.candidates) {
    names.push_back(layer_choice_text(candidate.choice));
  }
  return names;
}

std::string message_of(const std::string& yaml) {
  const auto problem = problem_of(recipe_with(yaml));
  return problem ? "accepted" : problem.error().message;
}

// Every candidate's loss is its relative error of codes, every KL `kl` at the first.
std::vector<LinearSensitivity> sensitivities(const PrecisionProblem& problem, double kl) {
  std::vector<LinearSensitivity> all;
  for (const PrecisionLinear& linear : problem.linears) {
    LinearSensitivity& one = all.emplace_back();
    for (std::size_t c = 0; c < linear.candidates.size(); ++c) {
      const bool last = c + 1 == linear.candidates.size();
      one.losses.push_back(last ? 0.01 : 1.0 + 0.2 * static_cast<double>(c));
      one.kl.emplace_back();
    }
    one.kl.front() = kl;
  }
  return all;
}

constexpr char kTarget[] = "{weights: w4g32, symmetric: true, target_bpw: 5}";

TEST(PrecisionProblem, OffersCoarserGroupsAndEightBitsOnceEach) {
  const auto problem = problem_of(recipe_with(kTarget));
  ASSERT_TRUE(problem) << problem.error().message;
  ASSERT_EQ(problem->linears.size(), 14U);
  // 64 inputs: a group of 64 is the channel. 96 inputs: one of 128 is.
  EXPECT_EQ(problem->linears[0].module, "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(names_of(problem->linears[0]),
            (std::vector<std::string>{"w4g32-sym-a8t", "w4c-sym-a8t", "w8c-sym-a8t"}));
  EXPECT_EQ(problem->linears[6].module, "model.layers.0.mlp.down_proj");
  EXPECT_EQ(
      names_of(problem->linears[6]),
      (std::vector<std::string>{"w4g32-sym-a8t", "w4g64-sym-a8t", "w4c-sym-a8t", "w8c-sym-a8t"}));
}

TEST(PrecisionProblem, KeepsSymmetryAndActivationsOfTheRecipe) {
  const auto problem = problem_of(recipe_with("{weights: w4g32, activations: a16, target_bpw: 5}"));
  ASSERT_TRUE(problem);
  EXPECT_EQ(names_of(problem->linears[0]),
            (std::vector<std::string>{"w4g32-asym-a16", "w4c-asym-a16", "w8c-sym-a16"}));
}

TEST(PrecisionProblem, CountsBitsAsThePlanDoes) {
  const Recipe recipe = recipe_with(
      "{weights: w4g32, target_bpw: 7, overrides: [{match: layers.0.mlp.up, scheme: bf16}]}");
  const auto problem = problem_of(recipe);
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->linears.size(), 13U);
  EXPECT_EQ(problem->fixed_bits, 16U * 96 * 64);
  const auto checkpoint = memory_checkpoint(make_tiny_model());
  for (std::size_t c = 0; c < 3; ++c) {
    ChosenSchemes schemes;
    std::uint64_t bits = problem->fixed_bits;
    for (const PrecisionLinear& linear : problem->linears) {
      schemes[linear.module] = linear.candidates[c].choice;
      bits += linear.candidates[c].bits;
    }
    const auto plan = make_plan(recipe, *checkpoint, {}, schemes);
    ASSERT_TRUE(plan);
    EXPECT_DOUBLE_EQ(plan->linear_bits_per_weight,
                     static_cast<double>(bits) / static_cast<double>(problem->weights));
  }
}

TEST(PrecisionProblem, NamesWhatTheSchemesCanTake) {
  EXPECT_EQ(message_of("{weights: w4g32, symmetric: true, target_bpw: 4}"),
            "target_bpw 4: expected 4.2625 to 8.2333 bits per weight, which the cheapest and the "
            "dearest schemes of this model's linears take");
  EXPECT_EQ(message_of("{weights: w4g32, symmetric: true, target_bpw: 8.5}"),
            "target_bpw 8.5: expected 4.2625 to 8.2333 bits per weight, which the cheapest and the "
            "dearest schemes of this model's linears take");
  EXPECT_EQ(message_of("{weights: w4g32, symmetric: true, target_bpw: 4.2625}"), "accepted");
  EXPECT_EQ(message_of("{weights: w4g32, symmetric: true, target_bpw: 8.2333}"), "accepted");
}

TEST(PrecisionProblem, NeedsLinearsToChooseFor) {
  EXPECT_EQ(message_of("{weights: nf4, target_bpw: 5}"),
            "target_bpw: expected linears with integer weights, got nf4b64-dq");
  EXPECT_EQ(message_of("{weights: w4g32, target_bpw: 5, overrides: [{match: proj, scheme: w8c}]}"),
            "target_bpw 5: expected linears whose scheme is to be chosen, and overrides decide on "
            "all of them");
}

TEST(FitKl, ScalesWithTheOutputLossWhereOneWasMeasured) {
  const KlModel kl = fit_kl({{2.0, 4.0, 0.02}, {0.1, std::nullopt, std::nullopt}});
  EXPECT_DOUBLE_EQ(kl.activations, 0.0);
  EXPECT_DOUBLE_EQ(kl.at(4.0), 0.2);
  EXPECT_DOUBLE_EQ(kl.at(0.02), 0.001);
}

TEST(FitKl, SetsApartWhatActivationsCost) {
  const KlModel kl = fit_kl({{2.0, 4.0, 0.5}, {0.11, std::nullopt, 0.035}});
  EXPECT_NEAR(kl.activations, 0.01, 1e-12);
  EXPECT_NEAR(kl.at(4.0), 0.21, 1e-12);
}

TEST(FitKl, NeverFallsBelowZeroNorWithTheLoss) {
  // Eight bits measured better than the loss says: nothing is left for activations.
  const KlModel steep = fit_kl({{2.0, 0.5}, {0.2, 0.01}});
  EXPECT_DOUBLE_EQ(steep.activations, 0.0);
  EXPECT_DOUBLE_EQ(steep.at(2.0), 0.2);
  // Measured worse than 4 bits: all of it is the activations'.
  const KlModel flat = fit_kl({{2.0, 0.5}, {0.1, 0.3}});
  EXPECT_DOUBLE_EQ(flat.at(2.0), 0.1);
  EXPECT_DOUBLE_EQ(flat.at(0.5), 0.1);
  // Weights that rounding does not change.
  EXPECT_DOUBLE_EQ(fit_kl({{0.0, 0.0}, {0.0, std::nullopt}}).at(0.0), 0.0);
}

TEST(DecidePrecision, GivesEightBitsToTheSensitiveLinear) {
  const auto problem = problem_of(recipe_with(kTarget));
  ASSERT_TRUE(problem);
  std::vector<LinearSensitivity> known = sensitivities(*problem, 1e-3);
  known[8].kl.front() = 0.5;
  const PrecisionDecision decision = decide_precision(*problem, known);
  EXPECT_EQ(layer_choice_text(decision.schemes.at(problem->linears[8].module)), "w8c-sym-a8t");
  EXPECT_EQ(decision.schemes.size(), problem->linears.size());
  EXPECT_TRUE(decision.warnings.empty());
  EXPECT_EQ(decision.report["linears"][8]["choice"], "w8c-sym-a8t");
}

TEST(DecidePrecision, UsesTheBudgetUpToOneLinear) {
  for (const char* target : {"4.3", "4.5", "5", "6.1", "8.2"}) {
    const auto problem = problem_of(
        recipe_with(std::string("{weights: w4g32, symmetric: true, target_bpw: ") + target + "}"));
    ASSERT_TRUE(problem);
    const PrecisionDecision decision = decide_precision(*problem, sensitivities(*problem, 1e-3));
    const auto used = decision.report["bits_per_weight"].get<double>();
    EXPECT_LE(used, problem->target_bpw);
    std::uint64_t step = 0;  // of the largest linear, from the cheapest to the dearest
    for (const PrecisionLinear& linear : problem->linears) {
      step = std::max(step, linear.candidates.back().bits - linear.candidates[1].bits);
    }
    EXPECT_GT(used, problem->target_bpw -
                        static_cast<double>(step) / static_cast<double>(problem->weights));
  }
}

TEST(DecidePrecision, NamesLinearsThatEightBitActivationsHurt) {
  const auto problem = problem_of(recipe_with(kTarget));
  ASSERT_TRUE(problem);
  std::vector<LinearSensitivity> known = sensitivities(*problem, 2e-3);
  for (LinearSensitivity& one : known) one.kl.back() = 1e-4;
  known[13].kl.front() = 0.1;
  known[13].kl.back() = 0.05;
  const PrecisionDecision decision = decide_precision(*problem, known);
  ASSERT_EQ(decision.warnings.size(), 1U);
  EXPECT_EQ(decision.warnings[0],
            "8-bit activations alone cost more than 10 times the median KL divergence of 8.08e-05 "
            "at model.layers.1.mlp.down_proj (4.95e-02). --massive-inputs a16 keeps theirs in "
            "floating point, and --rotate-down hadamard spreads those of down_proj");
  EXPECT_EQ(decision.report["massive_inputs"]["linears"],
            Json::array({"model.layers.1.mlp.down_proj"}));
  EXPECT_EQ(decision.report["massive_inputs"]["activations"], "a8");
  EXPECT_TRUE(decision.schemes.at("model.layers.1.mlp.down_proj").scheme.activations);
}

TEST(DecidePrecision, KeepsMassiveInputsInFloatingPointWhereAskedTo) {
  const std::string target = kTarget;
  const std::string guarded = target.substr(0, target.size() - 1) + ", massive_inputs: a16}";
  const auto plain = problem_of(recipe_with(target));
  const auto problem = problem_of(recipe_with(guarded));
  ASSERT_TRUE(problem);
  std::vector<LinearSensitivity> known = sensitivities(*problem, 2e-3);
  for (LinearSensitivity& one : known) one.kl.back() = 1e-4;
  known[13].kl.front() = 0.1;
  known[13].kl.back() = 0.05;
  const PrecisionDecision without = decide_precision(*plain, known);
  const PrecisionDecision decision = decide_precision(*problem, known);
  const std::string massive = "model.layers.1.mlp.down_proj";
  for (const auto& [module, choice] : decision.schemes) {
    EXPECT_EQ(choice.scheme.activations.has_value(), module != massive) << module;
    EXPECT_EQ(choice.scheme.weights, without.schemes.at(module).scheme.weights) << module;
  }
  EXPECT_EQ(decision.report["linears"][13]["choice"], "w8c-sym-a16");
  EXPECT_EQ(decision.report["massive_inputs"]["activations"], "a16");
  EXPECT_EQ(decision.report["massive_inputs"]["times_median"], 10);
  EXPECT_EQ(decision.report["bits_per_weight"], without.report["bits_per_weight"]);
  EXPECT_NEAR(without.report["kl_sum"].get<double>() - decision.report["kl_sum"].get<double>(),
              decision.report["linears"][13]["activations_kl"].get<double>(), 1e-12);
  ASSERT_EQ(decision.warnings.size(), 1U);
  EXPECT_NE(decision.warnings[0].find("Their inputs stay in floating point (massive_inputs: a16)"),
            std::string::npos);
}

TEST(Sensitivities, AreReadBackAsTheyWereSaved) {
  const auto problem = problem_of(recipe_with(kTarget));
  ASSERT_TRUE(problem);
  std::vector<LinearSensitivity> known = sensitivities(*problem, 1.0 / 3);
  known.resize(7);
  const Json json = sensitivities_json(*problem, known);
  const auto again = parse_sensitivities(*problem, *parse_json(json.dump(), "text"), "s.json");
  ASSERT_TRUE(again) << again.error().message;
  ASSERT_EQ(again->size(), 7U);
  for (std::size_t i = 0; i < 7; ++i) {
    EXPECT_EQ((*again)[i].losses, known[i].losses);
    EXPECT_EQ((*again)[i].kl, known[i].kl);
  }
}

TEST(Sensitivities, OfAnotherModelOrOfHalfABlockAreRejected) {
  const auto problem = problem_of(recipe_with(kTarget));
  ASSERT_TRUE(problem);
  std::vector<LinearSensitivity> known = sensitivities(*problem, 0.1);
  known.resize(7);
  const Json good = sensitivities_json(*problem, known);
  const auto message = [&](const Json& json) {
    const auto parsed = parse_sensitivities(*problem, json, "s.json");
    return parsed ? "accepted" : parsed.error().message;
  };
  const std::string expected =
      "s.json: expected the sensitivities of this model's linears. Begin again with --overwrite";
  EXPECT_EQ(message(Json::array()), expected);
  Json json = good;
  json["linears"][3]["module"] = "lm_head";
  EXPECT_EQ(message(json), expected);
  json = good;
  json["linears"][3]["losses"].push_back(1.0);
  EXPECT_EQ(message(json), expected);
  json = good;
  json["linears"][3]["kl"][0] = nullptr;
  EXPECT_EQ(message(json), expected);
  json = good;
  json["linears"].erase(6);
  EXPECT_EQ(message(json), expected);
  EXPECT_EQ(message(good), "accepted");
}

}  // namespace
}  // namespace fptq::quantize
