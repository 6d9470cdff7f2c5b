#include "eval/samples_log.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support/temporary_directory.h"

namespace fptq::eval {
namespace {

namespace fs = std::filesystem;

class SamplesLogTest : public testing::TemporaryDirectoryTest {
 protected:
  [[nodiscard]] fs::path file() const { return root_ / "samples.jsonl"; }
  [[nodiscard]] fs::path partial() const { return root_ / "samples.jsonl.partial"; }

  static std::string contents(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  const Json key_ = {{"model", "m"}, {"task", "t"}};
};

TEST_F(SamplesLogTest, FindsWhatAStoppedRunHasScored) {
  {
    auto log = SamplesLog::open(file(), false);
    ASSERT_TRUE(log) << log.error().message;
    const auto finished = log->begin(key_);
    ASSERT_TRUE(finished);
    EXPECT_EQ(finished->size(), 0U);
    ASSERT_TRUE(log->add(0, 3, {{-1.1, true}, {-2.3000000000000003, false}}));
  }
  std::ofstream(partial(), std::ios::app) << "{\"doc\":4,\"ll\":[-1";  // killed in a line
  auto log = SamplesLog::open(file(), true);
  ASSERT_TRUE(log) << log.error().message;
  const auto other = log->begin({{"model", "m"}, {"task", "u"}});
  ASSERT_TRUE(other);
  EXPECT_EQ(other->size(), 0U);
  const auto finished = log->begin(key_);
  ASSERT_TRUE(finished);
  ASSERT_EQ(finished->size(), 1U);
  const DocumentScores& scores = finished->documents.at(3);
  EXPECT_EQ(scores[1].log_likelihood, -2.3000000000000003);
  EXPECT_TRUE(scores[0].greedy);
  EXPECT_FALSE(scores[1].greedy);
}

TEST_F(SamplesLogTest, DoesNotLoseAnUnfinishedRun) {
  std::ofstream(partial()) << "{\"run\":{}}\n";
  const auto log = SamplesLog::open(file(), false);
  ASSERT_FALSE(log);
  EXPECT_NE(log.error().message.find("Add --resume to go on from there"), std::string::npos);
}

TEST_F(SamplesLogTest, SaysWhichLineIsNoDocument) {
  std::ofstream(partial()) << "{\"run\":{}}\n{\"doc\":1,\"ll\":[0],\"greedy\":[]}\n";
  const auto log = SamplesLog::open(file(), true);
  ASSERT_FALSE(log);
  EXPECT_NE(log.error().message.find("line 2: expected the scores of a document or window"),
            std::string::npos);
  std::ofstream(partial()) << "{\"run\":\n";
  EXPECT_FALSE(SamplesLog::open(file(), true));
}

TEST_F(SamplesLogTest, WritesALineADocument) {
  TaskResult result;
  result.name = "t";
  DocumentScore choices;
  choices.contexts = {"Q:"};
  choices.continuations = {" a", " b"};
  choices.log_likelihoods = {-1.5, -2.0};
  choices.greedy = {true, false};
  choices.tokens = {1, 2};
  choices.target = std::size_t{1};
  choices.acc_norm = 1.0;
  DocumentScore contexts = choices;
  contexts.document = 1;
  contexts.contexts = {"x", "y"};
  contexts.continuations = {" z"};
  contexts.acc = 1.0;
  contexts.acc_norm.reset();
  result.documents = {choices, contexts};
  auto log = SamplesLog::open(file(), false);
  ASSERT_TRUE(log);
  ASSERT_TRUE(log->begin(key_));
  ASSERT_TRUE(fs::exists(partial()));
  EvalResult all;
  all.model = "m";
  all.tasks = {result};
  Perplexity perplexity;
  perplexity.context = 8;
  perplexity.window_nll = {3.5};
  perplexity.window_tokens = {7};
  all.perplexities = {perplexity};
  all.kl.emplace();
  all.kl->context = 4;
  all.kl->window_kl = {0.25};
  all.kl->window_tokens = {1};
  ASSERT_TRUE(log->finish({&all}));
  EXPECT_FALSE(fs::exists(partial()));
  EXPECT_EQ(
      contents(file()),
      "{\"doc\":0,\"context\":\"Q:\",\"continuations\":[\" a\",\" b\"],\"ll\":[-1.5,-2.0],"
      "\"greedy\":[true,false],\"tokens\":[1,2],\"target\":1,\"acc\":0.0,\"acc_norm\":1.0,"
      "\"task\":\"t\",\"model\":\"m\"}\n"
      "{\"doc\":1,\"context\":[\"x\",\"y\"],\"continuations\":\" z\",\"ll\":[-1.5,-2.0],"
      "\"greedy\":[true,false],\"tokens\":[1,2],\"target\":1,\"acc\":1.0,\"task\":\"t\","
      "\"model\":\"m\"}\n"
      "{\"window\":0,\"protocol\":\"gptq\",\"ctx\":8,\"nll\":3.5,\"tokens\":7,\"model\":\"m\"}\n"
      "{\"window\":0,\"ctx\":4,\"kl\":0.25,\"tokens\":1,\"model\":\"m\"}\n");
}

TEST_F(SamplesLogTest, KeepsWindowsToTheBit) {
  WindowScore score;
  for (const double nll : {0.1, 2.0 / 3.0, 5.0}) {
    score.nll += nll;
    score.moments.add(nll);
  }
  const std::vector<TokenDivergence> positions = {{0.1, true, -1.0 / 3.0, 0.7},
                                                  {2e-17, false, 0.0, 1.0}};
  {
    auto log = SamplesLog::open(file(), false);
    ASSERT_TRUE(log);
    ASSERT_TRUE(log->begin(key_));
    ASSERT_TRUE(log->begin({{"kl", 1}}));  // two measurements take turns
    ASSERT_TRUE(log->add(0, 2, score));
    ASSERT_TRUE(log->add(0, 3, WindowScore{HUGE_VAL, score.moments}));
    ASSERT_TRUE(log->add(1, 5, positions));
    ASSERT_TRUE(log->add(1, 6, std::vector<TokenDivergence>{{HUGE_VAL, true, 0.0, 1.0}}));
  }
  auto log = SamplesLog::open(file(), true);
  ASSERT_TRUE(log) << log.error().message;
  const auto windows = log->begin(key_);
  ASSERT_TRUE(windows);
  ASSERT_EQ(windows->size(), 1U);  // what is not finite is measured again
  EXPECT_EQ(windows->windows.at(2).nll, score.nll);
  EXPECT_EQ(windows->windows.at(2).moments.count(), 3U);
  EXPECT_EQ(windows->windows.at(2).moments.mean(), score.moments.mean());
  EXPECT_EQ(windows->windows.at(2).moments.variance(), score.moments.variance());
  const auto divergences = log->begin({{"kl", 1}});
  ASSERT_TRUE(divergences);
  ASSERT_EQ(divergences->size(), 1U);
  const std::vector<TokenDivergence>& read = divergences->divergences.at(5);
  ASSERT_EQ(read.size(), 2U);
  EXPECT_EQ(read[0].delta_p, -1.0 / 3.0);
  EXPECT_EQ(read[1].kl, 2e-17);
  EXPECT_TRUE(read[0].same_top && !read[1].same_top);
  EXPECT_EQ(read[0].base_top_p, 0.7);
}

TEST_F(SamplesLogTest, KeepsWhatASmallerRunDidNotNeed) {
  const auto run = [&](std::size_t documents) -> std::size_t {
    auto log = SamplesLog::open(file(), true);
    EXPECT_TRUE(log) << log.error().message;
    const auto finished = log->begin(key_);
    EXPECT_TRUE(finished);
    TaskResult result;
    for (std::size_t i = 0; i < documents; ++i) {
      if (!finished->documents.contains(i)) {
        EXPECT_TRUE(log->add(0, i, {{-1.0, true}}));
      }
      DocumentScore document;
      document.document = i;
      document.contexts = {""};
      document.continuations = {""};
      document.target = std::string();
      result.documents.push_back(document);
    }
    log->end(0, result);
    EvalResult all;
    all.tasks = {result};
    EXPECT_EQ(log->unused(), finished->size() > documents ? finished->size() - documents : 0);
    EXPECT_TRUE(log->finish({&all}));
    return finished->size();
  };
  {
    auto log = SamplesLog::open(file(), false);
    ASSERT_TRUE(log);
    ASSERT_TRUE(log->begin(key_));
    for (std::size_t i = 0; i < 5; ++i) ASSERT_TRUE(log->add(0, i, {{-1.0, true}}));
  }
  EXPECT_EQ(run(2), 5U);
  EXPECT_TRUE(fs::exists(partial()));
  EXPECT_EQ(run(7), 5U);
  EXPECT_FALSE(fs::exists(partial()));
}

}  // namespace
}  // namespace fptq::eval
