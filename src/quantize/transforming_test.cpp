// Quantizing with transformed weights and chosen activations, from a checkpoint to a directory.

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/rng.h"
#include "io/checkpoint.h"
#include "model/llama_model.h"
#include "quantize/down_rotated_checkpoint.h"
#include "quantize/observation.h"
#include "quantize/pipeline.h"
#include "support/temporary_directory.h"
#include "support/tiny_checkpoint.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

class TransformingQuantize : public testing::TemporaryDirectoryTest {
 protected:
  void SetUp() override {
    TemporaryDirectoryTest::SetUp();
    ASSERT_TRUE(testing::write_tiny_checkpoint(root_ / "model", {.dtype = DType::kBF16}));
    Rng rng(3);
    std::ofstream text(root_ / "text.txt");
    for (int i = 0; i < 8000; ++i) {
      text << static_cast<char>('a' + rng.below(26)) << (rng.below(5) == 0 ? " " : "");
    }
  }

  Recipe recipe(const std::string& changes) const {
    auto parsed = parse_recipe("{weights: w4g32, seqlen: 32, samples: 6, calib: '" +
                                   (root_ / "text.txt").string() + "', " + changes + "}",
                               "recipe");
    EXPECT_TRUE(parsed) << parsed.error().message;
    return *std::move(parsed);
  }

  Result<QuantizeReport> run(const std::string& changes, const std::string& name,
                             QuantizeOptions options = {}, std::size_t threads = 2) const {
    ThreadPool pool(threads);
    const auto checkpoint = io::open_checkpoint(root_ / "model");
    options.output = root_ / name;
    options.pool = &pool;
    return quantize_checkpoint(recipe(changes), **checkpoint, options);
  }

  Json manifest(const std::string& name) const {
    Json json = *parse_json(*read_text_file(root_ / name / "fptq_manifest.json"), "manifest");
    json.erase("run");
    return json;
  }

  std::map<std::string, std::string> contents(const std::string& name) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(root_ / name)) {
      files[entry.path().filename().string()] = *read_text_file(entry.path());
    }
    files["fptq_manifest.json"] = manifest(name).dump();
    return files;
  }

  std::vector<float> logits(const std::string& name) const {
    ThreadPool pool(1);
    auto checkpoint = io::open_checkpoint(root_ / name);
    EXPECT_TRUE(checkpoint);
    auto model = model::LlamaModel::load(
        std::shared_ptr<const io::Checkpoint>(*std::move(checkpoint)), {.pool = &pool});
    EXPECT_TRUE(model) << model.error().message;
    std::vector<std::int32_t> ids;
    for (int i = 0; i < 24; ++i) ids.push_back(3 + 11 * i);
    auto cache = model->new_cache(ids.size());
    std::vector<float> out(ids.size() * model->config().vocab_size);
    const model::SequenceInput input{
        .ids = ids, .cache = &*cache, .logits = model::LogitsWanted::kAll};
    EXPECT_TRUE(model->forward(std::span(&input, 1), out));
    return out;
  }

  // |a - b|^2 / |b|^2.
  double distance(const std::string& a, const std::string& b) const {
    const std::vector<float> first = logits(a);
    const std::vector<float> second = logits(b);
    double difference = 0;
    double size = 0;
    for (std::size_t i = 0; i < first.size(); ++i) {
      const double d = static_cast<double>(first[i]) - static_cast<double>(second[i]);
      difference += d * d;
      size += static_cast<double>(second[i]) * static_cast<double>(second[i]);
    }
    return difference / size;
  }
};

const std::vector<std::string> kTransformations = {"equalize: lae",
                                                   "equalize: smoothquant",
                                                   "equalize: awq",
                                                   "rotate: hadamard",
                                                   "rotate: hadamard, equalize: lae",
                                                   "rotate_down: hadamard",
                                                   "rotate: hadamard, rotate_down: hadamard"};

TEST_F(TransformingQuantize, StaysCloseToTheOriginal) {
  ASSERT_TRUE(run("rounding: rtn", "plain"));
  const double plain = distance("plain", "model");
  for (const char* rounding : {"rtn", "gptq"}) {
    for (const std::string& how : kTransformations) {
      const auto report = run(how + ", rounding: " + rounding, how + rounding);
      ASSERT_TRUE(report) << how << ": " << report.error().message;
      EXPECT_LT(distance(how + rounding, "model"), 2 * plain) << how << rounding;
    }
  }
}

TEST_F(TransformingQuantize, SaysWhichInputsAreRotatedWhileTheModelRuns) {
  ASSERT_TRUE(run("rotate_down: hadamard", "all"));
  const auto all = io::open_checkpoint(root_ / "all");
  EXPECT_EQ((*all)->config()["quantization_config"]["transform_config"],
            down_rotation_config(32, std::vector<std::size_t>{0, 1}, 2));
  EXPECT_EQ(manifest("all")["down_rotation"],
            Json::parse(R"({"kind": "hadamard", "block": 32, "layers": [0, 1]})"));
  const std::string warning = manifest("all")["warnings"].dump();
  EXPECT_NE(warning.find("inputs of down_proj are rotated while the model runs"),
            std::string::npos);

  const auto report = run(
      "rotate_down: hadamard, overrides: [{match: layers.0.*down_proj, scheme: keep}]", "second");
  ASSERT_TRUE(report) << report.error().message;
  const auto second = io::open_checkpoint(root_ / "second");
  const auto config = model::parse_llama_config((*second)->config(), "second");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->down_rotations, (std::vector<std::size_t>{0, 32}));
  const std::string kept = "model.layers.0.mlp.down_proj.weight";
  EXPECT_EQ((*second)->read(kept)->to_f32(),
            (*io::open_checkpoint(root_ / "model"))->read(kept)->to_f32());

  ASSERT_TRUE(run("rounding: rtn", "none"));
  EXPECT_FALSE(manifest("none").contains("down_rotation"));
  EXPECT_FALSE((*io::open_checkpoint(root_ / "none"))
                   ->config()["quantization_config"]
                   .contains("transform_config"));
}

TEST_F(TransformingQuantize, RotatesInputsOfDownWhereThatLowersTheDivergence) {
  const auto report = run("rotate_down: auto, rounding: rtn", "chosen");
  ASSERT_TRUE(report) << report.error().message;
  const Json chosen = manifest("chosen")["down_rotation"];
  const double plain = chosen["choice"]["kl_plain"].get<double>();
  const double rotated = chosen["choice"]["kl_rotated"].get<double>();
  EXPECT_GT(plain, 0);
  EXPECT_GT(rotated, 0);
  EXPECT_NE(plain, rotated);
  EXPECT_EQ(chosen["choice"]["tokens"], 6 * 32);
  EXPECT_EQ(chosen["kind"], rotated < plain ? "hadamard" : "none");
  // The output is that of the choice, made by hand.
  const std::string kind = chosen["kind"].get<std::string>();
  ASSERT_TRUE(run("rounding: rtn, rotate_down: " + kind, "same"));
  auto expected = contents("same");
  auto actual = contents("chosen");
  for (auto* files : {&expected, &actual}) {
    files->erase("recipe.yaml");
    files->erase("fptq_manifest.json");
  }
  EXPECT_EQ(expected, actual);
}

TEST_F(TransformingQuantize, KeepsInputsAsTheyAreWhereTheyAreEvenAlready) {
  // One weight in each row of down_proj, which the grid holds exactly; spread over 32 it does not.
  testing::TinyModel model = testing::make_tiny_model();
  for (const char* layer : {"0", "1"}) {
    Tensor& down = *model.find("model.layers." + std::string(layer) + ".mlp.down_proj.weight");
    std::vector<float> weights(down.elements(), 0.0f);
    for (std::size_t row = 0; row < down.rows(); ++row) weights[row * down.cols() + row] = 1.0f;
    down = testing::f32_tensor(down.shape(), weights);
  }
  fs::remove_all(root_ / "model");
  ASSERT_TRUE(testing::write_tiny_checkpoint(root_ / "model", model, {}));
  const std::string keep =
      ", overrides: [{match: self_attn, scheme: keep}, "
      "{match: gate_proj, scheme: keep}, {match: up_proj, scheme: keep}]";
  const auto report = run("activations: a16, rounding: rtn, rotate_down: auto" + keep, "kept");
  ASSERT_TRUE(report) << report.error().message;
  const Json kept = manifest("kept");
  EXPECT_EQ(kept["down_rotation"]["kind"], "none");
  EXPECT_LT(kept["down_rotation"]["choice"]["kl_plain"],
            kept["down_rotation"]["choice"]["kl_rotated"]);
  EXPECT_FALSE((*io::open_checkpoint(root_ / "kept"))
                   ->config()["quantization_config"]
                   .contains("transform_config"));
  EXPECT_EQ(kept["warnings"].dump().find("rotated while the model runs"), std::string::npos);
}

TEST_F(TransformingQuantize, RefusesRotationsThatNobodyCouldReadOrSee) {
  const auto kept =
      run("rotate_down: hadamard, overrides: [{match: down_proj, scheme: keep}]", "out");
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().message,
            (root_ / "model").string() +
                ": rotate_down: expected a down_proj with quantized weights, got none");
  std::string nf4 = "rotate_down: hadamard, embed: keep, head: keep, activations: a16, ";
  nf4 += "overrides: [{match: proj, scheme: nf4}]";
  const auto table = run(nf4, "out");
  ASSERT_FALSE(table);
  EXPECT_EQ(
      table.error().message,
      (root_ / "model").string() +
          ": inputs of down_proj are rotated: expected weights that are integers, got entries "
          "of a table, whose layout has no word for rotations");
  // The rotated model written as floats, to be quantized again with another rotation.
  testing::TinyModel model = testing::make_tiny_model();
  model.config["quantization_config"] = {
      {"quant_method", "compressed-tensors"},
      {"config_groups", Json::object()},
      {"transform_config", down_rotation_config(32, std::vector<std::size_t>{0, 1}, 2)}};
  fs::remove_all(root_ / "model");
  ASSERT_TRUE(testing::write_tiny_checkpoint(root_ / "model", model, {}));
  const auto twice = run("rotate_down: hadamard", "out");
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().message, (root_ / "model").string() +
                                       ": rotate_down: expected inputs that nobody rotates yet, "
                                       "got a transform_config");
  ASSERT_TRUE(run("rounding: rtn", "out"));
  EXPECT_EQ(
      (*io::open_checkpoint(root_ / "out"))->config()["quantization_config"]["transform_config"],
      model.config["quantization_config"]["transform_config"]);
}

TEST_F(TransformingQuantize, KeepsTheTypesOfTheSource) {
  ASSERT_TRUE(
      run("rotate: hadamard, equalize: lae, embed: keep, head: keep, "
          "overrides: [{match: up_proj, scheme: keep}]",
          "out"));
  const auto output = io::open_checkpoint(root_ / "out");
  for (const char* name :
       {"model.embed_tokens.weight", "lm_head.weight", "model.layers.0.mlp.up_proj.weight",
        "model.layers.1.input_layernorm.weight", "model.layers.1.mlp.down_proj.weight_scale"}) {
    ASSERT_NE((*output)->find(name), nullptr) << name;
    EXPECT_EQ((*output)->find(name)->dtype, DType::kBF16) << name;
  }
  EXPECT_EQ((*output)->config()["tie_word_embeddings"], false);
}

TEST_F(TransformingQuantize, NamesTheHashOfTheSourcesTensors) {
  ASSERT_TRUE(run("rotate: hadamard", "out"));
  ASSERT_TRUE(run("rounding: rtn", "plain"));
  std::map<std::string, Json> plain;
  for (const Json& tensor : manifest("plain")["tensors"]) {
    plain[tensor["source"]] = tensor["source_sha256"];
  }
  for (const Json& tensor : manifest("out")["tensors"]) {
    if (tensor["source"] == "lm_head.weight") {
      EXPECT_TRUE(tensor["source_sha256"].is_null());
    } else {
      EXPECT_EQ(tensor["source_sha256"], plain[tensor["source"]]);
    }
  }
}

TEST_F(TransformingQuantize, ThePaperChoosesByRange) {
  // The tiny model's inputs reach from 4.07 to 24.7.
  ASSERT_TRUE(run("equalize: lae, activation_policy: '4.2,20'", "out"));
  const Json inputs = manifest("out")["inputs"];
  ASSERT_EQ(inputs.size(), 8U);
  const auto output = io::open_checkpoint(root_ / "out");
  std::map<std::string, int> seen;
  for (const Json& input : inputs) {
    const double absmax = input["absmax"].get<double>();
    const bool norm = input["input"] == "attention" || input["input"] == "mlp";
    const std::string policy = absmax <= 4.2 ? "static" : absmax < 20 ? "lae-static" : "dynamic";
    const std::string expected = policy == "lae-static" && !norm ? "dynamic" : policy;
    EXPECT_EQ(input["policy"], policy);
    EXPECT_EQ(input["activations"], expected);
    EXPECT_EQ(input["equalized"], expected == "lae-static");
    ++seen[policy];
    for (const Json& linear : input["linears"]) {
      const std::string scale = linear.get<std::string>() + ".input_scale";
      EXPECT_EQ((*output)->find(scale) != nullptr, expected != "dynamic") << scale;
    }
  }
  EXPECT_GT(seen["static"], 0) << inputs.dump(1);
  EXPECT_GT(seen["lae-static"], 0) << inputs.dump(1);
  EXPECT_GT(seen["dynamic"], 0) << inputs.dump(1);
  EXPECT_LT(distance("out", "model"), 0.2);
}

TEST_F(TransformingQuantize, GivesTheSameBytesForAnyNumberOfThreads) {
  QuantizeOptions options;
  options.overwrite = true;
  for (const std::string& how : kTransformations) {
    ASSERT_TRUE(run(how + ", activation_policy: '4.2,20'", "one", options, 1));
    ASSERT_TRUE(run(how + ", activation_policy: '4.2,20'", "three", options, 3));
    EXPECT_EQ(contents("one"), contents("three")) << how;
  }
}

TEST_F(TransformingQuantize, GoesOnAfterTheObservation) {
  const std::string how = "equalize: awq, rounding: gptq";
  ASSERT_TRUE(run(how, "whole"));
  QuantizeOptions stop;
  stop.progress = [](const ProgressUpdate& update) {
    return !update.stage.starts_with("rounding");
  };
  const auto stopped = run(how, "out", stop);
  ASSERT_FALSE(stopped);
  EXPECT_NE(stopped.error().message.find("out.partial keeps the observation: the same command with "
                                         "--resume goes on from there"),
            std::string::npos)
      << stopped.error().message;
  const auto again = run(how, "out");
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message.find("holds the observation of a run that was stopped"),
            std::string::npos)
      << again.error().message;
  bool observed = false;
  QuantizeOptions resume;
  resume.resume = true;
  resume.progress = [&](const ProgressUpdate& update) {
    observed = observed || update.stage.starts_with("observing");
    return true;
  };
  ASSERT_TRUE(run(how, "out", resume));
  EXPECT_FALSE(observed);
  EXPECT_EQ(contents("out"), contents("whole"));
}

TEST_F(TransformingQuantize, ReportsADamagedObservation) {
  const std::string how = "equalize: lae, rounding: gptq";
  QuantizeOptions stop;
  stop.progress = [](const ProgressUpdate& update) {
    return !update.stage.starts_with("rounding");
  };
  ASSERT_FALSE(run(how, "out", stop));
  const fs::path file = root_ / "out.partial" / "calibration" / "observation.json";
  ASSERT_TRUE(fs::exists(file));
  std::ofstream(file) << "[]";
  QuantizeOptions resume;
  resume.resume = true;
  const auto resumed = run(how, "out", resume);
  ASSERT_FALSE(resumed);
  EXPECT_EQ(resumed.error().kind, Error::Kind::kFormat);
  EXPECT_NE(resumed.error().message.find("observation.json: expected 8 inputs"), std::string::npos)
      << resumed.error().message;
}

TEST_F(TransformingQuantize, NothingIsLeftOfAnObservationThatWasInterrupted) {
  QuantizeOptions stop;
  stop.progress = [](const ProgressUpdate& update) {
    return !update.stage.starts_with("observing block 2");
  };
  const auto stopped = run("equalize: lae", "out", stop);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().kind, Error::Kind::kInterrupted);
  EXPECT_FALSE(fs::exists(root_ / "out.partial"));
}

}  // namespace
}  // namespace fptq::quantize
