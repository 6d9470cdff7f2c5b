#include "quantize/verify.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "io/safetensors.h"
#include "quantize/manifest.h"
#include "quantize/pipeline.h"
#include "support/temporary_directory.h"
#include "support/tiny_checkpoint.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

std::shared_ptr<const io::Checkpoint> tiny(std::uint64_t seed = 1) {
  return testing::memory_checkpoint(testing::make_tiny_model({.seed = seed}));
}

class Verify : public testing::TemporaryDirectoryTest {
 protected:
  fs::path quantize(const Recipe& recipe, const io::Checkpoint& source, const std::string& name) {
    ThreadPool pool(2);
    QuantizeOptions options;
    options.output = root_ / name;
    options.pool = &pool;
    const auto report = quantize_checkpoint(recipe, source, options);
    EXPECT_TRUE(report) << report.error().message;
    return root_ / name;
  }
  fs::path quantize(const std::string& recipe = "rtn") {
    return quantize(*builtin_recipe(recipe), *tiny(), recipe);
  }

  VerifyReport verify(const fs::path& out, VerifyOptions options = {}) {
    ThreadPool pool(2);
    options.pool = &pool;
    const auto report = verify_checkpoint(out, options);
    EXPECT_TRUE(report) << report.error().message;
    return report ? *report : VerifyReport{};
  }

  static std::string texts(const VerifyReport& report) {
    std::string all;
    for (const VerifyFinding& finding : report.findings) all += finding_text(finding) + "\n";
    return all;
  }

  static void flip(const fs::path& file, std::uint64_t offset) {
    std::string text = *read_text_file(file);
    text[offset] = static_cast<char>(text[offset] ^ 1);
    std::ofstream(file, std::ios::binary) << text;
  }
};

TEST_F(Verify, PassesWhatWasWritten) {
  for (const char* recipe : {"rtn", "int8", "nf4"}) {
    const fs::path out = quantize(recipe);
    const auto source = tiny();
    VerifyOptions options;
    options.base = source.get();
    const VerifyReport report = verify(out, options);
    EXPECT_TRUE(report.passed()) << recipe << "\n" << texts(report);
    EXPECT_EQ(report.rederivation, Rederivation::kStreamed);
    EXPECT_EQ(report.files, 3U);
    EXPECT_EQ(report.rederived_tensors, report.tensors);
    EXPECT_EQ(report.source_tensors, source->tensors().size());
    EXPECT_EQ(report.recipe, recipe);
    EXPECT_FALSE(report.written_by_cpu.empty());
    EXPECT_TRUE(report.notes.empty());
  }
}

TEST_F(Verify, FindsAChangedByteInEveryFile) {
  const fs::path out = quantize();
  for (const auto& entry : fs::directory_iterator(out)) {
    const std::string original = *read_text_file(entry.path());
    for (std::uint64_t at = 0; at < original.size(); at += 1 + original.size() / 7) {
      flip(entry.path(), at);
      const VerifyReport report = verify(out);
      EXPECT_FALSE(report.passed()) << entry.path() << " at " << at;
      EXPECT_NE(texts(report).find(entry.path().filename().string()), std::string::npos)
          << texts(report);
      std::ofstream(entry.path(), std::ios::binary) << original;
    }
  }
  EXPECT_TRUE(verify(out).passed());
}

TEST_F(Verify, NamesTheTensorAndItsBytes) {
  const fs::path out = quantize();
  const auto file = *io::SafetensorsFile::open(out / "model.safetensors");
  const io::SafetensorsEntry entry =
      *file.header().find("model.layers.1.mlp.up_proj.weight_packed");
  flip(out / "model.safetensors", entry.begin + 40);
  const VerifyReport report = verify(out);
  ASSERT_EQ(report.findings.size(), 1U) << texts(report);
  EXPECT_EQ(report.findings[0].file, "model.safetensors");
  EXPECT_EQ(report.findings[0].tensor, entry.name);
  EXPECT_EQ(report.findings[0].bytes->first, entry.begin);
  EXPECT_EQ(report.findings[0].bytes->second, entry.end);

  const auto source = tiny();
  VerifyOptions options;
  options.base = source.get();
  const VerifyReport exact = verify(out, options);
  ASSERT_EQ(exact.findings.size(), 2U) << texts(exact);
  EXPECT_EQ(finding_text(exact.findings[1]),
            "model.safetensors: tensor \"" + entry.name + "\": bytes [" +
                std::to_string(entry.begin + 40) + ", " + std::to_string(entry.begin + 41) +
                "): 1 of " + std::to_string(entry.end - entry.begin) +
                " bytes differ from what the recipe makes of the base");
}

TEST_F(Verify, TellsTheHeaderFromTheTensors) {
  const fs::path out = quantize();
  const std::string text = *read_text_file(out / "model.safetensors");
  const std::size_t at = text.find("\"pt\"");
  ASSERT_NE(at, std::string::npos);
  flip(out / "model.safetensors", at + 1);
  const VerifyReport report = verify(out);
  ASSERT_EQ(report.findings.size(), 1U) << texts(report);
  EXPECT_NE(report.findings[0].what.find("the header changed"), std::string::npos);
}

TEST_F(Verify, FindsFilesThatAreMissingOrUnknown) {
  const fs::path out = quantize();
  std::ofstream(out / "notes.txt") << "mine";
  fs::remove(out / "recipe.yaml");
  fs::create_directory(out / "recipe.yaml");
  const VerifyReport report = verify(out);
  EXPECT_EQ(texts(report),
            "notes.txt: not in the manifest\n"
            "recipe.yaml: expected a file, as the manifest lists it, got none\n");
}

// Somebody who changes a tensor and makes all hashes anew can be found by the source only.
TEST_F(Verify, FindsAnotherSourceByItsTensors) {
  const fs::path out = quantize();
  const auto other = tiny(2);
  VerifyOptions options;
  options.base = other.get();
  options.tensor_pattern = "layers\\.0\\.mlp\\.up_proj";
  const VerifyReport report = verify(out, options);
  EXPECT_EQ(report.source_tensors, 1U);
  EXPECT_NE(texts(report).find("not the source that was quantized"), std::string::npos);
  EXPECT_NE(texts(report).find("bytes differ from what the recipe makes"), std::string::npos);
}

TEST_F(Verify, KeepsTheFirstFindingsAndCountsAll) {
  const fs::path out = quantize();
  const auto other = tiny(2);
  VerifyOptions options;
  options.base = other.get();
  options.max_findings = 3;
  const VerifyReport report = verify(out, options);
  EXPECT_EQ(report.findings.size(), 3U);
  EXPECT_GT(report.findings_total, 20U);
  EXPECT_EQ(to_json(report, "out")["findings"].size(), 3U);
  EXPECT_EQ(to_json(report, "out")["passed"], false);
}

TEST_F(Verify, RefusesWhatItCannotCheck) {
  ThreadPool pool(1);
  VerifyOptions options;
  options.pool = &pool;
  EXPECT_EQ(verify_checkpoint(root_ / "absent", options).error().kind, Error::Kind::kNotFound);
  fs::create_directory(root_ / "empty");
  const auto empty = verify_checkpoint(root_ / "empty", options);
  ASSERT_FALSE(empty);
  EXPECT_NE(empty.error().message.find("Only what fptq quantize wrote"), std::string::npos);
  const fs::path out = quantize();
  const auto source = tiny();
  options.base = source.get();
  options.tensor_pattern = "no_such";
  EXPECT_EQ(verify_checkpoint(out, options).error().kind, Error::Kind::kInvalidArgument);
  options.tensor_pattern.clear();
  options.progress = [](const ProgressUpdate&) { return false; };
  EXPECT_EQ(verify_checkpoint(out, options).error().kind, Error::Kind::kInterrupted);
}

class VerifyCalibrated : public Verify {
 protected:
  void SetUp() override {
    Verify::SetUp();
    ASSERT_TRUE(testing::write_tiny_checkpoint(root_ / "model"));
    source_ = *io::open_checkpoint(root_ / "model");
    std::string text;
    for (int i = 0; i < 4000; ++i) text += static_cast<char>('a' + (i * i / 7) % 26);
    std::ofstream(root_ / "text.txt") << text;
    auto recipe = parse_recipe("{weights: w4g32, seqlen: 32, samples: 4, rounding: gptq, calib: '" +
                                   (root_ / "text.txt").string() + "'}",
                               "recipe");
    ASSERT_TRUE(recipe) << recipe.error().message;
    out_ = quantize(*recipe, *source_, "out");
  }

  std::unique_ptr<io::Checkpoint> source_;
  fs::path out_;
};

TEST_F(VerifyCalibrated, RepeatsTheRun) {
  VerifyOptions options;
  options.base = source_.get();
  const VerifyReport report = verify(out_, options);
  EXPECT_TRUE(report.passed()) << texts(report);
  EXPECT_EQ(report.rederivation, Rederivation::kRepeated);
  EXPECT_EQ(report.rederived_tensors, report.tensors);
  for (const auto& entry : fs::directory_iterator(root_)) {
    EXPECT_EQ(entry.path().string().find(".verify-"), std::string::npos) << entry.path();
  }
}

TEST_F(VerifyCalibrated, TellsAnotherText) {
  VerifyOptions options;
  options.base = source_.get();
  fs::rename(root_ / "text.txt", root_ / "moved.txt");
  {
    ThreadPool pool(1);
    options.pool = &pool;
    const auto missing = verify_checkpoint(out_, options);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().kind, Error::Kind::kNotFound);
    EXPECT_NE(missing.error().message.find("--calib FILE"), std::string::npos);
  }
  options.calibration = (root_ / "moved.txt").string();
  EXPECT_TRUE(verify(out_, options).passed());
  std::ofstream(root_ / "moved.txt", std::ios::app) << "x";
  const VerifyReport report = verify(out_, options);
  ASSERT_EQ(report.findings.size(), 1U);
  EXPECT_NE(report.findings[0].what.find("not the text that it was calibrated with"),
            std::string::npos);
  EXPECT_EQ(report.rederivation, Rederivation::kNone);
}

}  // namespace
}  // namespace fptq::quantize
