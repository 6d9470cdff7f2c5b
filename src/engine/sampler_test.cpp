#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"

namespace fptq::engine {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// How often each id is drawn from the same logits.
std::map<std::int32_t, int> draw_many(const SamplingOptions& options,
                                      const std::vector<float>& logits, int draws) {
  Sampler sampler(options);
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < draws; ++i) {
    const auto id = sampler.sample(logits, {});
    if (!id) {
      ADD_FAILURE() << id.error().message;
      break;
    }
    ++counts[*id];
  }
  return counts;
}

std::set<std::int32_t> ids_drawn(const SamplingOptions& options, const std::vector<float>& logits) {
  std::set<std::int32_t> ids;
  for (const auto& [id, count] : draw_many(options, logits, 2000)) ids.insert(id);
  return ids;
}

// Probabilities 0.5, 0.25, 0.125, 0.125.
const std::vector<float> kHalves = {std::log(2.0f), std::log(4.0f), 0.0f, 0.0f};

TEST(GreedyToken, IsTheLowestIdOfEqualLogits) {
  EXPECT_EQ(1, *greedy_token(std::vector<float>{0.5f, 2.0f, 2.0f}));
}

TEST(GreedyToken, FindsTheLargestLogitWhereverItIs) {
  // Lengths around the blocks that are looked at together.
  for (const std::size_t count : {1u, 2u, 15u, 16u, 63u, 64u, 65u, 127u, 128u, 129u, 200u}) {
    std::vector<float> logits(count, -1.0f);
    for (std::size_t i = 0; i < count; ++i) {
      logits[i] = 0.25f;
      ASSERT_EQ(static_cast<std::int32_t>(i), *greedy_token(logits)) << count;
      logits[i] = -1.0f;
    }
    logits.assign(count, -kInfinity);
    logits[count - 1] = -1e30f;
    EXPECT_EQ(static_cast<std::int32_t>(count) - 1, *greedy_token(logits));
    logits[count / 2] = kNan;
    EXPECT_FALSE(greedy_token(logits)) << count;
  }
}

TEST(GreedyToken, NamesTheTokenWhoseLogitIsNotANumber) {
  const auto id = greedy_token(std::vector<float>{0.5f, kNan});
  ASSERT_FALSE(id);
  EXPECT_EQ(Error::Kind::kFormat, id.error().kind);
  EXPECT_EQ(
      "logits: token 1: expected a number, got nan. Are weights damaged? `fptq inspect` looks for "
      "NaN and infinity",
      id.error().message);
}

TEST(GreedyToken, RefusesLogitsThatExcludeEveryToken) {
  EXPECT_FALSE(greedy_token(std::vector<float>{-kInfinity, -kInfinity}));
}

TEST(Sampler, WithoutTemperatureTakesTheLargestLogit) {
  EXPECT_EQ((std::set<std::int32_t>{1}), ids_drawn({}, kHalves));
}

TEST(Sampler, DrawsInProportionToProbability) {
  const auto counts = draw_many({.temperature = 1.0, .seed = 3}, kHalves, 20000);
  // 4 standard deviations of a count of 20000 * 0.25.
  EXPECT_NEAR(5000, counts.at(0), 245);
  EXPECT_NEAR(10000, counts.at(1), 283);
  EXPECT_NEAR(2500, counts.at(2), 188);
}

TEST(Sampler, FlattensWithTemperature) {
  // At temperature 2 the probabilities become square roots: sqrt(2) : 2 : 1 : 1.
  const auto counts = draw_many({.temperature = 2.0, .seed = 3}, kHalves, 20000);
  EXPECT_NEAR(20000 * 2.0 / (4.0 + std::sqrt(2.0)), counts.at(1), 280);
}

TEST(Sampler, RepeatsItselfForTheSameSeedOnly) {
  const std::vector<float> logits(100, 0.0f);
  const auto draw = [&](std::uint64_t seed) {
    Sampler sampler({.temperature = 1.0, .seed = seed});
    std::vector<std::int32_t> ids(20);
    for (std::int32_t& id : ids) id = *sampler.sample(logits, {});
    return ids;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST(Sampler, KeepsTheTopKWithTheLowestIdsOfEquals) {
  EXPECT_EQ((std::set<std::int32_t>{0, 1, 2}),
            ids_drawn({.temperature = 1.0, .top_k = 3}, kHalves));
}

TEST(Sampler, KeepsTheSmallestSetThatReachesTopP) {
  EXPECT_EQ((std::set<std::int32_t>{1}), ids_drawn({.temperature = 1.0, .top_p = 0.49}, kHalves));
  EXPECT_EQ((std::set<std::int32_t>{0, 1}), ids_drawn({.temperature = 1.0, .top_p = 0.7}, kHalves));
  EXPECT_EQ((std::set<std::int32_t>{0, 1, 2}),
            ids_drawn({.temperature = 1.0, .top_p = 0.8}, kHalves));
}

TEST(Sampler, FindsTopPInALargeVocabulary) {
  // 1000 equal tokens: 0.3 of the probability is the first 300 ids.
  const std::set<std::int32_t> ids =
      ids_drawn({.temperature = 1.0, .top_p = 0.2995}, std::vector<float>(1000, 1.0f));
  EXPECT_EQ(0, *ids.begin());
  EXPECT_LE(*ids.rbegin(), 299);
  EXPECT_GT(*ids.rbegin(), 280);
}

TEST(Sampler, KeepsWhatIsAtLeastMinPTimesTheBest) {
  EXPECT_EQ((std::set<std::int32_t>{0, 1}), ids_drawn({.temperature = 1.0, .min_p = 0.3}, kHalves));
  EXPECT_EQ((std::set<std::int32_t>{1}), ids_drawn({.temperature = 1.0, .min_p = 1.0}, kHalves));
}

TEST(Sampler, PenalizesARepeatedTokenOnceWhateverItsSign) {
  Sampler sampler({.repetition_penalty = 2.0});
  const std::vector<std::int32_t> history = {0, 0, 0};
  EXPECT_EQ(1, *sampler.sample(std::vector<float>{3.0f, 2.0f}, history));    // 1.5 against 2
  EXPECT_EQ(0, *sampler.sample(std::vector<float>{5.0f, 2.0f}, history));    // 2.5 against 2
  EXPECT_EQ(1, *sampler.sample(std::vector<float>{-2.0f, -3.0f}, history));  // -4 against -3
}

TEST(Sampler, NeverDrawsATokenOfProbabilityZero) {
  EXPECT_EQ((std::set<std::int32_t>{1}),
            ids_drawn({.temperature = 1.0}, {-kInfinity, -100.0f, -kInfinity}));
}

TEST(Sampler, TakesAnInfiniteLogitForCertain) {
  EXPECT_EQ((std::set<std::int32_t>{1}), ids_drawn({.temperature = 1.0}, {0.0f, kInfinity}));
}

// What the options say, word for word: all tokens sorted, each filter a prefix of them.
std::int32_t sample_by_sorting(const SamplingOptions& options, const std::vector<float>& logits,
                               Rng& rng) {
  struct Token {
    float logit;
    std::size_t id;
    double weight;
  };
  std::vector<Token> tokens;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    tokens.push_back({logits[i] / static_cast<float>(options.temperature), i, 0.0});
  }
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const Token& a, const Token& b) { return a.logit > b.logit; });
  const ops::Exp exp(Isa::kScalar);
  for (Token& token : tokens) {
    const float difference = token.logit - tokens.front().logit;
    float ratio = 0.0f;
    exp.forward(&difference, 1, &ratio);
    token.weight = std::nearbyint(static_cast<double>(ratio) * 0x1p39);
  }
  if (options.top_k > 0) tokens.resize(std::min(options.top_k, tokens.size()));
  const auto total_weight = [&] {
    return std::accumulate(tokens.begin(), tokens.end(), 0.0,
                           [](double sum, const Token& token) { return sum + token.weight; });
  };
  const double wanted = options.top_p * total_weight();
  double reached = 0.0;
  std::size_t kept = 0;
  while (kept < tokens.size() && reached < wanted) reached += tokens[kept++].weight;
  if (options.top_p < 1.0) tokens.resize(kept);
  std::erase_if(tokens, [&](const Token& token) { return token.weight < options.min_p * 0x1p39; });
  std::sort(tokens.begin(), tokens.end(),
            [](const Token& a, const Token& b) { return a.id < b.id; });
  auto rest = static_cast<double>(rng.below(static_cast<std::uint64_t>(total_weight())));
  std::size_t i = 0;
  for (; rest >= tokens[i].weight; ++i) rest -= tokens[i].weight;
  return static_cast<std::int32_t>(tokens[i].id);
}

TEST(Sampler, DrawsWhatSortingEverythingWouldDraw) {
  Rng rng(5);
  for (const std::size_t count : {1u, 7u, 64u, 65u, 1000u, 3000u}) {
    for (int round = 0; round < 60; ++round) {
      std::vector<float> logits(count);
      // Flat and steep ones, every other time with many equals.
      const double spread = std::pow(10.0, 2.0 * rng.uniform() - 1.0);
      for (float& logit : logits) {
        const double value = spread * rng.normal();
        logit = static_cast<float>(round % 2 == 0 ? value : std::round(2.0 * value) / 2.0);
      }
      SamplingOptions options{.temperature = 0.5 + rng.uniform(), .seed = rng.bits()};
      if (round % 3 == 0) options.top_k = 1 + rng.below(std::min<std::uint64_t>(count * 2, 200));
      if (round % 4 < 2) options.top_p = 0.02 + 0.97 * rng.uniform();
      if (round % 5 < 2) options.min_p = 0.3 * rng.uniform();
      Sampler sampler(options);
      Rng reference_rng(options.seed);
      for (int draw = 0; draw < 3; ++draw) {
        const auto id = sampler.sample(logits, {});
        ASSERT_TRUE(id) << id.error().message;
        ASSERT_EQ(sample_by_sorting(options, logits, reference_rng), *id)
            << count << " logits, spread " << spread << ", top_k " << options.top_k << ", top_p "
            << options.top_p << ", min_p " << options.min_p;
      }
    }
  }
}

TEST(Sampler, DrawsTheSameForEveryInstructionSet) {
  std::vector<float> logits(3000);
  Rng rng(6);
  for (float& logit : logits) logit = static_cast<float>(3.0 * rng.normal());
  for (const double top_p : {1.0, 0.9}) {
    const SamplingOptions options{.temperature = 1.0, .top_p = top_p, .seed = 9};
    Sampler scalar(options, Isa::kScalar);
    Sampler best(options, best_isa());
    for (int draw = 0; draw < 50; ++draw) {
      ASSERT_EQ(*scalar.sample(logits, {}), *best.sample(logits, {}));
    }
  }
}

TEST(Sampler, NamesTheTokenWhoseLogitIsNotANumberAtAnyTemperature) {
  std::vector<float> logits(100, 1.0f);
  logits[70] = kNan;
  Sampler sampler({.temperature = 1.0});
  const auto id = sampler.sample(logits, {});
  ASSERT_FALSE(id);
  EXPECT_TRUE(id.error().message.starts_with("logits: token 70: ")) << id.error().message;
}

TEST(SamplingOptions, OutOfRangeAreNamed) {
  EXPECT_EQ("--top-p: expected a number above 0, at most 1, got 0.000000",
            check_sampling_options({.top_p = 0.0}).error().message);
  EXPECT_FALSE(check_sampling_options({.temperature = -1.0}));
  EXPECT_FALSE(check_sampling_options({.temperature = kNan}));
  EXPECT_FALSE(check_sampling_options({.min_p = 1.5}));
  EXPECT_FALSE(check_sampling_options({.repetition_penalty = 0.0}));
  EXPECT_TRUE(check_sampling_options({}));
}

}  // namespace
}  // namespace fptq::engine
