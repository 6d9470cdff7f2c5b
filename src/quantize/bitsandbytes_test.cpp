#include "quantize/bitsandbytes.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "algo/table_rounding.h"
#include "model/bitsandbytes_config.h"
#include "numeric/code_table.h"
#include "quantize/table_writing.h"
#include "quantize/test_tensors.h"

namespace fptq::quantize {
namespace {

const QuantArgs kNf4 = table_weights(CodeType::kNf4, 64, true);
const QuantArgs kPlain = table_weights(CodeType::kFp4, 128, false);

TEST(StoredTable, HasBitsandbytesNamesTypesAndShapes) {
  const StoredTable stored = stored_table("a.b", kNf4, 33, 70, DType::kBF16);
  std::vector<std::string> lines;
  for (const io::TensorSpec* spec : stored.tensors()) {
    lines.push_back(spec->name + " " + std::string(dtype_name(spec->dtype)) + " " +
                    shape_text(spec->shape));
  }
  EXPECT_EQ(
      (std::vector<std::string>{"a.b.weight U8 [1155, 1]", "a.b.weight.absmax U8 [37]",
                                "a.b.weight.quant_map F32 [16]", "a.b.weight.nested_absmax F32 [1]",
                                "a.b.weight.nested_quant_map F32 [256]",
                                "a.b.weight.quant_state.bitsandbytes__nf4 U8 [176]"}),
      lines);
  const StoredTable plain = stored_table("a.b", kPlain, 33, 70, DType::kBF16);
  EXPECT_EQ(4u, plain.tensors().size());
  EXPECT_EQ(DType::kF32, plain.absmax.dtype);
  EXPECT_EQ(Shape{19}, plain.absmax.shape);
  EXPECT_EQ("a.b.weight.quant_state.bitsandbytes__fp4", plain.state.name);
}

TEST(StoredTable, StateIsTheTextThatBitsandbytesWrites) {
  EXPECT_EQ(R"({"quant_type": "fp4", "blocksize": 128, "dtype": "float16", "shape": [33, 70]})",
            table_state_text(kPlain, 33, 70, DType::kF16, 0.0f));
  std::string text = table_state_text(kNf4, 64, 96, DType::kBF16, 0.139984130859375f);
  EXPECT_EQ(stored_table("m", kNf4, 64, 96, DType::kBF16).state.shape[0], text.size());
  text.erase(text.find_last_not_of(' ') + 1);
  EXPECT_EQ(R"({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [64, 96], )"
            R"("nested_blocksize": 256, "nested_dtype": "float32", )"
            R"("nested_offset": 0.139984130859375})",
            text);
}

TEST(StoredTable, EveryOffsetFitsAndReadsBack) {
  for (const float offset : {0.0f, 1.17549435e-38f, 3.4028235e38f, 1e-45f, 0.1f, 5.0f}) {
    const std::string text = table_state_text(kNf4, 2, 64, DType::kF32, offset);
    EXPECT_EQ(stored_table("m", kNf4, 2, 64, DType::kF32).state.shape[0], text.size());
    const auto state = model::parse_table_state(text, CodeType::kNf4, "t");
    ASSERT_TRUE(state) << state.error().message;
    EXPECT_EQ(offset, state->nested_offset);
    EXPECT_EQ(kNf4, state->weights);
  }
}

ModuleScheme module_of(const std::string& name, const std::optional<QuantArgs>& weights) {
  return {name, name == "model.embed_tokens", Scheme{weights, std::nullopt}, 64};
}

TEST(TableModules, ShareADirectoryWithFloatOnes) {
  const std::vector<ModuleScheme> modules = {module_of("model.embed_tokens", {}),
                                             module_of("a", kNf4), module_of("b", {}),
                                             module_of("lm_head", {})};
  EXPECT_TRUE(check_table_modules(modules, true));
  const Json config = bitsandbytes_config(modules, DType::kBF16);
  EXPECT_EQ(Json::array({"b", "lm_head"}), config["llm_int8_skip_modules"]);
  EXPECT_EQ("bitsandbytes", config["quant_method"]);
  EXPECT_EQ(true, config["load_in_4bit"]);
  EXPECT_EQ("nf4", config["bnb_4bit_quant_type"]);
  EXPECT_EQ(true, config["bnb_4bit_use_double_quant"]);
  EXPECT_EQ("bfloat16", config["bnb_4bit_compute_dtype"]);
}

TEST(TableModules, RefuseWhatTheLayoutCannotSay) {
  const QuantArgs w8c = int_weights(8, Strategy::kChannel, 0, true);
  const auto message = [](std::vector<ModuleScheme> modules, bool tied) {
    modules.push_back(module_of("lm_head", {}));
    const Status status = check_table_modules(modules, tied);
    return status ? std::string() : status.error().message;
  };
  EXPECT_EQ("", message({module_of("a", w8c)}, false));
  EXPECT_NE(std::string::npos, message({module_of("a", kNf4), module_of("b", w8c)}, false)
                                   .find("module \"b\": expected nf4b64-dq or floating point"));
  EXPECT_NE(std::string::npos,
            message({module_of("a", kNf4), module_of("b", kPlain)}, false).find("got fp4b128"));
  EXPECT_NE(std::string::npos, message({module_of("model.embed_tokens", kNf4)}, false)
                                   .find("module \"model.embed_tokens\": expected floating point"));
  const std::vector<ModuleScheme> head = {module_of("a", kNf4), module_of("lm_head", kNf4)};
  EXPECT_TRUE(check_table_modules(head, false));
  EXPECT_FALSE(check_table_modules(head, true));
}

// What write_table() wrote, by tensor.
using Written = std::map<std::string, std::vector<std::byte>>;

TEST(TableWriting, WritesTheSameBytesForEveryNumberOfThreads) {
  // More than one chunk, and a ragged last block.
  constexpr std::size_t kRows = 1031;
  constexpr std::size_t kCols = 1025;
  const std::vector<float> values = random_weights(kRows * kCols, 9);
  const Tensor weights = make_tensor(DType::kF32, {kRows, kCols}, values);
  TensorPlan plan{"m.weight", {kRows, kCols}, "m", {}, {}, {}, Scheme{kNf4, std::nullopt}, {}};
  plan.table = stored_table("m", kNf4, kRows, kCols, DType::kF32);
  std::vector<Written> runs;
  std::vector<double> errors;
  for (const std::size_t threads : {1u, 3u}) {
    ThreadPool pool(threads);
    Written written;
    const auto outcome = write_table(
        plan, weights, pool,
        [&](const io::TensorSpec& tensor, std::span<const std::byte> bytes) -> Status {
          auto& whole = written[tensor.name];
          whole.insert(whole.end(), bytes.begin(), bytes.end());
          return {};
        },
        [](std::uint64_t) -> Status { return {}; });
    ASSERT_TRUE(outcome) << outcome.error().message;
    for (const io::TensorSpec* spec : plan.table->tensors()) {
      EXPECT_EQ(spec_bytes(*spec), written[spec->name].size()) << spec->name;
    }
    errors.push_back(outcome->error.squared_error);
    runs.push_back(std::move(written));
  }
  EXPECT_EQ(runs[0], runs[1]);
  EXPECT_EQ(errors[0], errors[1]);

  std::vector<float> absmax(plan.table->constants());
  algo::block_constants(values, 64, absmax);
  std::vector<std::uint8_t> codes((values.size() + 1) / 2);
  (void)algo::round_to_table(values, kNf4, absmax, absmax, codes);
  EXPECT_EQ(0, std::memcmp(codes.data(), runs[0]["m.weight"].data(), codes.size()));
}

TEST(TableWriting, NamesTheWeightThatIsNotFinite) {
  std::vector<float> values = random_weights(3 * 64, 9);
  values[130] = -std::numeric_limits<float>::infinity();
  const Tensor weights = make_tensor(DType::kF32, {3, 64}, values);
  TensorPlan plan{"m.weight", {3, 64}, "m", {}, {}, {}, Scheme{kNf4, std::nullopt}, {}};
  plan.table = stored_table("m", kNf4, 3, 64, DType::kF32);
  ThreadPool pool(1);
  const auto outcome = write_table(
      plan, weights, pool,
      [](const io::TensorSpec&, std::span<const std::byte>) -> Status { return {}; },
      [](std::uint64_t) -> Status { return {}; });
  ASSERT_FALSE(outcome);
  EXPECT_EQ(
      "tensor \"m.weight\": element [2, 2]: expected a finite number, got -inf. The checkpoint is "
      "damaged",
      outcome.error().message);
}

}  // namespace
}  // namespace fptq::quantize
