#include "eval/paired.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "base/check.h"

namespace fptq::eval {
namespace {

constexpr double kPower = 0.8;

double choose_log(double n, double k) {
  return std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0);
}

// Tango's score statistic of the hypothesis that the difference is d.
double tango_score(double won, double lost, double documents, double d) {
  const double numerator = won - lost - documents * d;
  // Most likely probability q of losing a document where that of winning one is q + d: the larger
  // root of 2n q^2 + b q + c = 0.
  const double b = -won - lost + (2.0 * documents - won + lost) * d;
  const double c = -lost * d * (1.0 - d);
  const double root = std::sqrt(std::max(0.0, b * b - 8.0 * documents * c));
  const double q = std::max(0.0, (root - b) / (4.0 * documents));
  const double variance = documents * (2.0 * q + d * (1.0 - d));
  if (numerator == 0.0) return 0.0;
  if (variance <= 0.0) return std::copysign(std::numeric_limits<double>::infinity(), numerator);
  return numerator / std::sqrt(variance);
}

// The largest d for which candidates up to d are not rejected: the score falls as d grows.
double tango_upper(const PairedAnswers& answers) {
  const auto won = static_cast<double>(answers.won);
  const auto lost = static_cast<double>(answers.lost);
  const auto documents = static_cast<double>(answers.documents);
  const double limit = -normal_quantile(0.975);
  double low = answers.difference();
  double high = 1.0;
  while (high - low > 1e-12) {
    const double middle = (low + high) / 2.0;
    (tango_score(won, lost, documents, middle) >= limit ? low : high) = middle;
  }
  return (low + high) / 2.0;
}

}  // namespace

double PairedAnswers::difference() const {
  FPTQ_CHECK(documents >= 1 && won + lost <= documents, "answers to at least one document");
  return (static_cast<double>(won) - static_cast<double>(lost)) / static_cast<double>(documents);
}

double mcnemar_p(std::size_t won, std::size_t lost) {
  if (won == lost) return 1.0;
  const auto n = static_cast<double>(won + lost);
  const auto fewer = static_cast<double>(std::min(won, lost));
  // Relative to the largest term, from which each smaller one follows: C(n, k - 1) = C(n, k) *
  // k / (n - k + 1).
  double term = 1.0;
  double sum = 1.0;
  for (double k = fewer; k >= 1.0; k -= 1.0) {
    term *= k / (n - k + 1.0);
    sum += term;
  }
  const double log_largest = choose_log(n, fewer) - n * std::numbers::ln2;
  return std::min(1.0, 2.0 * std::exp(log_largest) * sum);
}

Interval tango_interval(const PairedAnswers& answers) {
  const PairedAnswers reversed{answers.documents, answers.lost, answers.won};
  return {-tango_upper(reversed), tango_upper(answers)};
}

std::optional<double> documents_to_settle(const PairedAnswers& answers, double level) {
  const double d = answers.difference();
  if (d == 0.0) return std::nullopt;
  const double changed =
      static_cast<double>(answers.won + answers.lost) / static_cast<double>(answers.documents);
  const double root = normal_quantile(1.0 - level / 2.0) * std::sqrt(changed) +
                      normal_quantile(kPower) * std::sqrt(std::max(0.0, changed - d * d));
  const double fewest_changed = std::ceil(1.0 - std::log2(level));
  return std::max(root * root / (d * d), fewest_changed / changed);
}

std::optional<double> values_to_settle(double difference, double deviation, double level) {
  if (difference == 0.0) return std::nullopt;
  const double root =
      (normal_quantile(1.0 - level / 2.0) + normal_quantile(kPower)) * deviation / difference;
  return root * root;
}

std::vector<double> holm_adjusted(std::span<const double> p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return p[a] < p[b]; });
  std::vector<double> adjusted(p.size());
  double largest = 0.0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto factor = static_cast<double>(p.size() - i);
    largest = std::max(largest, std::min(1.0, factor * p[order[i]]));
    adjusted[order[i]] = largest;
  }
  return adjusted;
}

}  // namespace fptq::eval
