#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <vector>

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
    std::vector<std::int32_t> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(*sampler.sample(logits, {}));
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
