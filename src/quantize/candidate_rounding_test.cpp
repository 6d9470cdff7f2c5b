#include "quantize/candidate_rounding.h"

#include <gtest/gtest.h>

#include <limits>

#include "algo/output_loss.h"
#include "base/rng.h"
#include "quantize/test_tensors.h"

namespace fptq::quantize {
namespace {

constexpr std::size_t kRows = 24;
constexpr std::size_t kWidth = 64;
constexpr std::size_t kTokens = 700;

// Correlated inputs: each is mostly the one before.
std::vector<float> correlated_inputs() {
  Rng rng(2);
  std::vector<float> x(kTokens * kWidth);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float before = i % kWidth == 0 ? 0.0f : x[i - 1];
    x[i] = 0.9f * before + static_cast<float>(rng.normal());
  }
  return x;
}

Recipe recipe_with(algo::Rounding rounding) {
  Recipe recipe = *builtin_recipe("rtn");
  recipe.rounding = rounding;
  return recipe;
}

double loss_of(algo::Rounding rounding, const QuantArgs& args) {
  ThreadPool pool(2);
  const std::vector<float> x = correlated_inputs();
  const std::vector<float> weights = random_weights(kRows * kWidth, 1);
  const Recipe recipe = recipe_with(rounding);
  const auto rounder = CandidateRounder::make(recipe, x, kWidth, pool);
  EXPECT_TRUE(rounder);
  const auto matrix = rounder->round(weights, {kRows, kWidth}, args, DType::kF16);
  EXPECT_TRUE(matrix);
  return *rounder->loss(weights, *matrix);
}

TEST(CandidateRounder, LossIsTheTraceOverTheGramMatrixPerToken) {
  ThreadPool pool(2);
  const std::vector<float> x = correlated_inputs();
  const std::vector<float> weights = random_weights(kRows * kWidth, 1);
  const QuantArgs args = int_weights(4, Strategy::kGroup, 32, true);
  const QuantizedMatrix matrix = round_to_nearest(weights, kRows, kWidth, args, DType::kF16);
  algo::MomentAccumulator sums(kWidth, false, best_isa());
  sums.add(x.data(), nullptr, kTokens, pool);
  const algo::InputMoments moments = sums.finish(pool);
  const double expected = algo::output_loss(weights, moments, matrix, best_isa(), pool) / kTokens;
  EXPECT_NEAR(loss_of(algo::Rounding::kNearest, args), expected, 1e-4 * expected);
}

TEST(CandidateRounder, RoundsByTheMethodOfTheRecipe) {
  const QuantArgs args = int_weights(4, Strategy::kGroup, 32, true);
  EXPECT_LT(loss_of(algo::Rounding::kGptq, args), 0.6 * loss_of(algo::Rounding::kNearest, args));
  const QuantArgs coarse = int_weights(4, Strategy::kChannel, 0, true);
  EXPECT_GT(loss_of(algo::Rounding::kGptq, coarse), loss_of(algo::Rounding::kGptq, args));
}

TEST(CandidateRounder, RejectsInputsThatAreNotFinite) {
  ThreadPool pool(1);
  std::vector<float> x = correlated_inputs();
  x[77] = std::numeric_limits<float>::infinity();
  const Recipe recipe = recipe_with(algo::Rounding::kGptq);
  const auto rounder = CandidateRounder::make(recipe, x, kWidth, pool);
  ASSERT_FALSE(rounder);
  EXPECT_EQ(rounder.error().kind, Error::Kind::kFormat);
}

}  // namespace
}  // namespace fptq::quantize
