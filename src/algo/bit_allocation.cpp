#include "algo/bit_allocation.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "base/check.h"

namespace fptq::algo {
namespace {

// From one option of a matrix to a dearer one with less loss.
struct Step {
  std::size_t item;
  std::size_t to;      // option
  std::uint64_t bits;  // more, at least 1
  double saved;        // loss, above 0

  [[nodiscard]] double ratio() const { return saved / static_cast<double>(bits); }
};

// a saves more per bit than b; of equals the one of the earlier matrix.
bool better(const Step& a, const Step& b) {
  if (a.ratio() != b.ratio()) return a.ratio() > b.ratio();
  return a.item < b.item;
}

std::optional<Step> step_between(std::span<const BitOption> options, std::size_t item,
                                 std::size_t from, std::size_t to) {
  if (options[to].bits <= options[from].bits || options[to].loss >= options[from].loss) return {};
  return Step{item, to, options[to].bits - options[from].bits,
              options[from].loss - options[to].loss};
}

// The option of the fewest bits; of several the one with the least loss.
std::size_t cheapest(std::span<const BitOption> options) {
  const auto found =
      std::min_element(options.begin(), options.end(), [](const BitOption& a, const BitOption& b) {
        return a.bits != b.bits ? a.bits < b.bits : a.loss < b.loss;
      });
  return static_cast<std::size_t>(found - options.begin());
}

// The steps up the lower convex hull, in their order: from each corner to the option with the best
// ratio, of equal ratios the farthest.
std::vector<Step> hull_steps(std::span<const BitOption> options, std::size_t item) {
  std::vector<Step> steps;
  std::size_t from = cheapest(options);
  for (;;) {
    std::optional<Step> best;
    for (std::size_t to = 0; to < options.size(); ++to) {
      const std::optional<Step> step = step_between(options, item, from, to);
      if (!step) continue;
      if (!best || step->ratio() > best->ratio() ||
          (step->ratio() == best->ratio() && step->bits > best->bits)) {
        best = step;
      }
    }
    if (!best) return steps;
    from = best->to;
    steps.push_back(*best);
  }
}

}  // namespace

BitRange bit_range(std::span<const std::vector<BitOption>> items) {
  BitRange range{0, 0};
  for (const std::vector<BitOption>& options : items) {
    FPTQ_CHECK(!options.empty(), "every matrix has an option");
    const auto [least, most] =
        std::minmax_element(options.begin(), options.end(),
                            [](const BitOption& a, const BitOption& b) { return a.bits < b.bits; });
    range.least += least->bits;
    range.most += most->bits;
  }
  return range;
}

std::vector<std::size_t> allocate_bits(std::span<const std::vector<BitOption>> items,
                                       std::uint64_t budget_bits) {
  FPTQ_CHECK(bit_range(items).least <= budget_bits, "the budget holds the cheapest options");
  std::vector<std::size_t> choice;
  std::vector<Step> steps;
  std::uint64_t left = budget_bits;
  for (std::size_t i = 0; i < items.size(); ++i) {
    for (const BitOption& option : items[i]) {
      FPTQ_CHECK(std::isfinite(option.loss), "losses are finite");
    }
    choice.push_back(cheapest(items[i]));
    left -= items[i][choice[i]].bits;
    const std::vector<Step> climb = hull_steps(items[i], i);
    steps.insert(steps.end(), climb.begin(), climb.end());
  }
  // A matrix's own steps stay in their order: their ratios fall, and equal ones are one step,
  // except where rounding makes two of them equal, whose order a stable sort keeps.
  std::stable_sort(steps.begin(), steps.end(), better);
  for (const Step& step : steps) {
    if (step.bits > left) break;
    left -= step.bits;
    choice[step.item] = step.to;
  }
  for (;;) {
    std::optional<Step> best;
    for (std::size_t i = 0; i < items.size(); ++i) {
      for (std::size_t to = 0; to < items[i].size(); ++to) {
        const std::optional<Step> step = step_between(items[i], i, choice[i], to);
        if (step && step->bits <= left && (!best || better(*step, *best))) best = step;
      }
    }
    if (!best) return choice;
    left -= best->bits;
    choice[best->item] = best->to;
  }
}

}  // namespace fptq::algo
