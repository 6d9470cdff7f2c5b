#include "eval/verdicts.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "eval/compare.h"
#include "eval/paired.h"

namespace fptq::eval {
namespace {

// A task of documents that are right where `right` says so.
TaskResult task_of(const std::vector<bool>& right) {
  TaskResult task;
  task.name = "arc_easy";
  task.data_sha256 = "abc";
  for (std::size_t i = 0; i < right.size(); ++i) {
    DocumentScore document;
    document.document = i;
    document.acc = right[i] ? 1.0 : 0.0;
    document.log_likelihoods = {right[i] ? -1.0 : -3.0, -2.0};
    task.documents.push_back(document);
  }
  return task;
}

// The baseline is right on the first `lost` of `documents` and on all after the `won` behind them;
// the candidate on all but the first `lost`.
std::pair<EvalResult, EvalResult> results_of(std::size_t documents, std::size_t won,
                                             std::size_t lost) {
  std::vector<bool> before(documents, true);
  std::vector<bool> after(documents, true);
  for (std::size_t i = 0; i < lost; ++i) after[i] = false;
  for (std::size_t i = lost; i < lost + won; ++i) before[i] = false;
  std::pair<EvalResult, EvalResult> results;
  results.first.tasks.push_back(task_of(before));
  results.second.tasks.push_back(task_of(after));
  return results;
}

// Windows of 100 tokens; nll of each.
EvalResult text_result(std::vector<double> window_nll) {
  Perplexity perplexity;
  perplexity.text_sha256 = "abc";
  perplexity.context = 101;
  perplexity.window_tokens.assign(window_nll.size(), 100);
  perplexity.window_nll = std::move(window_nll);
  EvalResult result;
  result.perplexities.push_back(std::move(perplexity));
  return result;
}

std::vector<double> waves(std::size_t count, double mean, double spread, double phase) {
  std::vector<double> values;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(mean + spread * std::sin(static_cast<double>(i * i) + phase));
  }
  return values;
}

std::vector<Verdict> judge(const EvalResult& baseline, const EvalResult& candidate) {
  return judge_differences(baseline, std::span(&candidate, 1)).candidates.front();
}

TEST(Verdicts, CountDocumentsThatFlippedAndTestThem) {
  const auto [baseline, candidate] = results_of(100, 3, 10);
  const std::vector<Verdict> verdicts = judge(baseline, candidate);
  ASSERT_EQ(verdicts.size(), 1u);
  const Verdict& verdict = verdicts.front();
  EXPECT_EQ(verdict.measure, "arc_easy acc");
  EXPECT_EQ(verdict.n, 100u);
  EXPECT_EQ(verdict.lost, (std::vector<std::size_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(verdict.won, (std::vector<std::size_t>{10, 11, 12}));
  EXPECT_DOUBLE_EQ(*verdict.difference, -0.07);
  EXPECT_NEAR(*verdict.p, 756.0 / 8192.0, 1e-12);
  EXPECT_EQ(*verdict.p_holm, *verdict.p);
  EXPECT_FALSE(*verdict.distinguishable);
  // (1.959964 sqrt(0.13) + 0.841621 sqrt(0.1251))^2 / 0.0049 = 205.86, told as 210.
  EXPECT_NEAR(*verdict.needed, 205.86, 0.01);
  EXPECT_EQ(verdict.sentence,
            "not distinguishable at this sample size (100 documents, p = 0.092); about 210 would "
            "settle a difference of 7 points");
}

TEST(Verdicts, CompareAccNormByItself) {
  auto [baseline, candidate] = results_of(30, 0, 0);
  for (EvalResult* result : {&baseline, &candidate}) {
    TaskResult& task = result->tasks.front();
    task.acc_norm = 0.5;
    for (DocumentScore& document : task.documents) {
      const bool flipped = result == &candidate && document.document < 8;
      document.acc_norm = flipped ? 0.0 : 1.0;
    }
  }
  const std::vector<Verdict> verdicts = judge(baseline, candidate);
  ASSERT_EQ(verdicts.size(), 2u);
  EXPECT_EQ(verdicts[0].sentence, "the same answer to every document (30 documents)");
  EXPECT_EQ(*verdicts[0].p, 1.0);
  EXPECT_EQ(verdicts[1].measure, "arc_easy acc_norm");
  EXPECT_EQ(verdicts[1].lost.size(), 8u);
  EXPECT_NEAR(*verdicts[1].p, 2.0 / 256.0, 1e-12);
  EXPECT_NEAR(*verdicts[1].p_holm, 4.0 / 256.0, 1e-12);
  EXPECT_TRUE(*verdicts[1].distinguishable);
  EXPECT_EQ(verdicts[1].comparisons, 2u);
}

TEST(Verdicts, DoNotTakeTheSameJudgementForTheSameAnswer) {
  auto [baseline, candidate] = results_of(30, 0, 0);
  candidate.tasks[0].documents[4].log_likelihoods[1] = -2.5;
  EXPECT_EQ(judge(baseline, candidate).front().sentence,
            "right and wrong on the same documents (30 documents)");
}

TEST(Verdicts, OfOneDocumentAreSureOfNothing) {
  const auto [baseline, candidate] = results_of(1, 0, 1);
  const Verdict verdict = judge(baseline, candidate).front();
  EXPECT_EQ(*verdict.p, 1.0);
  EXPECT_EQ(verdict.sentence,
            "not distinguishable at this sample size (1 document, p = 1); about 6 would settle a "
            "difference of 100 points");
}

// The one verdict's sentence after `change` was made to the candidate.
template <typename Change>
std::string sentence_after(const Change& change) {
  auto [baseline, candidate] = results_of(20, 2, 3);
  change(candidate.tasks);
  const Verdict verdict = judge(baseline, candidate).front();
  EXPECT_FALSE(verdict.p.has_value());
  EXPECT_FALSE(verdict.p_holm.has_value());
  EXPECT_FALSE(verdict.distinguishable.has_value());
  EXPECT_FALSE(verdict.difference.has_value());
  EXPECT_EQ(verdict.comparisons, 0u);
  return verdict.sentence;
}

TEST(Verdicts, GiveTheReasonWhereTasksAreNotTheSame) {
  using Tasks = std::vector<TaskResult>;
  EXPECT_EQ(sentence_after([](Tasks& tasks) { tasks.clear(); }),
            "no verdict: the candidate has no result");
  EXPECT_EQ(sentence_after([](Tasks& tasks) { tasks[0].shots = 5; }),
            "no verdict: expected as many shots, got 0 and 5");
  EXPECT_EQ(sentence_after([](Tasks& tasks) { tasks[0].data_sha256 = "abd"; }),
            "no verdict: expected the same data, got sha256 abc and abd");
  EXPECT_EQ(sentence_after([](Tasks& tasks) { tasks[0].documents.pop_back(); }),
            "no verdict: expected as many documents, got 20 and 19");
  EXPECT_EQ(sentence_after([](Tasks& tasks) { tasks[0].documents[7].document = 70; }),
            "no verdict: expected the same documents, got 7 and 70 in place 7");
  EXPECT_EQ(sentence_after([](Tasks& tasks) {
              tasks[0].documents[7].acc = std::numeric_limits<double>::quiet_NaN();
            }),
            "no verdict: document 7: expected 0 or 1, got nan");
}

TEST(Verdicts, OfNoDocumentsGiveTheReason) {
  const auto [baseline, candidate] = results_of(0, 0, 0);
  EXPECT_EQ(judge(baseline, candidate).front().sentence,
            "no verdict: expected at least one document, got none");
}

TEST(Verdicts, ComparePerplexitiesPerTokenOverWindows) {
  // 0.02 nats per token more, with differences between windows of 1.5 nats in 100 tokens at most.
  const std::vector<double> before = waves(40, 300.0, 50.0, 0.0);
  std::vector<double> after = before;
  for (std::size_t i = 0; i < after.size(); ++i) {
    after[i] += 2.0 + 1.5 * std::sin(3.0 * static_cast<double>(i));
  }
  const Verdict verdict = judge(text_result(before), text_result(after)).front();
  EXPECT_EQ(verdict.measure, "gptq perplexity");
  EXPECT_EQ(verdict.unit, "window");
  EXPECT_EQ(verdict.n, 40u);
  EXPECT_NEAR(*verdict.difference, 0.02, 1e-3);
  EXPECT_GT(verdict.interval->low, 0.015);
  EXPECT_LT(verdict.interval->high, 0.025);
  EXPECT_TRUE(*verdict.distinguishable);
  EXPECT_TRUE(verdict.sentence.starts_with("higher by 2.0")) << verdict.sentence;
}

TEST(Verdicts, AskForWindowsThatWouldSettleADifference) {
  const std::vector<double> before(40, 300.0);
  std::vector<double> after = before;
  for (std::size_t i = 0; i < after.size(); ++i) after[i] += i % 2 == 0 ? 1.3 : -1.1;
  const Verdict verdict = judge(text_result(before), text_result(after)).front();
  EXPECT_FALSE(*verdict.distinguishable);
  // d = 0.001 nats per token, s = 0.012 sqrt(40 / 39): ((1.96 + 0.84) * s / d)^2.
  EXPECT_NEAR(*verdict.needed, std::pow(2.801585 * 12.0, 2) * 40.0 / 39.0, 1.0);
  EXPECT_NE(verdict.sentence.find("about 1 200 would settle a difference of 0.1 %"),
            std::string::npos)
      << verdict.sentence;
}

TEST(Verdicts, OfFewWindowsHaveNoP) {
  const Verdict verdict =
      judge(text_result(waves(9, 300.0, 5.0, 0.0)), text_result(waves(9, 302.0, 5.0, 1.0))).front();
  EXPECT_TRUE(verdict.difference.has_value());
  EXPECT_FALSE(verdict.p.has_value());
  EXPECT_FALSE(verdict.interval.has_value());
  EXPECT_NE(verdict.sentence.find("9 windows are too few"), std::string::npos) << verdict.sentence;
}

TEST(Verdicts, OfTheSameModelSayThatItIsTheSame) {
  const EvalResult result = text_result(waves(12, 300.0, 5.0, 0.0));
  const Verdict verdict = judge(result, result).front();
  EXPECT_EQ(*verdict.p, 1.0);
  EXPECT_FALSE(*verdict.distinguishable);
  EXPECT_EQ(verdict.sentence, "the same in every window (12 windows)");
}

TEST(Verdicts, GiveTheReasonWhereTextsAreNotTheSame) {
  const EvalResult baseline = text_result(waves(12, 300.0, 5.0, 0.0));
  const auto sentence = [&](const auto& change) {
    EvalResult candidate = baseline;
    change(candidate.perplexities);
    return judge(baseline, candidate).front().sentence;
  };
  using Texts = std::vector<Perplexity>;
  EXPECT_EQ(sentence([](Texts& texts) { texts.clear(); }),
            "no verdict: the candidate has no result");
  EXPECT_EQ(sentence([](Texts& texts) { texts[0].text_sha256 = "abd"; }),
            "no verdict: expected the same text, got sha256 abc and abd");
  EXPECT_EQ(sentence([](Texts& texts) { texts[0].context = 256; }),
            "no verdict: expected the same context, got 101 and 256 tokens");
  EXPECT_EQ(sentence([](Texts& texts) { texts[0].documents = DocumentMode::kWikitext; }),
            "no verdict: expected the text cut alike, got whole and wikitext");
  EXPECT_EQ(sentence([](Texts& texts) { texts[0].window_nll.pop_back(); }),
            "no verdict: expected as many windows, got 12 and 11");
  EXPECT_EQ(sentence([](Texts& texts) { texts[0].window_tokens[3] = 99; }),
            "no verdict: expected the same tokens in every window, got others. Do the models share "
            "a tokenizer?");
  EXPECT_EQ(
      sentence(
          [](Texts& texts) { texts[0].window_nll[3] = std::numeric_limits<double>::quiet_NaN(); }),
      "no verdict: window 3: expected finite log-likelihoods of some tokens, got a difference "
      "of nan nats over 100");
}

TEST(Verdicts, TakeTheWindowsOfADocumentTogether) {
  EvalResult baseline = text_result(std::vector<double>(36, 300.0));
  Perplexity& before = baseline.perplexities.front();
  before.protocol = Protocol::kLmEval;
  before.context = 100;
  before.cluster_unit = ClusterUnit::kDocuments;
  for (std::size_t i = 2; i < 36; i += 3) before.window_tokens[i] = 40;
  EvalResult candidate = baseline;
  for (std::size_t i = 0; i < 36; ++i) {
    candidate.perplexities[0].window_nll[i] += 1.0 + static_cast<double>(i / 3 % 2);
  }
  const Verdict verdict = judge(baseline, candidate).front();
  EXPECT_EQ(verdict.measure, "lm-eval perplexity");
  EXPECT_EQ(verdict.unit, "document");
  EXPECT_EQ(verdict.n, 12u);  // each of 100 + 100 + 40 tokens
  EXPECT_DOUBLE_EQ(*verdict.difference, 4.5 / 240.0);
}

TEST(Verdicts, CompareATasksPerplexityOverDocuments) {
  auto [baseline, candidate] = results_of(50, 0, 0);
  baseline.tasks[0].perplexity = 10.0;
  for (std::size_t i = 0; i < 50; ++i) {
    candidate.tasks[0].documents[i].log_likelihoods[0] -= i % 2 == 0 ? 0.2 : 0.3;
  }
  const std::vector<Verdict> verdicts = judge(baseline, candidate);
  ASSERT_EQ(verdicts.size(), 2u);
  EXPECT_EQ(verdicts[1].measure, "arc_easy perplexity");
  EXPECT_EQ(verdicts[1].unit, "document");
  EXPECT_NEAR(*verdicts[1].difference, 0.25, 1e-12);
  EXPECT_TRUE(*verdicts[1].distinguishable);
}

TEST(Verdicts, AreAdjustedForAllCandidatesTogether) {
  const auto [baseline, first] = results_of(200, 0, 7);
  // p = 2 / 128 of `first` beside the baseline or its like, 1 of those. Two candidates are three
  // comparisons, with the one between them; three are six.
  const std::vector<EvalResult> two = {first, baseline};
  const AllVerdicts verdicts = judge_differences(baseline, two);
  ASSERT_EQ(verdicts.candidates.size(), 2u);
  ASSERT_EQ(verdicts.pairs.size(), 1u);
  EXPECT_NEAR(*verdicts.candidates[0][0].p_holm, 6.0 / 128.0, 1e-12);
  EXPECT_NEAR(*verdicts.pairs[0].verdicts[0].p_holm, 6.0 / 128.0, 1e-12);
  EXPECT_TRUE(*verdicts.candidates[0][0].distinguishable);
  const std::vector<EvalResult> three = {first, baseline, baseline};
  const Verdict verdict = judge_differences(baseline, three).candidates[0][0];
  EXPECT_NEAR(*verdict.p, 2.0 / 128.0, 1e-12);
  EXPECT_NEAR(*verdict.p_holm, 12.0 / 128.0, 1e-12);
  EXPECT_FALSE(*verdict.distinguishable);
  EXPECT_NEAR(*verdict.needed, *documents_to_settle({200, 0, 7}, 0.05 / 6), 1e-9);
  EXPECT_NE(verdict.sentence.find("p = 0.094 by Holm for 6 comparisons"), std::string::npos)
      << verdict.sentence;
}

TEST(Verdicts, StandInTheJsonOfAComparison) {
  auto [baseline, candidate] = results_of(100, 3, 10);
  Comparison comparison;
  comparison.baseline = baseline;
  comparison.candidates = {candidate};
  EXPECT_EQ(to_json(comparison)["candidates"][0]["paired"], Json::array());
  comparison.verdicts = judge_differences(baseline, comparison.candidates).candidates;
  const Json paired = to_json(comparison)["candidates"][0]["paired"];
  ASSERT_EQ(paired.size(), 1u);
  const Json& entry = paired[0];
  EXPECT_EQ(entry["measure"], "arc_easy acc");
  EXPECT_EQ(entry["unit"], "documents");
  EXPECT_EQ(entry["n"], 100);
  EXPECT_DOUBLE_EQ(entry["difference"], -0.07);
  EXPECT_EQ(entry["ci95"].size(), 2u);
  EXPECT_LT(entry["ci95"][0], entry["ci95"][1]);
  EXPECT_EQ(entry["p"], entry["p_holm"]);
  EXPECT_EQ(entry["comparisons"], 1);
  EXPECT_EQ(entry["won"], 3);
  EXPECT_EQ(entry["lost"], 10);
  EXPECT_EQ(entry["won_documents"], Json({10, 11, 12}));
  EXPECT_EQ(entry["lost_documents"].size(), 10u);
  EXPECT_EQ(entry["documents_needed"], 206);
  EXPECT_EQ(entry["distinguishable"], false);
  EXPECT_EQ(entry["sentence"], comparison.verdicts[0][0].sentence);
}

TEST(Verdicts, WithoutNumbersAreNullInJson) {
  const auto [baseline, candidate] = results_of(0, 0, 0);
  const Json entry = to_json(judge(baseline, candidate).front());
  for (const char* key : {"difference", "ci95", "p", "p_holm", "won", "lost", "won_documents",
                          "lost_documents", "documents_needed", "distinguishable"}) {
    EXPECT_TRUE(entry[key].is_null()) << key;
  }
  EXPECT_EQ(entry["sentence"], "no verdict: expected at least one document, got none");
}

TEST(VerdictsOnPairs, ComparesTheDivergencesOfTwoCandidates) {
  EvalResult baseline;
  std::vector<EvalResult> candidates(3);
  for (std::size_t c = 0; c < candidates.size(); ++c) {
    KlDivergence& kl = candidates[c].kl.emplace();
    kl.context = 8;
    for (std::size_t w = 0; w < 20; ++w) {
      const double base = 0.01 * static_cast<double>(w + 1);
      kl.window_kl.push_back(c == 0 ? base : base + 0.1 + 1e-3 * static_cast<double>(w % 3));
      kl.window_tokens.push_back(3);
    }
  }
  const AllVerdicts verdicts = judge_differences(baseline, candidates);
  ASSERT_EQ(verdicts.candidates.size(), 3U);
  EXPECT_TRUE(verdicts.candidates[0].empty());
  ASSERT_EQ(verdicts.pairs.size(), 3U);  // 0 1, 0 2, 1 2
  const Verdict& apart = verdicts.pairs[0].verdicts.front();
  EXPECT_EQ(apart.measure, "KL divergence");
  EXPECT_NEAR(*apart.difference, 0.10095, 1e-9);
  EXPECT_TRUE(*apart.distinguishable);
  EXPECT_EQ(apart.comparisons, 3U);
  EXPECT_TRUE(apart.sentence.starts_with("higher by 0.1")) << apart.sentence;
  EXPECT_NE(apart.sentence.find(" nats (95 %: "), std::string::npos) << apart.sentence;
  EXPECT_NE(apart.sentence.find("by Holm for 3 comparisons"), std::string::npos);
  EXPECT_EQ(verdicts.pairs[2].first, 1U);
  EXPECT_EQ(verdicts.pairs[2].second, 2U);
  EXPECT_EQ(verdicts.pairs[2].verdicts.front().sentence, "the same in every window (20 windows)");
}

TEST(VerdictsOnPairs, SaysThatThereAreTooFewWindowsOrOtherOnes) {
  EvalResult baseline;
  std::vector<EvalResult> candidates(3);
  for (std::size_t c = 0; c < candidates.size(); ++c) {
    KlDivergence& kl = candidates[c].kl.emplace();
    kl.context = c == 2 ? 16 : 8;
    kl.window_kl = {0.1, 0.2 + 0.1 * static_cast<double>(c)};
    kl.window_tokens = {3, 3};
  }
  const AllVerdicts verdicts = judge_differences(baseline, candidates);
  EXPECT_EQ(verdicts.pairs[0].verdicts.front().sentence,
            "higher by 0.05 nats, but 2 windows are too few to tell it from chance (at least 10)");
  EXPECT_EQ(verdicts.pairs[1].verdicts.front().sentence,
            "no verdict: expected the same windows, got others");
}

// mmlu of two subjects: of "first" the candidate loses 40 of 100 documents, of "second" none.
std::pair<EvalResult, EvalResult> results_with_parts() {
  auto results = results_of(300, 0, 40);
  for (EvalResult* result : {&results.first, &results.second}) {
    result->tasks[0].name = "mmlu";
    result->tasks[0].parts = {{"mmlu_first", 0, 100, 0.0, {}}, {"mmlu_second", 100, 300, 0.0, {}}};
  }
  return results;
}

TEST(Verdicts, JudgePartsByTheirOwnDocuments) {
  const auto [baseline, candidate] = results_with_parts();
  const std::vector<Verdict> verdicts =
      judge_differences(baseline, std::vector{candidate}).candidates.front();
  ASSERT_EQ(verdicts.size(), 3u);
  EXPECT_EQ(verdicts[0].measure, "mmlu acc");
  EXPECT_EQ(verdicts[0].part_of, "");
  EXPECT_EQ(verdicts[1].measure, "mmlu_first acc");
  EXPECT_EQ(verdicts[1].part_of, "mmlu acc");
  EXPECT_EQ(verdicts[1].n, 100u);
  EXPECT_EQ(verdicts[1].lost.size(), 40u);
  EXPECT_DOUBLE_EQ(*verdicts[1].difference, -0.4);
  EXPECT_TRUE(*verdicts[1].distinguishable);
  EXPECT_EQ(verdicts[2].measure, "mmlu_second acc");
  EXPECT_EQ(verdicts[2].n, 200u);
  EXPECT_EQ(*verdicts[2].difference, 0.0);
  EXPECT_FALSE(*verdicts[2].distinguishable);
  EXPECT_EQ(to_json(verdicts[1])["part_of"], "mmlu acc");
  EXPECT_TRUE(to_json(verdicts[0])["part_of"].is_null());
}

TEST(Verdicts, CorrectPartsByThemselves) {
  const auto [baseline, candidate] = results_with_parts();
  const std::vector<Verdict> verdicts =
      judge_differences(baseline, std::vector{candidate}).candidates.front();
  EXPECT_EQ(verdicts[0].comparisons, 1u);
  EXPECT_EQ(*verdicts[0].p_holm, *verdicts[0].p);
  EXPECT_EQ(verdicts[1].comparisons, 2u);
  EXPECT_DOUBLE_EQ(*verdicts[1].p_holm, 2.0 * *verdicts[1].p);
}

}  // namespace
}  // namespace fptq::eval
