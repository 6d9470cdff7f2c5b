#include "eval/samples_log.h"

#include <gtest/gtest.h>

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
    EXPECT_TRUE(finished->empty());
    ASSERT_TRUE(log->add(3, {{-1.1, true}, {-2.3000000000000003, false}}));
  }
  std::ofstream(partial(), std::ios::app) << "{\"doc\":4,\"ll\":[-1";  // killed in a line
  auto log = SamplesLog::open(file(), true);
  ASSERT_TRUE(log) << log.error().message;
  const auto other = log->begin({{"model", "m"}, {"task", "u"}});
  ASSERT_TRUE(other);
  EXPECT_TRUE(other->empty());
  const auto finished = log->begin(key_);
  ASSERT_TRUE(finished);
  ASSERT_EQ(finished->size(), 1U);
  const DocumentScores& scores = finished->at(3);
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
  EXPECT_NE(log.error().message.find("line 2: expected the scores of a document"),
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
  ASSERT_TRUE(log->finish({{"m", &result}}));
  EXPECT_FALSE(fs::exists(partial()));
  EXPECT_EQ(contents(file()),
            "{\"doc\":0,\"context\":\"Q:\",\"continuations\":[\" a\",\" b\"],\"ll\":[-1.5,-2.0],"
            "\"greedy\":[true,false],\"tokens\":[1,2],\"target\":1,\"acc\":0.0,\"acc_norm\":1.0,"
            "\"task\":\"t\",\"model\":\"m\"}\n"
            "{\"doc\":1,\"context\":[\"x\",\"y\"],\"continuations\":\" z\",\"ll\":[-1.5,-2.0],"
            "\"greedy\":[true,false],\"tokens\":[1,2],\"target\":1,\"acc\":1.0,\"task\":\"t\","
            "\"model\":\"m\"}\n");
}

}  // namespace
}  // namespace fptq::eval
