#include "cli/provenance.h"

#include <gtest/gtest.h>

#include <fstream>

namespace fptq::cli {
namespace {

class ModelFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / "fptq_provenance_test";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }

  std::filesystem::path folder_;
};

TEST(ShellLine, QuotesWhatAShellWouldRead) {
  EXPECT_EQ(shell_line({"fptq", "compare", "a b", "it's", "$(x)", "", "--ppl=t.txt"}),
            "fptq compare 'a b' 'it'\\''s' '$(x)' '' --ppl=t.txt");
}

TEST(ProgramFacts, SayWhatRanWhereAndWhen) {
  CommonOptions common;
  common.threads = 3;
  common.isa = "scalar";
  const Facts facts = program_facts(common);
  const auto value = [&](const std::string& name) {
    for (const auto& [key, text] : facts) {
      if (key == name) return text;
    }
    return std::string("absent");
  };
  EXPECT_EQ(value("program"), "fptq " FPTQ_VERSION);
  EXPECT_EQ(value("threads"), "3");
  EXPECT_EQ(value("kernels"), "scalar");
  EXPECT_EQ(value("date").size(), std::string("2026-01-31T12:00:00Z").size());
  for (const auto& [key, text] : facts) EXPECT_NE(text, "") << key;
}

TEST_F(ModelFiles, AreHashed) {
  write("config.json", "abc");
  const auto facts = model_facts(folder_);
  ASSERT_TRUE(facts);
  ASSERT_EQ(facts->size(), 1U);
  EXPECT_EQ((*facts)[0].first, "sha256 of " + (folder_ / "config.json").string());
  // NIST's example for "abc".
  EXPECT_EQ((*facts)[0].second, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_F(ModelFiles, MayBeOneFile) {
  write("model.gguf", "abc");
  const auto facts = model_facts(folder_ / "model.gguf");
  ASSERT_TRUE(facts);
  ASSERT_EQ(facts->size(), 1U);
  EXPECT_EQ((*facts)[0].first, "sha256 of " + (folder_ / "model.gguf").string());
}

TEST_F(ModelFiles, ThatAreNotThereAreAnErrorOnlyWhereTheyAreAskedFor) {
  EXPECT_TRUE(model_facts(folder_)->empty());
  const auto hash = file_sha256(folder_ / "text");
  ASSERT_FALSE(hash);
  EXPECT_EQ(hash.error().kind, Error::Kind::kNotFound);
}

}  // namespace
}  // namespace fptq::cli
