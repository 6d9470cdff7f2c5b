#include "eval/paired.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/rng.h"

namespace fptq::eval {
namespace {

// C(n, k) in whole numbers.
std::uint64_t choose(std::uint64_t n, std::uint64_t k) {
  std::uint64_t result = 1;
  for (std::uint64_t i = 1; i <= k; ++i) result = result * (n - k + i) / i;
  return result;
}

TEST(McNemar, SumsTheBinomialTailOfThreeAndTen) {
  // C(13, 0..3) = 1, 13, 78, 286.
  EXPECT_NEAR(mcnemar_p(3, 10), 2.0 * (1 + 13 + 78 + 286) / 8192.0, 1e-14);
  EXPECT_EQ(mcnemar_p(3, 10), mcnemar_p(10, 3));
}

TEST(McNemar, MatchesSumsOfWholeNumbersForAllSmallCounts) {
  for (std::uint64_t won = 0; won <= 20; ++won) {
    for (std::uint64_t lost = 0; lost <= 20; ++lost) {
      const std::uint64_t n = won + lost;
      std::uint64_t tail = 0;
      for (std::uint64_t k = 0; k <= std::min(won, lost); ++k) tail += choose(n, k);
      const double expected = std::min(
          1.0, std::ldexp(static_cast<double>(tail), 1) / std::ldexp(1.0, static_cast<int>(n)));
      EXPECT_NEAR(mcnemar_p(won, lost), expected, 1e-12 * expected) << won << " and " << lost;
    }
  }
}

TEST(McNemar, IsSureOfNothingWhereNothingChangedOrAsMuchWasWonAsLost) {
  EXPECT_EQ(mcnemar_p(0, 0), 1.0);
  EXPECT_EQ(mcnemar_p(1, 0), 1.0);
  EXPECT_EQ(mcnemar_p(700, 700), 1.0);
}

TEST(McNemar, HoldsForThousandsOfDocuments) {
  // Chi-squared with continuity correction: (|5100 - 4900| - 1)^2 / 10000 = 3.9601, p = 0.046592.
  EXPECT_NEAR(mcnemar_p(4900, 5100), 0.046592, 2e-5);
  EXPECT_EQ(mcnemar_p(0, 20000), 0.0);
}

// The most likely probability of losing given d, by a search over a fine grid that knows no
// formula, and Tango's statistic from it.
double tango_score_by_search(double won, double lost, double n, double d) {
  double best_q = 0.0;
  double best = -1e300;
  const double first = std::max(0.0, -d);
  const double last = (1.0 - d) / 2.0;
  constexpr int kSteps = 200000;
  for (int i = 1; i < kSteps; ++i) {
    const double q = first + (last - first) * i / kSteps;
    const double log_likelihood =
        won * std::log(q + d) + lost * std::log(q) + (n - won - lost) * std::log(1.0 - 2.0 * q - d);
    if (log_likelihood > best) {
      best = log_likelihood;
      best_q = q;
    }
  }
  return (won - lost - n * d) / std::sqrt(n * (2.0 * best_q + d * (1.0 - d)));
}

TEST(TangoInterval, EndsWhereTheScoreTestBeginsToReject) {
  const std::vector<PairedAnswers> cases = {{100, 3, 10}, {500, 40, 49}, {60, 1, 6}, {30, 9, 5}};
  for (const PairedAnswers& answers : cases) {
    const Interval interval = tango_interval(answers);
    const auto score = [&](double d) {
      return tango_score_by_search(static_cast<double>(answers.won),
                                   static_cast<double>(answers.lost),
                                   static_cast<double>(answers.documents), d);
    };
    EXPECT_NEAR(score(interval.low), 1.959964, 2e-4) << answers.documents;
    EXPECT_NEAR(score(interval.high), -1.959964, 2e-4) << answers.documents;
    EXPECT_LT(interval.low, answers.difference());
    EXPECT_GT(interval.high, answers.difference());
  }
}

// Bentur et al. (2009): of 21 children 1 changed one way, 7 the other. Fagerland, Lydersen and
// Laake, Statistics in Medicine 33 (2014) 2850-2875, give Tango's interval as -0.517 to -0.026.
TEST(TangoInterval, MatchesAPublishedExample) {
  const Interval interval = tango_interval({21, 1, 7});
  EXPECT_NEAR(interval.low, -0.517, 5e-4);
  EXPECT_NEAR(interval.high, -0.026, 5e-4);
}

TEST(TangoInterval, HasAWidthWhereNothingChanged) {
  // At q = 0 the score is -sqrt(n d / (1 - d)), which ends at d = z^2 / (n + z^2).
  const double squared = 1.959963984540054 * 1.959963984540054;
  const Interval interval = tango_interval({200, 0, 0});
  EXPECT_NEAR(interval.high, squared / (200.0 + squared), 1e-9);
  EXPECT_NEAR(interval.low, -interval.high, 1e-12);
}

TEST(TangoInterval, StaysWithinThePossibleDifferences) {
  for (const PairedAnswers& answers : {PairedAnswers{1, 0, 1}, PairedAnswers{1, 1, 0},
                                       PairedAnswers{7, 7, 0}, PairedAnswers{10000, 0, 10000}}) {
    const Interval interval = tango_interval(answers);
    EXPECT_GE(interval.low, -1.0);
    EXPECT_LE(interval.high, 1.0);
    EXPECT_LE(interval.low, answers.difference() + 1e-9);
    EXPECT_GE(interval.high, answers.difference() - 1e-9);
  }
}

TEST(TangoInterval, CoversTheTruthInAboutNineteenOfTwentyRuns) {
  Rng rng(11);
  constexpr double kWon = 0.05;
  constexpr double kLost = 0.08;
  int covered = 0;
  for (int run = 0; run < 1000; ++run) {
    PairedAnswers answers{400, 0, 0};
    for (std::size_t i = 0; i < answers.documents; ++i) {
      const double u = rng.uniform();
      if (u < kWon) {
        ++answers.won;
      } else if (u < kWon + kLost) {
        ++answers.lost;
      }
    }
    const Interval interval = tango_interval(answers);
    covered += interval.low <= kWon - kLost && kWon - kLost <= interval.high ? 1 : 0;
  }
  EXPECT_GE(covered, 930);
  EXPECT_LE(covered, 970);
}

TEST(McNemar, RejectsTheTruthInAtMostOneOfTwentyRuns) {
  Rng rng(12);
  int rejected = 0;
  for (int run = 0; run < 2000; ++run) {
    std::size_t won = 0;
    for (int i = 0; i < 80; ++i) won += rng.below(2);
    rejected += mcnemar_p(won, 80 - won) <= 0.05 ? 1 : 0;
  }
  EXPECT_LE(rejected, 120);
  EXPECT_GE(rejected, 30);
}

TEST(DocumentsToSettle, FollowsTheFormulaByHand) {
  // c = 0.1, d = -0.02: (1.959964 sqrt(0.1) + 0.841621 sqrt(0.0996))^2 / 0.0004.
  const double root = 1.959963985 * std::sqrt(0.1) + 0.841621234 * std::sqrt(0.0996);
  EXPECT_NEAR(*documents_to_settle({1000, 40, 60}, 0.05), root * root / 0.0004, 1e-3);
  // At 1 percent z is 2.575829.
  const double stricter = 2.575829304 * std::sqrt(0.1) + 0.841621234 * std::sqrt(0.0996);
  EXPECT_NEAR(*documents_to_settle({1000, 40, 60}, 0.01), stricter * stricter / 0.0004, 1e-3);
}

TEST(DocumentsToSettle, IsNothingWithoutADifference) {
  EXPECT_FALSE(documents_to_settle({100, 0, 0}, 0.05).has_value());
  EXPECT_FALSE(documents_to_settle({100, 7, 7}, 0.05).has_value());
}

TEST(DocumentsToSettle, AsksForEnoughChangesForAnExactTest) {
  // 6 changed documents, all lost: p = 2 / 2^6 = 0.031; 5 of them: 0.0625.
  EXPECT_DOUBLE_EQ(*documents_to_settle({1, 0, 1}, 0.05), 6.0);
  EXPECT_GT(mcnemar_p(0, 5), 0.05);
  EXPECT_LE(mcnemar_p(0, 6), 0.05);
}

TEST(DocumentsToSettle, HasThePowerThatItPromises) {
  // Truth: 3 percent won, 7 percent lost. The exact test finds it in about 80 of 100 runs.
  const PairedAnswers truth{1000, 30, 70};
  const auto documents = static_cast<int>(std::ceil(*documents_to_settle(truth, 0.05)));
  Rng rng(13);
  int found = 0;
  for (int run = 0; run < 1000; ++run) {
    std::size_t won = 0;
    std::size_t lost = 0;
    for (int i = 0; i < documents; ++i) {
      const double u = rng.uniform();
      if (u < 0.03) {
        ++won;
      } else if (u < 0.1) {
        ++lost;
      }
    }
    found += mcnemar_p(won, lost) <= 0.05 ? 1 : 0;
  }
  EXPECT_GE(found, 730);
  EXPECT_LE(found, 840);
}

TEST(ValuesToSettle, FollowsTheFormula) {
  EXPECT_NEAR(*values_to_settle(-0.5, 2.0, 0.05), std::pow((1.959964 + 0.841621) / 0.25, 2), 1e-3);
  EXPECT_FALSE(values_to_settle(0.0, 2.0, 0.05).has_value());
}

TEST(HolmAdjusted, MatchesAnExampleByHand) {
  // Ascending 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 = 0.02, 0.03, 0.06, 0.04 -> 0.06.
  const std::vector<double> p = {0.01, 0.04, 0.03, 0.005};
  const std::vector<double> adjusted = holm_adjusted(p);
  ASSERT_EQ(adjusted.size(), 4u);
  EXPECT_DOUBLE_EQ(adjusted[0], 0.03);
  EXPECT_DOUBLE_EQ(adjusted[1], 0.06);
  EXPECT_DOUBLE_EQ(adjusted[2], 0.06);
  EXPECT_DOUBLE_EQ(adjusted[3], 0.02);
}

TEST(HolmAdjusted, StaysAtMostOneAndLeavesASingleTestAlone) {
  const std::vector<double> several = {0.6, 1.0, 0.5};
  for (const double p : holm_adjusted(several)) EXPECT_EQ(p, 1.0);
  const std::vector<double> one = {0.03};
  EXPECT_EQ(holm_adjusted(one), one);
  EXPECT_TRUE(holm_adjusted({}).empty());
}

}  // namespace
}  // namespace fptq::eval
