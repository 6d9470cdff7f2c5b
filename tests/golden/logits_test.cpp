// Logits of transformers and of other libraries' quantized layers. Provenance and how the files
// were made: README.md of the test data's folder `golden`.

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "golden/model_fixture.h"
#include "support/npy_reader.h"
#include "support/test_data.h"

namespace fptq::testing {
namespace {

// Largest difference allowed for float checkpoints, as a part of the largest |logit|. Reached on
// AVX2 and AVX-512: 3e-6 for the stories models, 2e-6 for the tiny ones; the reference itself
// moves by that much between float32 and float64.
constexpr float kFloatTolerance = 1e-5f;

std::filesystem::path golden(const std::string& name) {
  return test_data_dir() / "golden" / name;
}

std::span<const float> row(const std::vector<float>& logits, std::size_t index,
                           std::size_t vocabulary) {
  return std::span(logits).subspan(index * vocabulary, vocabulary);
}

class TinyLogits : public ::testing::TestWithParam<const char*> {};

TEST_P(TinyLogits, EqualTransformers) {
  const std::string name = std::string("golden/logits/tiny/") + GetParam();
  FPTQ_REQUIRE_TEST_DATA(name);
  const std::filesystem::path directory = test_data_dir() / name;
  auto model = load_model(directory);
  ASSERT_TRUE(model);
  const std::vector<float> expected = read_npy_f32(directory / "logits.npy");
  const std::vector<float> actual = all_logits(*model, read_npy_i32(directory / "ids.npy"));
  const float difference = max_difference(actual, expected) / max_abs(expected);
  RecordProperty("relative_difference", std::to_string(difference));
  EXPECT_LE(difference, kFloatTolerance);
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, TinyLogits,
                         ::testing::Values("bf16", "bias", "f16", "gqa-4to1", "head-dim",
                                           "odd-sizes", "plain", "rope-dynamic", "rope-linear",
                                           "rope-llama3", "rope-llama3-oldconfig", "rope-yarn",
                                           "shards3", "theta-500000", "untied"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(RopeDynamicLogits, OfAShortInputAreThoseOfAnInputThatIsNotStretched) {
  FPTQ_REQUIRE_TEST_DATA("golden/logits/tiny/rope-dynamic");
  const std::filesystem::path directory = golden("logits/tiny/rope-dynamic");
  auto model = load_model(directory);
  ASSERT_TRUE(model);
  std::vector<std::int32_t> ids = read_npy_i32(directory / "ids.npy");
  ids.resize(20);
  const std::vector<float> expected = read_npy_f32(directory / "logits_first20.npy");
  EXPECT_LE(max_difference(all_logits(*model, ids), expected), kFloatTolerance * max_abs(expected));
}

TEST(RopeDynamicLogits, AreThoseOfTheWholeInputWhenItsLengthIsGiven) {
  FPTQ_REQUIRE_TEST_DATA("golden/logits/tiny/rope-dynamic");
  const std::filesystem::path directory = golden("logits/tiny/rope-dynamic");
  auto model = load_model(directory);
  ASSERT_TRUE(model);
  const std::vector<std::int32_t> ids = read_npy_i32(directory / "ids.npy");
  const std::vector<float> whole = all_logits(*model, ids);
  auto cache = model->new_cache(ids.size());
  ASSERT_TRUE(cache);
  std::vector<float> pieces(whole.size());
  const std::size_t vocabulary = model->config().vocab_size;
  for (std::size_t begin = 0; begin < ids.size(); begin += 32) {
    const model::SequenceInput input{.ids = std::span(ids).subspan(begin, 32),
                                     .cache = &*cache,
                                     .logits = model::LogitsWanted::kAll,
                                     .total_length = ids.size()};
    ASSERT_TRUE(model->forward(std::span(&input, 1),
                               std::span(pieces).subspan(begin * vocabulary, 32 * vocabulary)));
  }
  EXPECT_EQ(whole, pieces);
}

class StoriesLogits : public ::testing::TestWithParam<const char*> {};

TEST_P(StoriesLogits, EqualTransformersOnThreePrompts) {
  const std::string name = GetParam();
  FPTQ_REQUIRE_TEST_DATA("models/" + name);
  auto model = load_model(test_data_dir() / "models" / name);
  ASSERT_TRUE(model);
  const std::size_t vocabulary = model->config().vocab_size;
  for (const std::string prompt : {"p0", "p1", "p2"}) {
    SCOPED_TRACE(prompt);
    const std::string prefix = "logits/" + name + "." + prompt;
    const std::vector<std::int32_t> ids = read_npy_i32(golden(prefix + ".ids.npy"));
    const std::vector<float> logits = all_logits(*model, ids);
    const std::vector<float> last = read_npy_f32(golden(prefix + ".last.npy"));
    const float tolerance = kFloatTolerance * max_abs(last);
    EXPECT_LE(max_difference(row(logits, ids.size() - 1, vocabulary), last), tolerance);

    const std::vector<std::int32_t> top_ids = read_npy_i32(golden(prefix + ".top20_ids.npy"));
    const std::vector<float> top_values = read_npy_f32(golden(prefix + ".top20_values.npy"));
    ASSERT_EQ(top_ids.size(), ids.size() * 20);
    float worst = 0.0f;
    for (std::size_t i = 0; i < top_ids.size(); ++i) {
      const float actual = logits[i / 20 * vocabulary + static_cast<std::size_t>(top_ids[i])];
      worst = std::max(worst, std::abs(actual - top_values[i]));
    }
    EXPECT_LE(worst, tolerance);
  }
}

TEST_P(StoriesLogits, ContinueGreedilyAsTransformersDoes) {
  const std::string name = GetParam();
  FPTQ_REQUIRE_TEST_DATA("models/" + name);
  auto model = load_model(test_data_dir() / "models" / name);
  ASSERT_TRUE(model);
  const auto text = read_text_file(golden("logits/" + name + ".json"));
  ASSERT_TRUE(text);
  const auto json = parse_json(*text, name);
  ASSERT_TRUE(json);
  for (const Json& prompt : (*json)["prompts"]) {
    const auto ids = prompt["ids"].get<std::vector<std::int32_t>>();
    const auto expected = prompt["greedy_ids"].get<std::vector<std::int32_t>>();
    auto cache = model->new_cache(ids.size() + expected.size());
    ASSERT_TRUE(cache);
    std::vector<std::int32_t> continuation;
    std::vector<std::int32_t> next = ids;
    std::vector<float> logits(model->config().vocab_size);
    while (continuation.size() < expected.size()) {
      const model::SequenceInput input{.ids = next, .cache = &*cache};
      ASSERT_TRUE(model->forward(std::span(&input, 1), logits));
      const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
      continuation.push_back(static_cast<std::int32_t>(best));
      next = {continuation.back()};
    }
    EXPECT_EQ(continuation, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, StoriesLogits,
                         ::testing::Values("stories15m", "stories-656k"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(Stories656kLogits, EqualTransformersAtEveryPosition) {
  FPTQ_REQUIRE_TEST_DATA("models/stories-656k");
  auto model = load_model(test_data_dir() / "models/stories-656k");
  ASSERT_TRUE(model);
  const std::vector<float> expected = read_npy_f32(golden("logits/stories-656k.p1.all.npy"));
  const std::vector<float> actual =
      all_logits(*model, read_npy_i32(golden("logits/stories-656k.p1.ids.npy")));
  EXPECT_LE(max_difference(actual, expected), kFloatTolerance * max_abs(expected));
}

TEST(Stories15mLogits, EqualTransformersAtTheFirstPositions) {
  FPTQ_REQUIRE_TEST_DATA("models/stories15m");
  auto model = load_model(test_data_dir() / "models/stories15m");
  ASSERT_TRUE(model);
  const std::vector<float> expected = read_npy_f32(golden("logits/stories15m.p0.first3.npy"));
  std::vector<std::int32_t> ids = read_npy_i32(golden("logits/stories15m.p0.ids.npy"));
  ids.resize(3);
  EXPECT_LE(max_difference(all_logits(*model, ids), expected), kFloatTolerance * max_abs(expected));
}

TEST(Stories656kTaps, SeeTheActivationsOfTransformers) {
  FPTQ_REQUIRE_TEST_DATA("models/stories-656k");
  auto model = load_model(test_data_dir() / "models/stories-656k");
  ASSERT_TRUE(model);
  std::map<std::string, std::vector<float>> seen;
  const std::vector<float> logits = all_logits(
      *model, read_npy_i32(golden("logits/stories-656k.hidden.ids.npy")),
      [&](std::string_view name, const float* values, std::size_t rows, std::size_t cols) {
        seen[std::string(name)].assign(values, values + rows * cols);
      });
  seen["logits"] = logits;
  for (const std::string name : {"embed", "block0.attn", "block0.mlp", "block0", "block1.attn",
                                 "block1.mlp", "block1", "final_norm", "logits"}) {
    SCOPED_TRACE(name);
    const std::vector<float> expected =
        read_npy_f32(golden("logits/stories-656k.hidden." + name + ".npy"));
    EXPECT_LE(max_difference(seen[name], expected), kFloatTolerance * max_abs(expected));
  }
}

class CompressedTensorsLogits : public ::testing::TestWithParam<const char*> {};

TEST_P(CompressedTensorsLogits, WithFloatActivationsAreThoseOfTheDequantizedWeights) {
  const std::string name = std::string("golden/formats/compressed-tensors/") + GetParam();
  FPTQ_REQUIRE_TEST_DATA(name);
  const std::filesystem::path directory = test_data_dir() / name;
  auto model = load_model(directory, model::ActivationMode::kFloat);
  ASSERT_TRUE(model);
  const std::vector<float> expected = read_npy_f32(directory / "expected.logits_dense_weights.npy");
  const std::vector<float> actual =
      all_logits(*model, read_npy_i32(directory / "expected.ids.npy"));
  EXPECT_LE(max_difference(actual, expected), 1e-5f * max_abs(expected));
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, CompressedTensorsLogits,
                         ::testing::Values("w4g32-sym", "w4g32-asym", "w8c-a8t", "w4g32-a8t"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

// Those with 8-bit activations are in fake_quant_test.cpp.
class CompressedTensorsWeightOnlyLogits : public ::testing::TestWithParam<const char*> {};

TEST_P(CompressedTensorsWeightOnlyLogits, AreThoseOfTheLibrary) {
  const std::string name = std::string("golden/formats/compressed-tensors/") + GetParam();
  FPTQ_REQUIRE_TEST_DATA(name);
  const std::filesystem::path directory = test_data_dir() / name;
  auto model = load_model(directory);
  ASSERT_TRUE(model);
  const std::vector<float> library = read_npy_f32(directory / "expected.logits_fake_quant.npy");
  const std::vector<float> actual =
      all_logits(*model, read_npy_i32(directory / "expected.ids.npy"));
  // Nothing is rounded at run time: only the order of sums differs.
  EXPECT_LE(max_difference(actual, library), kFloatTolerance * max_abs(library));
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, CompressedTensorsWeightOnlyLogits,
                         ::testing::Values("w4g32-sym", "w4g32-asym"), [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

class GgufLogits : public ::testing::TestWithParam<const char*> {};

TEST_P(GgufLogits, EqualTransformersWithTheWeightsReadBack) {
  const std::string name = std::string("golden/formats/gguf/stories-656k.") + GetParam();
  FPTQ_REQUIRE_TEST_DATA(name + ".gguf");
  auto model = load_model(test_data_dir() / (name + ".gguf"));
  ASSERT_TRUE(model);
  const std::vector<float> expected = read_npy_f32(test_data_dir() / (name + ".logits.npy"));
  const std::vector<float> actual =
      all_logits(*model, read_npy_i32(golden("formats/gguf/stories-656k.ids.npy")));
  EXPECT_LE(max_difference(actual, expected), kFloatTolerance * max_abs(expected));
}

INSTANTIATE_TEST_SUITE_P(Types, GgufLogits, ::testing::Values("f16", "q8_0", "q4_0"),
                         [](const auto& parameter) { return std::string(parameter.param); });

}  // namespace
}  // namespace fptq::testing
