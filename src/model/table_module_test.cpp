#include "model/table_module.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "model/inventory.h"
#include "model/llama_model.h"
#include "numeric/code_table.h"
#include "support/tiny_checkpoint.h"

namespace fptq::model {
namespace {

const std::string kModule = "model.layers.0.mlp.up_proj";
constexpr char kPlainState[] = R"({"quant_type": "nf4", "blocksize": 64, "dtype": "float32",
    "shape": [96, 64]})";
constexpr char kNestedState[] = R"({"quant_type": "nf4", "blocksize": 64, "dtype": "float32",
    "shape": [96, 64], "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.5})";

Tensor bytes_tensor(const Shape& shape, std::uint8_t value) {
  Tensor::Fresh fresh = *Tensor::create(DType::kU8, shape);
  std::memset(fresh.data, value, fresh.tensor.bytes().size());
  return fresh.tensor;
}

Tensor text_tensor(const std::string& text) {
  Tensor::Fresh fresh = *Tensor::create(DType::kU8, {text.size()});
  std::memcpy(fresh.data, text.data(), text.size());
  return fresh.tensor;
}

Tensor table_tensor(CodeType type) {
  const auto table = code_table(type);
  return testing::f32_tensor({16}, {table.begin(), table.end()});
}

// A tiny model [96, 64] whose up projection of layer 0 is stored as bitsandbytes does.
struct TableModel {
  explicit TableModel(bool nested) : model(testing::make_tiny_model()) {
    model.config["quantization_config"] =
        Json{{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}};
    model.erase(kModule + ".weight");
    add("", bytes_tensor({96 * 64 / 2, 1}, 0xF8));
    add(".quant_map", table_tensor(CodeType::kNf4));
    if (nested) {
      add(".absmax", bytes_tensor({96}, 255));
      add(".nested_absmax", testing::f32_tensor({1}, {0.25f}));
      add(".nested_quant_map",
          testing::f32_tensor({256}, {dynamic_map().begin(), dynamic_map().end()}));
    } else {
      add(".absmax", testing::f32_tensor({96}, std::vector<float>(96, 0.75f)));
    }
    add(".quant_state.bitsandbytes__nf4", text_tensor(nested ? kNestedState : kPlainState));
  }

  static std::string name(const std::string& suffix) { return kModule + ".weight" + suffix; }
  void add(const std::string& suffix, Tensor tensor) {
    model.tensors.emplace_back(name(suffix), std::move(tensor));
  }
  void replace(const std::string& suffix, Tensor tensor) {
    *model.find(name(suffix)) = std::move(tensor);
  }

  // What loading says; "" where it works.
  [[nodiscard]] std::string error() const {
    ThreadPool pool(1);
    LoadOptions options;
    options.pool = &pool;
    const auto loaded = LlamaModel::load(testing::memory_checkpoint(model), options);
    return loaded ? "" : loaded.error().message;
  }

  testing::TinyModel model;
};

TEST(TableModule, ReadsPlainAndNestedConstants) {
  for (const bool nested : {false, true}) {
    const TableModel table(nested);
    const auto checkpoint = testing::memory_checkpoint(table.model);
    ThreadPool pool(1);
    TensorReader reader(*checkpoint, pool);
    const auto matrix = read_table_module(reader, kModule, 96, 64);
    ASSERT_TRUE(matrix) << matrix.error().message;
    EXPECT_EQ(nested ? "nf4b64-dq" : "nf4b64", scheme_name({matrix->args(), std::nullopt}));
    std::vector<float> row(64);
    matrix->read_row(95, row);
    // 1 * 0.25 + 0.5 in the nested case.
    EXPECT_EQ(0.75f, row[0]);
    EXPECT_EQ(code_table(CodeType::kNf4)[8] * 0.75f, row[1]);
  }
}

TEST(TableModule, RunsInAModelBesideFloatWeights) {
  const TableModel table(true);
  EXPECT_EQ("", table.error());
  ThreadPool pool(1);
  LoadOptions options;
  options.pool = &pool;
  const auto model = LlamaModel::load(testing::memory_checkpoint(table.model), options);
  ASSERT_TRUE(model);
  bool found = false;
  for (const ReceiptEntry& entry : model->receipt()) {
    if (entry.layer != kModule) continue;
    found = true;
    EXPECT_EQ("nf4b64-dq", entry.scheme);
    EXPECT_EQ("nf4a16_gemm", entry.kernel);
  }
  EXPECT_TRUE(found);
}

TEST(TableModule, IsOneEntryOfTheInventory) {
  const TableModel table(true);
  const auto inventory = take_inventory(*testing::memory_checkpoint(table.model));
  ASSERT_TRUE(inventory) << inventory.error().message;
  std::size_t entries = 0;
  for (const InventoryEntry& entry : inventory->entries) {
    if (!entry.name.starts_with(kModule)) continue;
    ++entries;
    EXPECT_EQ(kModule + ".weight", entry.name);
    EXPECT_EQ((Shape{96, 64}), entry.shape);
    EXPECT_EQ("nf4b64-dq", entry.scheme);
    EXPECT_EQ(96u * 32 + 96 + 4 + 64 + 1024 + sizeof(kNestedState) - 1, entry.bytes);
    EXPECT_TRUE(entry.decoder_linear);
  }
  EXPECT_EQ(1u, entries);
}

TEST(TableModule, NamesTheTensorThatIsMissing) {
  for (const char* suffix : {"", ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"}) {
    TableModel table(true);
    table.model.erase(TableModel::name(suffix));
    const std::string message = table.error();
    EXPECT_NE(std::string::npos, message.find("\"" + TableModel::name(suffix) + "\": expected"))
        << message;
    EXPECT_NE(std::string::npos, message.find("no such tensor")) << message;
  }
  TableModel table(true);
  table.model.erase(TableModel::name(".quant_state.bitsandbytes__nf4"));
  EXPECT_NE("", table.error());
}

TEST(TableModule, NamesWhatHasAnotherSize) {
  TableModel codes(false);
  codes.replace("", bytes_tensor({96 * 64 / 2 - 1, 1}, 0));
  EXPECT_NE(std::string::npos,
            codes.error().find("expected [3072, 1] from config.json, got [3071"));

  TableModel constants(false);
  constants.replace(".absmax", testing::f32_tensor({95}, std::vector<float>(95, 1.0f)));
  EXPECT_NE(std::string::npos, constants.error().find("expected [96] from config.json, got [95]"));

  TableModel shape(false);
  shape.replace(".quant_state.bitsandbytes__nf4",
                text_tensor(R"({"quant_type": "nf4", "blocksize": 64, "shape": [64, 96]})"));
  EXPECT_NE(std::string::npos,
            shape.error().find("shape: expected [96, 64] from config.json, got [64, 96]"));

  TableModel state(false);
  state.replace(".quant_state.bitsandbytes__nf4", testing::f32_tensor({1}, {0.0f}));
  EXPECT_NE(std::string::npos, state.error().find("expected JSON as a row of U8, got F32 [1]"));
}

TEST(TableModule, RefusesConstantsOfTheOtherKind) {
  TableModel table(false);
  table.replace(".quant_state.bitsandbytes__nf4", text_tensor(kNestedState));
  EXPECT_NE(std::string::npos, table.error().find("expected U8, got F32"));
  TableModel nested(true);
  nested.replace(".quant_state.bitsandbytes__nf4", text_tensor(kPlainState));
  EXPECT_NE(std::string::npos, nested.error().find("expected F32, got U8"));
}

TEST(TableModule, RefusesAnotherTable) {
  TableModel table(false);
  table.replace(".quant_map", table_tensor(CodeType::kFp4));
  EXPECT_NE(std::string::npos,
            table.error().find("code 0: expected -1.000000 as in every nf4 table, got 0.000000"));
}

TEST(TableModule, UsesTheNestedTableThatIsStored) {
  TableModel table(true);
  std::vector<float> map(dynamic_map().begin(), dynamic_map().end());
  map[255] = 0.5f;
  table.replace(".nested_quant_map", testing::f32_tensor({256}, map));
  const auto checkpoint = testing::memory_checkpoint(table.model);
  ThreadPool pool(1);
  TensorReader reader(*checkpoint, pool);
  const auto matrix = read_table_module(reader, kModule, 96, 64);
  ASSERT_TRUE(matrix);
  EXPECT_EQ(0.625f, matrix->absmax()[0]);
}

TEST(TableModule, NamesConstantsThatAreNotFinite) {
  TableModel plain(false);
  std::vector<float> absmax(96, 1.0f);
  absmax[3] = std::numeric_limits<float>::infinity();
  plain.replace(".absmax", testing::f32_tensor({96}, absmax));
  EXPECT_NE(std::string::npos,
            plain.error().find("element [3]: expected a finite number, got inf"));

  TableModel nested(true);
  nested.replace(".nested_absmax", testing::f32_tensor({1}, {3.4e38f}));
  std::vector<float> map(256, 2.0f);
  nested.replace(".nested_quant_map", testing::f32_tensor({256}, map));
  EXPECT_NE(std::string::npos, nested.error().find("block 0: expected a finite constant, got inf"));
}

TEST(TableModule, RefusesAnEmbeddingOfCodes) {
  TableModel table(false);
  const Shape shape = table.model.find("model.embed_tokens.weight")->shape();
  const std::string text =
      R"({"quant_type": "nf4", "blocksize": 64, "shape": )" + shape_text(shape) + "}";
  const std::size_t weights = shape[0] * shape[1];
  table.model.erase("model.embed_tokens.weight");
  const std::string embedding = "model.embed_tokens.weight";
  table.model.tensors.emplace_back(embedding, bytes_tensor({weights / 2, 1}, 0));
  table.model.tensors.emplace_back(embedding + ".quant_map", table_tensor(CodeType::kNf4));
  table.model.tensors.emplace_back(
      embedding + ".absmax",
      testing::f32_tensor({weights / 64}, std::vector<float>(weights / 64, 1.0f)));
  table.model.tensors.emplace_back(embedding + ".quant_state.bitsandbytes__nf4", text_tensor(text));
  EXPECT_NE(std::string::npos,
            table.error().find("expected an embedding in floating point, got nf4b64"));
}

}  // namespace
}  // namespace fptq::model
