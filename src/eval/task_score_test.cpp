#include "eval/task_score.h"

#include <gtest/gtest.h>

#include <cmath>

namespace fptq::eval {
namespace {

TaskDefinition choosing(bool acc_norm = true) {
  TaskDefinition task;
  task.acc_norm = acc_norm;
  return task;
}

DocumentScore judged(const TaskDefinition& task, const std::vector<double>& values,
                     std::size_t right, const std::vector<std::size_t>& lengths) {
  DocumentRequests requests;
  requests.contexts = {"Q"};
  std::vector<SequenceScore> scores;
  for (const double value : values) {
    requests.continuations.emplace_back(" c");
    scores.push_back({value, false});
  }
  requests.choice_lengths = lengths;
  requests.target = right;
  return judge(task, 5, requests, scores, std::vector<std::size_t>(values.size(), 1));
}

TEST(TaskScore, PrefersTheMostLikelyChoice) {
  const DocumentScore document = judged(choosing(), {-4.0, -3.0, -5.0}, 1, {1, 1, 1});
  EXPECT_EQ(document.document, 5U);
  EXPECT_EQ(document.acc, 1.0);
  EXPECT_EQ(judged(choosing(), {-4.0, -3.0}, 0, {1, 1}).acc, 0.0);
}

TEST(TaskScore, DividesByTheLength) {
  // -6 / 10 is above -3 / 2.
  const DocumentScore document = judged(choosing(), {-3.0, -6.0}, 1, {2, 10});
  EXPECT_EQ(document.acc, 0.0);
  EXPECT_EQ(document.acc_norm, 1.0);
  EXPECT_FALSE(judged(choosing(false), {-3.0, -6.0}, 1, {2, 10}).acc_norm);
}

TEST(TaskScore, TakesTheFirstOfEquals) {
  EXPECT_EQ(judged(choosing(), {-3.0, -3.0}, 0, {1, 1}).acc, 1.0);
  EXPECT_EQ(judged(choosing(), {-3.0, -3.0}, 1, {1, 1}).acc, 0.0);
}

TaskResult result_of(const std::vector<double>& acc) {
  TaskResult result;
  for (const double value : acc) {
    DocumentScore document;
    document.acc = value;
    document.acc_norm = 1.0 - value;
    document.log_likelihoods = {-1.0 - value};
    result.documents.push_back(document);
  }
  return result;
}

TEST(TaskScore, GivesMeansAndTheirErrors) {
  TaskResult result = result_of({1, 0, 0, 1, 1});
  summarize(choosing(), result);
  EXPECT_EQ(result.acc, 0.6);
  // s^2 = (3 * 0.16 + 2 * 0.36) / 4 = 0.3, by 5 documents.
  EXPECT_NEAR(*result.acc_standard_error, std::sqrt(0.3 / 5.0), 1e-15);
  EXPECT_EQ(*result.acc_norm, 0.4);
  EXPECT_FALSE(result.perplexity);
}

TEST(TaskScore, GivesThePerplexityOfLogLikelihoods) {
  TaskDefinition task;
  task.output = TaskOutput::kLogLikelihood;
  task.perplexity = true;
  TaskResult result = result_of({1, 0});  // -2 and -1
  summarize(task, result);
  EXPECT_NEAR(*result.perplexity, std::exp(1.5), 1e-12);
  EXPECT_NEAR(*result.perplexity_standard_error, std::exp(1.5) * std::sqrt(0.5 / 2.0), 1e-12);
  EXPECT_FALSE(result.acc_norm);
}

TEST(TaskScore, HasNoErrorOfOneDocument) {
  TaskResult result = result_of({1});
  summarize(choosing(), result);
  EXPECT_EQ(result.acc, 1.0);
  EXPECT_FALSE(result.acc_standard_error);
}

TEST(TaskScore, PoolsTheVarianceOfParts) {
  TaskResult result = result_of({1, 0, 1, 1, 0});
  TaskResult::Part one;
  one.end = 2;
  TaskResult::Part two;
  two.begin = 2;
  two.end = 5;
  result.parts = {one, two};
  summarize(choosing(), result);
  EXPECT_EQ(result.acc, 0.6);
  EXPECT_EQ(result.parts[0].acc, 0.5);
  EXPECT_NEAR(result.parts[1].acc, 2.0 / 3.0, 1e-15);
  // (1 * 1/2 + 2 * 1/3) / (5 - 2) / 5
  EXPECT_NEAR(*result.acc_standard_error, std::sqrt((0.5 + 2.0 / 3.0) / 3.0 / 5.0), 1e-15);
}

}  // namespace
}  // namespace fptq::eval
