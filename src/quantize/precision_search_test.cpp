// What is measured, and quantizing to a target of bits, from a checkpoint to a directory.

#include "quantize/precision_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/rng.h"
#include "model/llama_model.h"
#include "numeric/quantizer.h"
#include "numeric/softmax.h"
#include "quantize/pipeline.h"
#include "support/temporary_directory.h"
#include "support/tiny_checkpoint.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;
using testing::f32_tensor;
using testing::make_tiny_model;
using testing::memory_checkpoint;
using testing::TinyModel;

using Sequences = std::vector<std::vector<std::int32_t>>;

Sequences random_sequences(std::size_t count, std::size_t length) {
  Rng rng(4);
  Sequences sequences(count, std::vector<std::int32_t>(length));
  for (auto& sequence : sequences) {
    for (std::int32_t& id : sequence) id = static_cast<std::int32_t>(rng.below(300));
  }
  return sequences;
}

// A model in which one linear's output dominates the residual stream, and whose weights have long
// tails, which 4 bits serve badly.
TinyModel with_strong_linear(const std::string& module) {
  TinyModel model = make_tiny_model({.layers = 3});
  for (auto& [name, tensor] : model.tensors) {
    const bool strong = name == module + ".weight";
    if (!strong && !name.ends_with("o_proj.weight") && !name.ends_with("down_proj.weight")) {
      continue;
    }
    std::vector<float> weights = tensor.to_f32();
    double squares = 0;
    for (const float weight : weights) squares += static_cast<double>(weight * weight);
    const auto mean = static_cast<float>(squares / static_cast<double>(weights.size()));
    for (float& weight : weights) weight *= strong ? weight * weight / mean : 0.1f;
    tensor = f32_tensor(tensor.shape(), weights);
  }
  return model;
}

constexpr char kStrong[] = "model.layers.1.mlp.down_proj";

class MeasureSensitivities : public ::testing::Test {
 protected:
  void prepare(const std::string& yaml) {
    auto recipe = parse_recipe(yaml, "recipe");
    ASSERT_TRUE(recipe) << recipe.error().message;
    recipe_ = *std::move(recipe);
    checkpoint_ = memory_checkpoint(with_strong_linear(kStrong));
    config_ = *model::parse_llama_config(checkpoint_->config(), "tiny");
    const auto plan = make_plan(recipe_, *checkpoint_);
    ASSERT_TRUE(plan);
    auto problem = precision_problem(recipe_, *plan, config_);
    ASSERT_TRUE(problem) << problem.error().message;
    problem_ = *std::move(problem);
  }

  std::vector<LinearSensitivity> measure(bool all = false, std::size_t threads = 2,
                                         std::vector<LinearSensitivity> known = {}) {
    ThreadPool pool(threads);
    const SensitivityJob job{.recipe = &recipe_,
                             .problem = &problem_,
                             .checkpoint = checkpoint_.get(),
                             .config = &config_,
                             .sequences = sequences_,
                             .pool = &pool,
                             .measure_all = all};
    std::uint64_t last = 0;
    const auto progress = [&](const ProgressUpdate& update) {
      EXPECT_EQ(update.stage, "measuring sensitivity");
      EXPECT_GT(update.done, last);
      last = update.done;
      total_ = update.total;
      return true;
    };
    auto measured = measure_sensitivities(job, std::move(known), progress,
                                          [&](std::span<const LinearSensitivity> some) -> Status {
                                            saved_.assign(some.begin(), some.end());
                                            return {};
                                          });
    EXPECT_TRUE(measured) << measured.error().message;
    EXPECT_EQ(last, total_);
    return *std::move(measured);
  }

  // Logits of all positions of the model with these weights of one module.
  std::vector<float> logits(const std::string& module, const std::vector<float>& weights) {
    TinyModel changed = with_strong_linear(kStrong);
    Tensor& tensor = *changed.find(module + ".weight");
    if (!weights.empty()) tensor = f32_tensor(tensor.shape(), weights);
    ThreadPool pool(1);
    auto model = model::LlamaModel::load(memory_checkpoint(std::move(changed)), {.pool = &pool});
    EXPECT_TRUE(model);
    std::vector<float> all;
    for (const auto& ids : sequences_) {
      auto cache = model->new_cache(ids.size());
      std::vector<float> out(ids.size() * config_.vocab_size);
      const model::SequenceInput input{
          .ids = ids, .cache = &*cache, .logits = model::LogitsWanted::kAll};
      EXPECT_TRUE(model->forward(std::span(&input, 1), out));
      all.insert(all.end(), out.begin(), out.end());
    }
    return all;
  }

  Recipe recipe_;
  std::shared_ptr<const io::Checkpoint> checkpoint_;
  model::LlamaConfig config_;
  PrecisionProblem problem_;
  Sequences sequences_ = random_sequences(3, 40);
  std::vector<LinearSensitivity> saved_;
  std::uint64_t total_ = 0;
};

bool same(const std::vector<LinearSensitivity>& a, const std::vector<LinearSensitivity>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const LinearSensitivity& x, const LinearSensitivity& y) {
                      return x.losses == y.losses && x.kl == y.kl;
                    });
}

TEST_F(MeasureSensitivities, GivesTheDivergenceOfTheModelWithThatLinearChanged) {
  prepare("{weights: w4g32, activations: a16, target_bpw: 5}");
  const std::vector<LinearSensitivity> measured = measure();
  const std::vector<float> base = logits(kStrong, {});
  const std::size_t vocabulary = config_.vocab_size;
  for (const std::size_t i : {std::size_t{2}, std::size_t{9}, std::size_t{20}}) {
    const PrecisionLinear& linear = problem_.linears[i];
    const std::vector<float> weights = checkpoint_->read(linear.module + ".weight")->to_f32();
    const std::vector<float> changed = logits(
        linear.module, dequantize(round_to_nearest(weights, linear.shape[0], linear.shape[1],
                                                   *linear.candidates[0].choice.scheme.weights,
                                                   linear.scale_dtype)));
    double sum = 0;
    for (std::size_t t = 0; t < base.size(); t += vocabulary) {
      sum += kl_divergence(std::span(base).subspan(t, vocabulary),
                           std::span(changed).subspan(t, vocabulary));
    }
    const double kl = sum / static_cast<double>(base.size() / vocabulary);
    // Six digits, and the linear's own kernel adds up in another order than a dense one.
    EXPECT_NEAR(*measured[i].kl[0], kl, 1e-4 * kl) << linear.module;
    EXPECT_FALSE(measured[i].kl[1]);
    EXPECT_FALSE(measured[i].kl.back());  // activations stay floats: nothing to set apart
  }
}

TEST_F(MeasureSensitivities, MeasuresEightBitsBesidesWhereActivationsAreQuantized) {
  prepare("{weights: w4g32, target_bpw: 5}");
  for (const LinearSensitivity& one : measure()) {
    ASSERT_TRUE(one.kl.front() && one.kl.back());
    EXPECT_FALSE(one.kl[1]);
    EXPECT_GT(*one.kl.front(), *one.kl.back());
    EXPECT_GT(one.losses[1], one.losses[0]);
    EXPECT_LT(one.losses.back(), 0.05 * one.losses[0]);
  }
}

// KL is quadratic in small errors, and coarser groups err in similar directions: what justifies
// estimating it from one measurement.
TEST_F(MeasureSensitivities, EstimatesWhatItDoesNotMeasure) {
  for (const char* activations : {"a16", "a8t"}) {
    prepare(std::string("{weights: w4g32, target_bpw: 5, activations: ") + activations + "}");
    double estimated = 0;
    double measured = 0;
    for (const LinearSensitivity& one : measure(/*all=*/true)) {
      LinearSensitivity few = one;
      const bool both = std::string(activations) != "a16";
      for (std::size_t c = 1; c < few.kl.size(); ++c) {
        if (!both || c + 1 < few.kl.size()) few.kl[c].reset();
      }
      const KlModel kl = fit_kl(few);
      for (std::size_t c = 1; c < one.kl.size(); ++c) {
        EXPECT_LT(std::abs(std::log(kl.at(one.losses[c]) / *one.kl[c])), std::log(2.0)) << c;
      }
      estimated += kl.at(one.losses[1]);
      measured += *one.kl[1];
    }
    EXPECT_NEAR(estimated / measured, 1.0, 0.15);
  }
}

TEST_F(MeasureSensitivities, DoesNotDependOnThreads) {
  prepare("{weights: w4g32, activations: a8s, target_bpw: 5}");
  EXPECT_TRUE(same(measure(false, 1), measure(false, 3)));
}

TEST_F(MeasureSensitivities, GoesOnBehindTheBlocksThatAreKnown) {
  prepare("{weights: w4g32, target_bpw: 5}");
  const std::vector<LinearSensitivity> whole = measure();
  EXPECT_TRUE(same(saved_, whole));
  for (const std::size_t known : {std::size_t{7}, std::size_t{14}}) {
    const std::vector<LinearSensitivity> again =
        measure(false, 2, {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(known)});
    EXPECT_TRUE(same(again, whole));
  }
}

TEST(SensitivitySequences, AreSpreadOverTheSetAndCut) {
  Sequences all;
  for (std::int32_t i = 0; i < 10; ++i) all.emplace_back(i < 5 ? 300 : 3, i);
  const Sequences some = sensitivity_sequences(all, 4);
  ASSERT_EQ(some.size(), 4U);
  EXPECT_EQ(some[0], std::vector<std::int32_t>(256, 0));
  EXPECT_EQ(some[1], std::vector<std::int32_t>(256, 2));
  EXPECT_EQ(some[2], std::vector<std::int32_t>(3, 5));
  EXPECT_EQ(some[3], std::vector<std::int32_t>(3, 7));
  EXPECT_EQ(sensitivity_sequences(all, 99).size(), 10U);
}

class QuantizeToATarget : public testing::TemporaryDirectoryTest {
 protected:
  void SetUp() override {
    TemporaryDirectoryTest::SetUp();
    ASSERT_TRUE(testing::write_tiny_checkpoint(root_ / "model", with_strong_linear(kStrong),
                                               {.layers = 3}));
    Rng rng(3);
    std::ofstream text(root_ / "text.txt");
    for (int i = 0; i < 6000; ++i) text << static_cast<char>(i % 6 ? 'a' + rng.below(26) : ' ');
  }

  Recipe recipe(const std::string& rounding, const std::string& target = "5") const {
    auto parsed = parse_recipe(
        "{weights: w4g32, seqlen: 32, samples: 6, sensitivity_samples: 3, "
        "target_bpw: " +
            target + ", rounding: " + rounding + ", calib: '" + (root_ / "text.txt").string() +
            "'}",
        "recipe");
    EXPECT_TRUE(parsed) << parsed.error().message;
    return *std::move(parsed);
  }

  Result<QuantizeReport> run(const Recipe& recipe, const std::string& name,
                             QuantizeOptions options = {}, std::size_t threads = 2) const {
    ThreadPool pool(threads);
    auto checkpoint = io::open_checkpoint(root_ / "model");
    EXPECT_TRUE(checkpoint);
    options.output = root_ / name;
    options.pool = &pool;
    return quantize_checkpoint(recipe, **checkpoint, options);
  }

  Json manifest(const std::string& name) const {
    Json json = *parse_json(*read_text_file(root_ / name / "fptq_manifest.json"), "manifest");
    json.erase("run");
    return json;
  }

  // Name -> contents; of the manifest only what does not change from run to run.
  std::map<std::string, std::string> contents(const std::string& name) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(root_ / name)) {
      files[entry.path().filename().string()] = *read_text_file(entry.path());
    }
    files["fptq_manifest.json"] = manifest(name).dump();
    return files;
  }
};

TEST_F(QuantizeToATarget, GivesTheStrongLinearEightBitsAndStaysWithinTheBudget) {
  for (const char* rounding : {"rtn", "hqq", "gptq"}) {
    const auto report = run(recipe(rounding), rounding);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_LE(report->linear_bits_per_weight, 5.0);
    EXPECT_GT(report->linear_bits_per_weight, 4.7);
    const Json json = manifest(rounding);
    EXPECT_EQ(json["precision"]["bits_per_weight"], json["linear_bits_per_weight"]);
    for (const Json& linear : json["precision"]["linears"]) {
      if (linear["module"] != kStrong) continue;
      EXPECT_EQ(linear["choice"], "w8c-sym-a8t") << linear;
    }
    EXPECT_EQ(json["calibration"].contains("blocks"), std::string(rounding) == "gptq");
    ThreadPool pool(1);
    auto checkpoint = io::open_checkpoint(root_ / rounding);
    ASSERT_TRUE(checkpoint);
    auto model = model::LlamaModel::load(
        std::shared_ptr<const io::Checkpoint>(*std::move(checkpoint)), {.pool = &pool});
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(model->scheme(), "mixed");
  }
}

TEST_F(QuantizeToATarget, WritesTheRecipeThatWasGiven) {
  ASSERT_TRUE(run(recipe("rtn"), "out"));
  EXPECT_EQ(*read_text_file(root_ / "out" / "recipe.yaml"), print_recipe(recipe("rtn")));
}

TEST_F(QuantizeToATarget, RefusesATargetThatNoChoiceMeets) {
  const auto refused = run(recipe("rtn", "4"), "out");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, Error::Kind::kInvalidArgument);
  EXPECT_FALSE(fs::exists(root_ / "out.partial"));
}

TEST_F(QuantizeToATarget, GivesTheSameBytesForAnyNumberOfThreads) {
  ASSERT_TRUE(run(recipe("gptq"), "one", {}, 1));
  ASSERT_TRUE(run(recipe("gptq"), "three", {}, 3));
  EXPECT_EQ(contents("one"), contents("three"));
}

TEST_F(QuantizeToATarget, GoesOnWhereItWasInterruptedWithTheSameBytes) {
  for (const char* rounding : {"rtn", "gptq"}) {
    ASSERT_TRUE(run(recipe(rounding), std::string("whole-") + rounding));
    const auto expected = contents(std::string("whole-") + rounding);
    std::size_t calls = 0;
    QuantizeOptions counting;
    counting.progress = [&](const ProgressUpdate&) { return ++calls > 0; };
    ASSERT_TRUE(run(recipe(rounding), std::string("counted-") + rounding, counting));
    for (std::size_t stop = 1; stop < calls; stop += calls / 12) {
      std::size_t seen = 0;
      QuantizeOptions options;
      options.overwrite = true;
      options.progress = [&](const ProgressUpdate&) { return ++seen < stop; };
      ASSERT_FALSE(run(recipe(rounding), "resumed", options));
      QuantizeOptions resume;
      resume.resume = true;
      resume.overwrite = true;
      const auto done = run(recipe(rounding), "resumed", resume);
      ASSERT_TRUE(done) << done.error().message;
      EXPECT_EQ(contents("resumed"), expected) << rounding << " " << stop;
    }
  }
}

TEST_F(QuantizeToATarget, DoesNotMeasureAgainWhenItIsResumed) {
  QuantizeOptions options;
  options.progress = [](const ProgressUpdate& update) { return update.stage != "quantizing"; };
  const auto stopped = run(recipe("rtn"), "out", options);
  ASSERT_FALSE(stopped);
  const std::string partial = (root_ / "out.partial").string();
  EXPECT_EQ(stopped.error().message,
            (root_ / "out").string() + ": interrupted. " + partial +
                " keeps measured sensitivities: the same command with --resume goes on from there");
  const auto again = run(recipe("rtn"), "out");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().message,
            partial +
                ": holds measured sensitivities of a run that was stopped. Go on with "
                "--resume, or begin again with --overwrite");
  QuantizeOptions resume;
  resume.resume = true;
  resume.progress = [](const ProgressUpdate& update) {
    return update.stage != "measuring sensitivity";
  };
  EXPECT_TRUE(run(recipe("rtn"), "out", resume));
}

}  // namespace
}  // namespace fptq::quantize
