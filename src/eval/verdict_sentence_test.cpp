#include "eval/verdict_sentence.h"

#include <gtest/gtest.h>

#include <cmath>

namespace fptq::eval {
namespace {

Verdict accuracy(std::size_t documents, double difference, Interval interval, double p) {
  Verdict verdict;
  verdict.n = documents;
  verdict.difference = difference;
  verdict.interval = interval;
  verdict.p = p;
  verdict.p_holm = p;
  verdict.comparisons = 1;
  verdict.won = {1};
  verdict.lost = {2, 3};
  verdict.distinguishable = p <= 0.05;
  return verdict;
}

Verdict perplexity(double difference, Interval interval, double p) {
  Verdict verdict = accuracy(141, difference, interval, p);
  verdict.kind = VerdictKind::kPerplexity;
  verdict.unit = "window";
  verdict.won.clear();
  verdict.lost.clear();
  return verdict;
}

TEST(VerdictSentence, TellsALossOfAccuracyInPoints) {
  EXPECT_EQ(verdict_sentence(accuracy(500, -0.018, {-0.032, -0.004}, 0.01)),
            "lower by 1.8 points (95 %: 0.4 to 3.2), p = 0.01, 500 documents");
  EXPECT_EQ(verdict_sentence(accuracy(12345, 0.1, {0.0912, 0.1088}, 1e-9)),
            "higher by 10.00 points (95 %: 9.12 to 10.88), p < 0.0001, 12 345 documents");
}

TEST(VerdictSentence, SaysWhatWouldSettleWhatIsNotDistinguishable) {
  Verdict verdict = accuracy(500, -0.004, {-0.014, 0.006}, 0.42);
  verdict.needed = 6121.3;
  EXPECT_EQ(verdict_sentence(verdict),
            "not distinguishable at this sample size (500 documents, p = 0.42); about 6 200 would "
            "settle a difference of 0.4 points");
  verdict.needed = 3e9;
  EXPECT_EQ(
      verdict_sentence(verdict),
      "not distinguishable at this sample size (500 documents, p = 0.42); more than a billion "
      "would settle a difference of 0.4 points");
  verdict.needed.reset();
  verdict.n = 1;
  verdict.p_holm = 1.0;
  EXPECT_EQ(verdict_sentence(verdict),
            "not distinguishable at this sample size (1 document, p = 1)");
}

TEST(VerdictSentence, DoesNotAskForFewerThanDidNotSuffice) {
  Verdict verdict = accuracy(500, -0.004, {-0.014, 0.006}, 0.06);
  verdict.needed = 480.0;
  EXPECT_EQ(verdict_sentence(verdict),
            "not distinguishable at this sample size (500 documents, p = 0.06)");
}

TEST(VerdictSentence, SaysHowManyComparisonsWereMade) {
  Verdict verdict = accuracy(500, -0.018, {-0.032, -0.004}, 0.01);
  verdict.comparisons = 4;
  verdict.p_holm = 0.04;
  EXPECT_EQ(
      verdict_sentence(verdict),
      "lower by 1.8 points (95 %: 0.4 to 3.2), p = 0.04 by Holm for 4 comparisons, 500 documents");
}

TEST(VerdictSentence, TellsPerplexitiesInPercentAndLargeOnesAsAFactor) {
  EXPECT_EQ(
      verdict_sentence(perplexity(std::log(1.0231), {std::log(1.0195), std::log(1.0267)}, 0.0008)),
      "higher by 2.31 % (95 %: 1.95 to 2.67), p = 0.0008, 141 windows");
  EXPECT_EQ(verdict_sentence(perplexity(std::log(0.9), {std::log(0.88), std::log(0.92)}, 0.0008)),
            "lower by 10.0 % (95 %: 8.0 to 12.0), p = 0.0008, 141 windows");
  EXPECT_EQ(verdict_sentence(perplexity(std::log(20.0), {std::log(18.0), std::log(22.0)}, 0.0008)),
            "higher by a factor of 20.0 (95 %: 18.0 to 22.0), p = 0.0008, 141 windows");
}

TEST(VerdictSentence, ShowsOnWhichSideOfFivePercentAPLies) {
  Verdict verdict = accuracy(500, -0.018, {-0.032, -0.004}, 0.0496);
  EXPECT_NE(verdict_sentence(verdict).find("p = 0.0496,"), std::string::npos);
  verdict.p_holm = 0.0504;
  verdict.distinguishable = false;
  EXPECT_NE(verdict_sentence(verdict).find("p = 0.0504)"), std::string::npos);
}

TEST(VerdictSentence, SaysWhereNothingChanged) {
  Verdict verdict = accuracy(500, 0.0, {-0.008, 0.008}, 1.0);
  verdict.won.clear();
  verdict.lost.clear();
  EXPECT_EQ(verdict_sentence(verdict), "right and wrong on the same documents (500 documents)");
  verdict.identical = true;
  EXPECT_EQ(verdict_sentence(verdict), "the same answer to every document (500 documents)");
  Verdict same = perplexity(0.0, {0.0, 0.0}, 1.0);
  same.identical = true;
  EXPECT_EQ(verdict_sentence(same), "the same in every window (141 windows)");
}

TEST(VerdictSentence, SaysWhereThereAreTooFewWindows) {
  Verdict verdict;
  verdict.kind = VerdictKind::kPerplexity;
  verdict.unit = "window";
  verdict.n = 4;
  verdict.difference = std::log(1.023);
  EXPECT_EQ(verdict_sentence(verdict),
            "higher by 2.3 %, but 4 windows are too few to tell it from chance (at least 10)");
  verdict.n = 1;
  verdict.difference = -1e-9;
  EXPECT_EQ(verdict_sentence(verdict),
            "lower by less than 0.0001 %, but 1 window is too few to tell it from chance (at least "
            "10)");
}

TEST(VerdictSentence, GivesTheReasonForNoVerdict) {
  Verdict verdict;
  verdict.reason = "the candidate has no result";
  EXPECT_EQ(verdict_sentence(verdict), "no verdict: the candidate has no result");
}

}  // namespace
}  // namespace fptq::eval
