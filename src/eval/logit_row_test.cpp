#include "eval/logit_row.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "base/cpu.h"
#include "base/rng.h"
#include "eval/softmax.h"

namespace fptq::eval {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_logits(Rng& random, std::size_t count, double spread) {
  std::vector<float> logits(count);
  for (float& logit : logits) logit = static_cast<float>(spread * random.normal());
  return logits;
}

LogitRow look(const std::vector<float>& logits, Isa isa = best_isa()) {
  return look_at_row(logits, ops::Exp(isa));
}

double nll_of(std::span<const float> logits, text::TokenId target) {
  return negative_log_likelihood(logits, target, ops::Exp(best_isa()));
}

TEST(LogitRow, StaysWithinTheBoundOfItsComment) {
  Rng random(17);
  for (const std::size_t count : {1U, 2U, 15U, 16U, 17U, 1023U, 1024U, 1025U, 4096U, 49152U}) {
    for (const double spread : {0.0, 0.1, 3.0, 30.0}) {
      const std::vector<float> logits = random_logits(random, count, spread);
      const double bound = std::ldexp(2.2 + std::log(static_cast<double>(count)), -24);
      EXPECT_NEAR(look(logits).norm, log_sum_exp(logits), bound) << count << " of " << spread;
    }
  }
}

TEST(LogitRow, FindsTheMostProbableTokenWhereverItIs) {
  Rng random(18);
  for (const std::size_t count : {1U, 15U, 16U, 17U, 1024U, 1030U, 3000U}) {
    for (std::size_t at = 0; at < count; at += 1 + count / 50) {
      std::vector<float> logits = random_logits(random, count, 1.0);
      logits[at] = 9.0f;
      EXPECT_EQ(look(logits).top, static_cast<text::TokenId>(at));
      logits[count - 1] = 9.0f;  // of equals the first
      EXPECT_EQ(look(logits).top, static_cast<text::TokenId>(at));
    }
  }
  EXPECT_EQ(look({-kInfinity, -3.0f, -kInfinity}).top, 1);
  EXPECT_EQ(look({-kInfinity, -kInfinity}).top, 0);
}

TEST(LogitRow, HasTheSameBitsForEveryInstructionSet) {
  Rng random(19);
  const std::vector<float> logits = random_logits(random, 5000, 4.0);
  EXPECT_EQ(look(logits, Isa::kScalar).norm, look(logits).norm);
}

TEST(LogitRow, DoesNotOverflowNorUnderflow) {
  EXPECT_EQ(look({1e30f, 0.0f}).norm, static_cast<double>(1e30f));
  EXPECT_NEAR(look({-1000.0f, -1000.0f}).norm, -1000.0 + std::log(2.0), 1e-12);
  EXPECT_DOUBLE_EQ(look({1.5f, -kInfinity}).norm, 1.5);
}

TEST(LogitRow, IsNotANumberWhereALogitIsNone) {
  std::vector<float> logits(2000, 1.0f);
  logits[1500] = kNan;
  EXPECT_TRUE(std::isnan(look(logits).norm));
  logits[1500] = kInfinity;
  EXPECT_TRUE(std::isnan(look(logits).norm));
  EXPECT_TRUE(std::isnan(look({kNan, kNan}).norm));
  EXPECT_TRUE(std::isnan(look({-kInfinity, -kInfinity}).norm));
}

TEST(NegativeLogLikelihood, IsLogOfTheVocabularyForEqualLogits) {
  const std::array<float, 4> logits = {3.0f, 3.0f, 3.0f, 3.0f};
  EXPECT_DOUBLE_EQ(nll_of(logits, 2), std::log(4.0));
}

TEST(NegativeLogLikelihood, DoesNotOverflowNorUnderflow) {
  const std::array<float, 2> large = {1e30f, 0.0f};
  EXPECT_EQ(nll_of(large, 0), 0.0);
  EXPECT_DOUBLE_EQ(nll_of(large, 1), static_cast<double>(1e30f));
  const std::array<float, 2> small = {-1000.0f, -1000.0f};
  EXPECT_NEAR(nll_of(small, 0), std::log(2.0), 1e-12);
}

TEST(NegativeLogLikelihood, GivesAMaskedTokenNoProbability) {
  const std::array<float, 2> logits = {0.0f, -kInfinity};
  EXPECT_EQ(nll_of(logits, 0), 0.0);
  EXPECT_EQ(nll_of(logits, 1), std::numeric_limits<double>::infinity());
}

TEST(NegativeLogLikelihood, IsNotANumberWhereALogitIsNone) {
  EXPECT_TRUE(std::isnan(nll_of(std::array{0.0f, std::nanf("")}, 0)));
  EXPECT_TRUE(std::isnan(nll_of(std::array{std::nanf(""), 0.0f}, 1)));
  EXPECT_TRUE(std::isnan(nll_of(std::array{kInfinity, 0.0f}, 1)));
}

}  // namespace
}  // namespace fptq::eval
