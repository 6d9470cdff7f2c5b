// Quantizing with calibration, from a checkpoint to a directory.

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/rng.h"
#include "io/checkpoint.h"
#include "model/llama_model.h"
#include "quantize/calibration_run.h"
#include "quantize/pipeline.h"
#include "support/temporary_directory.h"
#include "support/tiny_checkpoint.h"
#include "text/tokenizer.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

class CalibratedQuantize : public testing::TemporaryDirectoryTest {
 protected:
  void SetUp() override {
    TemporaryDirectoryTest::SetUp();
    ASSERT_TRUE(testing::write_tiny_checkpoint(root_ / "model", {.layers = 3}));
    Rng rng(3);
    std::ofstream(root_ / "text.txt") << random_text(rng, 8000);
  }

  static std::string random_text(Rng& rng, int letters) {
    std::string text;
    for (int i = 0; i < letters; ++i) {
      text += static_cast<char>('a' + rng.below(26));
      if (rng.below(5) == 0) text += ' ';
    }
    return text;
  }

  Recipe recipe(const std::string& changes = "", const std::string& rounding = "gptq",
                const std::string& samples = "6") const {
    auto parsed = parse_recipe("{weights: w4g32, seqlen: 32, samples: " + samples +
                                   ", rounding: " + rounding + ", calib: '" +
                                   (root_ / "text.txt").string() + "'" + changes + "}",
                               "recipe");
    EXPECT_TRUE(parsed) << parsed.error().message;
    return *std::move(parsed);
  }

  Result<QuantizeReport> run(const Recipe& recipe, const std::string& name, QuantizeOptions options,
                             std::size_t threads = 2) const {
    ThreadPool pool(threads);
    auto checkpoint = io::open_checkpoint(root_ / "model");
    EXPECT_TRUE(checkpoint);
    options.output = root_ / name;
    options.pool = &pool;
    return quantize_checkpoint(recipe, **checkpoint, options);
  }

  // Name -> contents; of the manifest only what does not change from run to run.
  std::map<std::string, std::string> contents(const std::string& name) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(root_ / name)) {
      std::string text = *read_text_file(entry.path());
      if (entry.path().filename() == "fptq_manifest.json") {
        Json manifest = *parse_json(text, "manifest");
        manifest.erase("run");
        text = manifest.dump();
      }
      files[entry.path().filename().string()] = text;
    }
    return files;
  }

  // Logits of a text that calibration has not seen.
  std::vector<float> logits(const std::string& name) const {
    ThreadPool pool(1);
    auto checkpoint = io::open_checkpoint(root_ / name);
    EXPECT_TRUE(checkpoint);
    auto model = model::LlamaModel::load(
        std::shared_ptr<const io::Checkpoint>(*std::move(checkpoint)), {.pool = &pool});
    EXPECT_TRUE(model) << model.error().message;
    Rng rng(8);
    const auto files = (*io::open_checkpoint(root_ / name))->tokenizer();
    const auto tokenizer = text::Tokenizer::from_json(files->tokenizer_json, "tokenizer");
    const auto ids = *tokenizer->encode(random_text(rng, 64), true);
    auto cache = model->new_cache(ids.size());
    std::vector<float> out(ids.size() * model->config().vocab_size);
    const model::SequenceInput input{
        .ids = ids, .cache = &*cache, .logits = model::LogitsWanted::kAll};
    EXPECT_TRUE(model->forward(std::span(&input, 1), out));
    return out;
  }

  double distance(const std::string& a, const std::string& b) const {
    const std::vector<float> first = logits(a);
    const std::vector<float> second = logits(b);
    double total = 0;
    for (std::size_t i = 0; i < first.size(); ++i) {
      const double difference = static_cast<double>(first[i]) - static_cast<double>(second[i]);
      total += difference * difference;
    }
    return total;
  }
};

TEST_F(CalibratedQuantize, IsCloserToTheOriginalThanRoundingToNearest) {
  for (const char* rounding : {"gptq", "rtn"}) {
    ASSERT_TRUE(run(recipe(", embed: keep, head: keep", rounding, "100"), rounding, {}));
  }
  const double nearest = distance("rtn", "model");
  EXPECT_LT(distance("gptq", "model"), 0.8 * nearest);
}

TEST_F(CalibratedQuantize, GivesTheSameBytesForAnyNumberOfThreads) {
  ASSERT_TRUE(run(recipe(), "one", {}, 1));
  ASSERT_TRUE(run(recipe(), "three", {}, 3));
  EXPECT_EQ(contents("one"), contents("three"));
}

TEST_F(CalibratedQuantize, GoesOnWhereItWasInterruptedWithTheSameBytes) {
  ASSERT_TRUE(run(recipe(), "whole", {}));
  std::size_t calls = 0;
  QuantizeOptions counting;
  counting.progress = [&](const ProgressUpdate&) {
    ++calls;
    return true;
  };
  ASSERT_TRUE(run(recipe(), "counted", counting));
  ASSERT_GT(calls, 30U);
  for (std::size_t stop = 1; stop < calls; stop += calls / 12) {
    std::size_t seen = 0;
    QuantizeOptions options;
    options.overwrite = true;
    options.progress = [&](const ProgressUpdate&) { return ++seen < stop; };
    const auto stopped = run(recipe(), "resumed", options);
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().kind, Error::Kind::kInterrupted);
    QuantizeOptions resume;
    resume.resume = true;
    resume.overwrite = true;
    const auto done = run(recipe(), "resumed", resume);
    ASSERT_TRUE(done) << done.error().message;
    EXPECT_EQ(contents("resumed"), contents("whole")) << stop;
    EXPECT_FALSE(fs::exists(root_ / "resumed.partial"));
  }
}

class StoppedRun : public CalibratedQuantize {
 protected:
  void SetUp() override {
    CalibratedQuantize::SetUp();
    QuantizeOptions options;
    // Two of three blocks.
    options.progress = [&](const ProgressUpdate& update) {
      return update.stage != "rounding block 3 of 3";
    };
    stopped_ = run(recipe(), "out", options).error();
  }

  Error stopped_;
};

TEST_F(StoppedRun, SaysHowToGoOn) {
  EXPECT_EQ(stopped_.kind, Error::Kind::kInterrupted);
  EXPECT_EQ(stopped_.message,
            (root_ / "out.partial").string() + ": interrupted. " +
                (root_ / "out.partial").string() +
                " keeps 2 finished blocks: the same command with --resume goes on "
                "from there");
  EXPECT_FALSE(fs::exists(root_ / "out"));
}

TEST_F(StoppedRun, IsNotThrownAwayUnasked) {
  const auto again = run(recipe(), "out", {});
  ASSERT_FALSE(again);
  EXPECT_EQ(
      again.error().message,
      (root_ / "out.partial").string() +
          ": holds 2 finished blocks of a run that was stopped. Go on with --resume, or begin "
          "again with --overwrite");
  EXPECT_EQ(CalibrationRun::finished_blocks(root_ / "out.partial"), 2U);
}

TEST_F(StoppedRun, DoesNotGoOnWithAnotherRecipe) {
  QuantizeOptions options;
  options.resume = true;
  const auto other = run(recipe(", damping: 0.5"), "out", options);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().kind, Error::Kind::kInvalidArgument);
  EXPECT_NE(other.error().message.find("--resume: expected a run with the same recipe"),
            std::string::npos)
      << other.error().message;
  EXPECT_EQ(CalibrationRun::finished_blocks(root_ / "out.partial"), 2U);
}

TEST_F(StoppedRun, ReportsADamagedBlock) {
  fs::resize_file(root_ / "out.partial" / "calibration" / "block-00001" / "model.safetensors", 100);
  QuantizeOptions options;
  options.resume = true;
  const auto resumed = run(recipe(), "out", options);
  ASSERT_FALSE(resumed);
  EXPECT_EQ(resumed.error().kind, Error::Kind::kFormat) << resumed.error().message;
}

TEST_F(CalibratedQuantize, WritesTheScaleOfStaticActivations) {
  ASSERT_TRUE(run(recipe(", activations: a8s", "rtn"), "static", {}));
  ASSERT_TRUE(run(recipe("", "rtn"), "dynamic", {}));
  const auto checkpoint = io::open_checkpoint(root_ / "static");
  ASSERT_TRUE(checkpoint);
  const auto scale = (*checkpoint)->read("model.layers.1.mlp.down_proj.input_scale");
  ASSERT_TRUE(scale);
  EXPECT_GT(scale->to_f32()[0], 0);
  EXPECT_LT(distance("static", "model"), 2 * distance("dynamic", "model"));
}

TEST_F(CalibratedQuantize, RefusesAMemoryLimitBeforeItBegins) {
  QuantizeOptions options;
  options.ram_limit_bytes = 1000;
  const auto refused = run(recipe(), "out", options);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, Error::Kind::kLimit);
  EXPECT_FALSE(fs::exists(root_ / "out.partial"));
}

TEST_F(CalibratedQuantize, NamesTheTextThatIsMissing) {
  fs::remove(root_ / "text.txt");
  const auto missing = run(recipe(), "out", {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, Error::Kind::kNotFound);
  EXPECT_FALSE(fs::exists(root_ / "out.partial"));
}

TEST_F(CalibratedQuantize, DrawsItsOwnTextWhereNoneIsGiven) {
  const auto parsed =
      parse_recipe("{weights: w4g32, rounding: gptq, samples: 3, seqlen: 16}", "recipe");
  ASSERT_TRUE(run(*parsed, "out", {}));
  const Json manifest =
      *parse_json(*read_text_file(root_ / "out" / "fptq_manifest.json"), "manifest");
  EXPECT_EQ(manifest["calibration"]["source"], "self");
  EXPECT_EQ(manifest["calibration"]["tokens"], 48);
  EXPECT_EQ(manifest["calibration"]["blocks"].size(), 3U);
}

}  // namespace
}  // namespace fptq::quantize
