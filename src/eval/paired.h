// Whether two models differ by more than chance on the same documents: statistics of numbers, which
// know nothing of models.

#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "eval/statistics.h"

namespace fptq::eval {

// Answers of two models to the same documents. All others got the same judgement from both.
struct PairedAnswers {
  std::size_t documents;  // n, at least 1
  std::size_t won;        // wrong by the baseline, right by the candidate
  std::size_t lost;       // right by the baseline, wrong by the candidate; won + lost <= n

  // Difference of accuracies, candidate's less baseline's: (won - lost) / n.
  [[nodiscard]] double difference() const;
};

// p of the exact test that a document which changed was as likely won as lost, two-sided:
//
//   p = min(1, 2 * sum_{k <= min(won, lost)} C(won + lost, k) / 2^(won + lost))
//
// 1 where nothing changed; 0 where it is below the smallest double. Documents on which both agree
// say nothing about which model is better.
// Source: McNemar, Psychometrika 12 (1947) 153-157, with binomial in place of chi-squared tails.
[[nodiscard]] double mcnemar_p(std::size_t won, std::size_t lost);

// 95 % confidence interval of the difference of accuracies: the differences d which the score test
//
//   |won - lost - n d| <= 1.96 sqrt(n (2 q + d (1 - d)))
//
// does not reject, q the most likely probability of losing a document given d. It lies within -1..1
// and has a width even where nothing changed. At d = 0 it is McNemar's test without the exact
// tails, which rejects a little more: with few changed documents 0 may lie outside while
// mcnemar_p() is above 0.05. Source: Tango, Statistics in Medicine 17 (1998) 891-908.
[[nodiscard]] Interval tango_interval(const PairedAnswers& answers);

// Documents with which a test at `level` would find a difference of accuracies of this size with a
// power of 80 %, if the observed shares are the true ones:
//
//   n = (z_{1 - level / 2} sqrt(c) + z_{0.8} sqrt(c - d^2))^2 / d^2,
//   c = (won + lost) / documents, d = difference()
//
// but at least as many as make the exact test able to reach `level` at all, which takes
// k changed documents with 2^(1 - k) <= level: n >= k / c. Not rounded. Nothing where d = 0.
// Source: Connor, Biometrics 43 (1987) 207-211.
[[nodiscard]] std::optional<double> documents_to_settle(const PairedAnswers& answers, double level);

// The same for a mean: n = ((z_{1 - level / 2} + z_{0.8}) * deviation / difference)^2 values, whose
// standard deviation is `deviation`. Nothing where difference = 0.
[[nodiscard]] std::optional<double> values_to_settle(double difference, double deviation,
                                                     double level);

// p values of one family, adjusted so that all of them together have a chance of at most `level` of
// one false p_adjusted <= level, whatever the tests have to do with each other:
//
//   adjusted of the i-th smallest of m = max_{j <= i} min(1, (m - j + 1) * p_(j)), j from 1
//
// In the order of `p`. Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
[[nodiscard]] std::vector<double> holm_adjusted(std::span<const double> p);

}  // namespace fptq::eval
