#include "eval/verdict_sentence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace fptq::eval {
namespace {

// A difference as it is told: its size, and its interval with the sign that makes the size
// positive.
struct Told {
  double size;
  std::optional<Interval> interval;
  std::string before;  // "a factor of "
  std::string unit;    // " points"
};

// Digits after the point that show two digits of `precision`.
int decimals_for(double precision) {
  if (!(precision > 0.0)) return 2;
  return std::clamp(1 - static_cast<int>(std::floor(std::log10(precision))), 0, 6);
}

template <typename Scale>
Told tell(const Verdict& verdict, const Scale& scale, std::string before, std::string unit) {
  Told told{scale(*verdict.difference), std::nullopt, std::move(before), std::move(unit)};
  if (verdict.interval) {
    const auto [low, high] =
        std::minmax({scale(verdict.interval->low), scale(verdict.interval->high)});
    told.interval = {low, high};
  }
  return told;
}

Told tell(const Verdict& verdict) {
  const double sign = *verdict.difference < 0.0 ? -1.0 : 1.0;
  if (verdict.kind == VerdictKind::kAccuracy) {
    return tell(
        verdict, [&](double d) { return 100.0 * sign * d; }, "", " points");
  }
  if (verdict.kind == VerdictKind::kDivergence) {
    return tell(
        verdict, [&](double d) { return sign * d; }, "", " nats");
  }
  if (std::abs(*verdict.difference) > std::log(2.0)) {
    return tell(
        verdict, [&](double d) { return std::exp(sign * d); }, "a factor of ", "");
  }
  return tell(
      verdict, [&](double d) { return 100.0 * sign * std::expm1(d); }, "", " %");
}

// Without an interval: two significant digits.
std::string size_text(const Told& told) {
  std::string number = "less than 0.0001";
  if (told.size >= 99.5) {
    number = fmt::format("{:.0f}", told.size);
  } else if (told.size >= 1e-4) {
    number = fmt::format("{:.2g}", told.size);
  }
  return told.before + number + told.unit;
}

std::string difference_text(const Told& told) {
  if (!told.interval) return size_text(told);
  const auto [low, high] = *told.interval;
  const int decimals = decimals_for((high - low) / 2.0);
  return fmt::format("{}{:.{}f}{} (95 %: {:.{}f} to {:.{}f})", told.before, told.size, decimals,
                     told.unit, low, decimals, high, decimals);
}

std::string p_text(const Verdict& verdict) {
  const double p = *verdict.p_holm;
  std::string text;
  if (p < 1e-4) {
    text = "p < 0.0001";
  } else if (p >= 0.995) {
    text = "p = 1";
  } else if (p >= 0.1) {
    text = fmt::format("p = {:.2f}", p);
  } else if (p > 0.045 && p < 0.055) {
    text = fmt::format("p = {:.4f}", p);  // two digits would not tell its side of 0.05
  } else {
    text = fmt::format("p = {:.2g}", p);
  }
  if (verdict.comparisons > 1)
    text += fmt::format(" by Holm for {} comparisons", verdict.comparisons);
  return text;
}

// "6 200"
std::string grouped(std::size_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t end = digits.size(); end > 3; end -= 3) digits.insert(end - 3, " ");
  return digits;
}

std::string units_text(const Verdict& verdict) {
  return grouped(verdict.n) + " " + verdict.unit + (verdict.n == 1 ? "" : "s");
}

// Rounded up to two significant digits.
std::string needed_text(double needed) {
  if (!(needed <= 1e9)) return "more than a billion";
  const double unit = std::pow(10.0, std::max(0.0, std::floor(std::log10(needed)) - 1.0));
  return "about " + grouped(static_cast<std::size_t>(std::ceil(needed / unit) * unit));
}

std::string unchanged_text(const Verdict& verdict) {
  if (verdict.kind != VerdictKind::kAccuracy) {
    return fmt::format("the same in every {} ({})", verdict.unit, units_text(verdict));
  }
  return (verdict.identical ? "the same answer to every document ("
                            : "right and wrong on the same documents (") +
         units_text(verdict) + ")";
}

bool is_unchanged(const Verdict& verdict) {
  if (verdict.kind != VerdictKind::kAccuracy) return verdict.identical;
  return verdict.won.empty() && verdict.lost.empty();
}

}  // namespace

std::string verdict_sentence(const Verdict& verdict) {
  if (!verdict.reason.empty()) return "no verdict: " + verdict.reason;
  if (is_unchanged(verdict)) return unchanged_text(verdict);
  const Told told = tell(verdict);
  const std::string direction = *verdict.difference < 0.0 ? "lower by " : "higher by ";
  if (!verdict.p_holm) {
    return fmt::format("{}{}, but {} {} too few to tell it from chance (at least {})", direction,
                       size_text(told), units_text(verdict), verdict.n == 1 ? "is" : "are",
                       kFewestClusters);
  }
  const std::string p = p_text(verdict);
  if (*verdict.distinguishable) {
    return direction + difference_text(told) + ", " + p + ", " + units_text(verdict);
  }
  std::string text =
      fmt::format("not distinguishable at this sample size ({}, {})", units_text(verdict), p);
  // With few units and many comparisons the approximation can ask for fewer than did not suffice.
  if (verdict.needed && *verdict.needed > static_cast<double>(verdict.n)) {
    text += fmt::format("; {} would settle a difference of {}", needed_text(*verdict.needed),
                        size_text(told));
  }
  return text;
}

}  // namespace fptq::eval
