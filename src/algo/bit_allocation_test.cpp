#include "algo/bit_allocation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/rng.h"

namespace fptq::algo {
namespace {

using Items = std::vector<std::vector<BitOption>>;
using Choice = std::vector<std::size_t>;

std::uint64_t bits_of(const Items& items, const Choice& choice) {
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < items.size(); ++i) bits += items[i][choice[i]].bits;
  return bits;
}

double loss_of(const Items& items, const Choice& choice) {
  double loss = 0;
  for (std::size_t i = 0; i < items.size(); ++i) loss += items[i][choice[i]].loss;
  return loss;
}

// The least loss of all choices within the budget.
double least_loss(const Items& items, std::uint64_t budget) {
  Choice choice(items.size(), 0);
  double least = std::numeric_limits<double>::infinity();
  for (;;) {
    if (bits_of(items, choice) <= budget) least = std::min(least, loss_of(items, choice));
    std::size_t i = 0;
    while (i < items.size() && ++choice[i] == items[i].size()) choice[i++] = 0;
    if (i == items.size()) return least;
  }
}

Items random_items(Rng& rng) {
  Items items(1 + rng.below(5));
  for (auto& options : items) {
    const double scale = std::exp(4 * rng.normal());
    for (std::size_t k = 1 + rng.below(5); k > 0; --k) {
      const std::uint64_t bits = 20 + rng.below(80);
      options.push_back({bits, scale * std::exp2(-0.1 * static_cast<double>(bits)) *
                                   (1 + 0.2 * rng.normal() * rng.normal())});
    }
  }
  return items;
}

TEST(BitRange, AddsUpTheCheapestAndTheDearest) {
  const Items items = {{{40, 1}, {80, 0.1}}, {{50, 2}, {45, 3}, {60, 1}}};
  EXPECT_EQ(bit_range(items).least, 85U);
  EXPECT_EQ(bit_range(items).most, 140U);
}

TEST(AllocateBits, SpendsFirstWhereABitSavesMost) {
  const Items items = {{{40, 1.0}, {80, 0.0}}, {{40, 9.0}, {80, 0.0}}, {{40, 5.0}, {80, 0.0}}};
  EXPECT_EQ(allocate_bits(items, 120), (Choice{0, 0, 0}));
  EXPECT_EQ(allocate_bits(items, 160), (Choice{0, 1, 0}));
  EXPECT_EQ(allocate_bits(items, 200), (Choice{0, 1, 1}));
  EXPECT_EQ(allocate_bits(items, 999), (Choice{1, 1, 1}));
}

TEST(AllocateBits, CountsBitsAndNotMatrices) {
  // The large matrix saves more, the small one more per bit.
  const Items items = {{{400, 10.0}, {800, 4.0}}, {{40, 3.0}, {80, 0.0}}};
  EXPECT_EQ(allocate_bits(items, 880), (Choice{1, 1}));
  EXPECT_EQ(allocate_bits(items, 879), (Choice{0, 1}));
}

TEST(AllocateBits, SkipsWhatLiesAboveTheHull) {
  // 50 bits save 0.1 of 10; straight to 80 saves a quarter per bit.
  const Items items = {{{40, 10.0}, {50, 9.9}, {80, 0.0}}, {{40, 1.0}, {80, 0.9}}};
  EXPECT_EQ(allocate_bits(items, 120), (Choice{2, 0}));
  EXPECT_EQ(allocate_bits(items, 95), (Choice{1, 0}));  // but it fills what is left
}

TEST(AllocateBits, NeverPaysForMoreLoss) {
  const Items items = {{{80, 2.0}, {40, 1.0}, {60, 1.5}}};
  EXPECT_EQ(allocate_bits(items, 999), (Choice{1}));
}

TEST(AllocateBits, TakesTheFirstOfEquals) {
  const Items items = {{{40, 1.0}, {80, 0.0}}, {{40, 1.0}, {80, 0.0}}, {{40, 1.0}, {40, 1.0}}};
  EXPECT_EQ(allocate_bits(items, 160), (Choice{1, 0, 0}));
}

TEST(AllocateBits, TakesTheCheapestForTheLeastBudget) {
  const Items items = {{{80, 0.0}, {40, 9.0}}, {{45, 1.0}}};
  EXPECT_EQ(allocate_bits(items, 85), (Choice{1, 0}));
}

TEST(AllocateBits, StaysWithinTheBudgetAndWithinOneStepOfTheOptimum) {
  Rng rng(11);
  std::size_t optimal = 0;
  constexpr std::size_t kCases = 400;
  for (std::size_t n = 0; n < kCases; ++n) {
    const Items items = random_items(rng);
    const BitRange range = bit_range(items);
    const std::uint64_t budget = range.least + rng.below(range.most - range.least + 1);
    const Choice choice = allocate_bits(items, budget);
    ASSERT_LE(bits_of(items, choice), budget);
    double largest_step = 0;
    for (const auto& options : items) {
      const auto [low, high] = std::minmax_element(
          options.begin(), options.end(),
          [](const BitOption& a, const BitOption& b) { return a.loss < b.loss; });
      largest_step = std::max(largest_step, high->loss - low->loss);
    }
    const double least = least_loss(items, budget);
    const double found = loss_of(items, choice);
    ASSERT_LE(found, least + largest_step * (1 + 1e-12));
    if (found <= least + 1e-12 * std::abs(least)) ++optimal;
  }
  EXPECT_GT(optimal, kCases * 3 / 4);
}

TEST(AllocateBits, IsOptimalWhereStepsUseUpTheBudget) {
  Rng rng(12);
  for (int n = 0; n < 400; ++n) {
    const Items items = random_items(rng);
    // The least of loss + price * bits is a corner of every matrix's hull.
    const double price = std::exp(4 * rng.normal() - 4);
    Choice corner;
    for (const auto& options : items) {
      const auto cost = [&](const BitOption& o) {
        return o.loss + price * static_cast<double>(o.bits);
      };
      const auto best = std::min_element(
          options.begin(), options.end(),
          [&](const BitOption& a, const BitOption& b) { return cost(a) < cost(b); });
      corner.push_back(static_cast<std::size_t>(best - options.begin()));
    }
    const std::uint64_t budget = bits_of(items, corner);
    const double least = loss_of(items, corner);
    EXPECT_NEAR(least, least_loss(items, budget), 1e-12 * std::abs(least));
    EXPECT_NEAR(loss_of(items, allocate_bits(items, budget)), least, 1e-12 * std::abs(least));
  }
}

}  // namespace
}  // namespace fptq::algo
