#include "io/checkpoint.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "io/safetensors_writer.h"
#include "support/temporary_directory.h"
#include "support/test_data.h"

namespace fptq::io {
namespace {

namespace fs = std::filesystem;

using Names = std::vector<std::string>;

class HfCheckpointTest : public testing::TemporaryDirectoryTest {
 protected:
  // One safetensors file whose tensors are [2] float32 numbers: the first letter of the name.
  void write_file(const std::string& file_name, const Names& tensors) {
    std::vector<TensorSpec> specs;
    for (const std::string& name : tensors) specs.push_back({name, DType::kF32, {2}});
    const fs::path scratch = root_ / "scratch";
    fs::create_directory(scratch);
    auto writer = SafetensorsWriter::create(scratch, specs);
    ASSERT_TRUE(writer);
    for (const std::string& name : tensors) {
      const std::vector<float> values(2, static_cast<float>(name[0]));
      ASSERT_TRUE(writer->write(name, std::as_bytes(std::span(values))));
    }
    ASSERT_TRUE(writer->finish());
    fs::rename(scratch / "model.safetensors", root_ / file_name);
    fs::remove(scratch);
  }
  void write_text(const std::string& file_name, const std::string& text) {
    ASSERT_TRUE(write_text_file(root_ / file_name, text));
  }
  void write_index(const std::string& weight_map) {
    write_text("model.safetensors.index.json",
               R"({"metadata":{},"weight_map":)" + weight_map + "}");
  }
  // The message with which the directory is refused, its path left out.
  std::string refusal(Error::Kind kind) {
    const auto model = open_checkpoint(root_);
    if (model) return "accepted";
    EXPECT_EQ(kind, model.error().kind);
    std::string message = model.error().message;
    for (std::size_t at; (at = message.find(root_.string())) != std::string::npos;) {
      message.replace(at, root_.string().size(), "DIR");
    }
    return message;
  }
};

TEST_F(HfCheckpointTest, ReadsOneFile) {
  write_text("config.json", R"({"model_type":"llama"})");
  write_file("model.safetensors", {"b", "a"});
  const auto model = open_checkpoint(root_);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ("safetensors", (*model)->container());
  EXPECT_EQ("llama", (*model)->config()["model_type"]);
  ASSERT_EQ(2U, (*model)->tensors().size());
  EXPECT_EQ("a", (*model)->tensors()[0].name);
  EXPECT_EQ("F32", (*model)->tensors()[0].stored_type);
  EXPECT_EQ(8U, (*model)->tensors()[0].stored_bytes);
  EXPECT_EQ((root_ / "model.safetensors").string(), (*model)->tensors()[0].file);
  EXPECT_EQ(fs::file_size(root_ / "model.safetensors"), (*model)->weight_file_bytes());
  const auto tensor = (*model)->read("b");
  ASSERT_TRUE(tensor);
  EXPECT_EQ((std::vector<float>{98, 98}), tensor->to_f32());
  (*model)->release("b");
  EXPECT_EQ(nullptr, (*model)->find("c"));
  EXPECT_EQ(root_.string() + ": there is no tensor \"c\"", (*model)->read("c").error().message);
}

TEST_F(HfCheckpointTest, FindsATiedMatrixThatHasTheClassifiersName) {
  write_text("config.json", R"({"tie_word_embeddings":true})");
  write_file("model.safetensors", {"b", "lm_head.weight", "model.norm.weight", "model.a", "z"});
  const auto model = open_checkpoint(root_);
  ASSERT_TRUE(model) << model.error().message;
  std::vector<std::string> names;
  for (const TensorInfo& info : (*model)->tensors()) names.push_back(info.name);
  EXPECT_EQ((std::vector<std::string>{"b", "model.a", "model.embed_tokens.weight",
                                      "model.norm.weight", "z"}),
            names);
  EXPECT_EQ((std::vector<float>{'l', 'l'}), (*model)->read("model.embed_tokens.weight")->to_f32());
  EXPECT_EQ((std::vector<float>{'m', 'm'}), (*model)->read("model.norm.weight")->to_f32());
  EXPECT_EQ(nullptr, (*model)->find("lm_head.weight"));
}

TEST_F(HfCheckpointTest, KeepsTheClassifiersNameWhereNothingIsTied) {
  write_text("config.json", R"({"tie_word_embeddings":false})");
  write_file("model.safetensors", {"lm_head.weight"});
  const auto model = open_checkpoint(root_);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_NE(nullptr, (*model)->find("lm_head.weight"));
}

TEST_F(HfCheckpointTest, GivesABareModelsTensorsTheirNamesWithinTheWholeOne) {
  write_text("config.json", R"({"quantization_config": {
    "ignore": ["lm_head", "layers.1.mlp.up_proj", "re:^layers\\.2"],
    "config_groups": {"group_0": {"targets": ["Linear", "re:.*q_proj", "embed_tokens"]}}}})");
  write_file("model.safetensors", {"embed_tokens.weight", "layers.0.b.weight", "lm_head.weight",
                                   "norm.weight", "normal.weight", "z"});
  const auto model = open_checkpoint(root_);
  ASSERT_TRUE(model) << model.error().message;
  Names names;
  for (const TensorInfo& info : (*model)->tensors()) names.push_back(info.name);
  EXPECT_EQ((Names{"lm_head.weight", "model.embed_tokens.weight", "model.layers.0.b.weight",
                   "model.norm.weight", "normal.weight", "z"}),
            names);
  EXPECT_EQ((std::vector<float>{'e', 'e'}), (*model)->read("model.embed_tokens.weight")->to_f32());
  EXPECT_EQ((std::vector<float>{'l', 'l'}), (*model)->read("model.layers.0.b.weight")->to_f32());
  EXPECT_EQ((std::vector<float>{'z', 'z'}), (*model)->read("z")->to_f32());
  EXPECT_EQ(nullptr, (*model)->find("norm.weight"));
  const Json& quantization = (*model)->config()["quantization_config"];
  EXPECT_EQ((Json{"lm_head", "model.layers.1.mlp.up_proj", "re:(?:model\\.)?(?:layers\\.2)"}),
            quantization["ignore"]);
  EXPECT_EQ((Json{"Linear", "re:(?:model\\.)?(?:.*q_proj)", "model.embed_tokens"}),
            quantization["config_groups"]["group_0"]["targets"]);
}

TEST_F(HfCheckpointTest, RefusesNamesOfABareModelBesideThoseOfAWholeOne) {
  write_text("config.json", "{}");
  write_file("model.safetensors", {"layers.0.b.weight", "model.layers.0.a.weight"});
  EXPECT_EQ(
      "DIR/model.safetensors: tensor \"layers.0.b.weight\": expected names that all begin with "
      "\"model.\", or none, and there is \"model.layers.0.a.weight\" too. Does the directory hold "
      "two checkpoints?",
      refusal(Error::Kind::kFormat));
}

TEST_F(HfCheckpointTest, LeavesNamesOfAWholeModelAlone) {
  const char* config =
      R"({"quantization_config":{"ignore":["re:.*q_proj","layers.0.b"],"config_groups":{}}})";
  write_text("config.json", config);
  write_file("model.safetensors", {"layers", "model.layers.0.a.weight", "vision.layers.0.weight"});
  const auto model = open_checkpoint(root_);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_NE(nullptr, (*model)->find("layers"));
  EXPECT_NE(nullptr, (*model)->find("vision.layers.0.weight"));
  EXPECT_EQ(config, (*model)->config().dump());
}

TEST_F(HfCheckpointTest, ReadsTheOnlyFileOfAnotherName) {
  write_text("config.json", "{}");
  write_file("weights.safetensors", {"a"});
  EXPECT_TRUE(open_checkpoint(root_));
}

TEST_F(HfCheckpointTest, ReadsShardsAndTheirTextFiles) {
  write_text("config.json", "{}");
  write_text("tokenizer.json", "T");
  write_text("generation_config.json", "G");
  write_file("s1.safetensors", {"b"});
  write_file("s2.safetensors", {"a", "c"});
  write_index(R"({"a":"s2.safetensors","b":"s1.safetensors","c":"s2.safetensors"})");
  const auto model = open_checkpoint(root_);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(3U, (*model)->tensors().size());
  EXPECT_EQ((std::vector<float>{99, 99}), (*model)->read("c")->to_f32());
  EXPECT_TRUE((*model)->warnings().empty());
  const auto text = (*model)->tokenizer();
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ("T", text->tokenizer_json);
  EXPECT_EQ((std::map<std::string, std::string>{{"generation_config.json", "G"}}), text->others);
}

TEST_F(HfCheckpointTest, SaysWhatToDoWithoutATokenizer) {
  write_text("config.json", "{}");
  write_file("model.safetensors", {"a"});
  const auto model = open_checkpoint(root_);
  ASSERT_TRUE(model);
  const std::string file = (root_ / "tokenizer.json").string();
  EXPECT_EQ(file + ": expected this file, got none. Copy it from where the checkpoint comes from",
            (*model)->tokenizer().error().message);
  write_text("tokenizer.model", "");
  EXPECT_EQ(file +
                ": expected this file, got none. Make it from tokenizer.model with transformers: "
                "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
            (*model)->tokenizer().error().message);
}

TEST_F(HfCheckpointTest, NamesAMissingShard) {
  write_text("config.json", "{}");
  write_file("s1.safetensors", {"a"});
  write_index(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  EXPECT_EQ(
      "DIR/s2.safetensors: expected this shard, which model.safetensors.index.json names, got no "
      "file. Download the checkpoint completely",
      refusal(Error::Kind::kNotFound));
}

TEST_F(HfCheckpointTest, RefusesShardsOutsideTheDirectory) {
  write_text("config.json", "{}");
  for (const std::string name :
       {"../x.safetensors", "/etc/passwd", "", "..", "a\\\\b", "a\\u0000"}) {
    write_index(R"({"a":")" + name + R"("})");
    EXPECT_EQ(0U, refusal(Error::Kind::kFormat)
                      .find("DIR/model.safetensors.index.json: tensor \"a\": expected a file name "
                            "in the same directory, got \""))
        << name;
  }
}

TEST_F(HfCheckpointTest, RefusesAnIndexThatNamesWhatAShardDoesNotHold) {
  write_text("config.json", "{}");
  write_file("s1.safetensors", {"a"});
  write_index(R"({"a":"s1.safetensors","b":"s1.safetensors"})");
  EXPECT_EQ(
      "DIR/model.safetensors.index.json: tensor \"b\": expected it in s1.safetensors, which does "
      "not hold it",
      refusal(Error::Kind::kFormat));
}

TEST_F(HfCheckpointTest, RefusesATensorInTwoShards) {
  write_text("config.json", "{}");
  write_file("s1.safetensors", {"a", "b"});
  write_file("s2.safetensors", {"b"});
  write_index(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  EXPECT_EQ(
      "DIR/s2.safetensors: tensor \"b\": expected it in one shard, but s1.safetensors holds it too",
      refusal(Error::Kind::kFormat));
}

TEST_F(HfCheckpointTest, WarnsOfTensorsThatTheIndexDoesNotList) {
  write_text("config.json", "{}");
  write_file("s1.safetensors", {"a", "b", "c"});
  write_index(R"({"a":"s1.safetensors"})");
  const auto model = open_checkpoint(root_);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(3U, (*model)->tensors().size());
  ASSERT_EQ(1U, (*model)->warnings().size());
  EXPECT_EQ((root_ / "model.safetensors.index.json").string() +
                ": does not list 2 tensors that the shards hold, such as \"b\" of s1.safetensors; "
                "they are used",
            (*model)->warnings()[0]);
}

TEST_F(HfCheckpointTest, RefusesAnIndexWithoutAWeightMap) {
  write_text("config.json", "{}");
  for (const std::string text : {"[]", "{}", R"({"weight_map":[]})"}) {
    write_text("model.safetensors.index.json", text);
    EXPECT_EQ("DIR/model.safetensors.index.json: expected an object \"weight_map\"",
              refusal(Error::Kind::kFormat));
  }
  write_index(R"({"a":1})");
  EXPECT_EQ("DIR/model.safetensors.index.json: tensor \"a\": expected the name of a shard",
            refusal(Error::Kind::kFormat));
}

TEST_F(HfCheckpointTest, SaysWhichFileIsMissing) {
  EXPECT_EQ("DIR: expected model.safetensors or model.safetensors.index.json, got neither",
            refusal(Error::Kind::kNotFound));
  write_file("model-00001-of-00002.safetensors", {"a"});
  EXPECT_EQ(
      "DIR/model.safetensors.index.json: expected the index of 1 *.safetensors files, got none. "
      "Download the checkpoint completely",
      refusal(Error::Kind::kNotFound));
  write_file("model.safetensors", {"a"});
  EXPECT_EQ("DIR/config.json: cannot open: No such file or directory",
            refusal(Error::Kind::kNotFound));
  write_text("config.json", "[]");
  EXPECT_EQ("DIR/config.json: expected an object, got array", refusal(Error::Kind::kFormat));
}

TEST_F(HfCheckpointTest, DoesNotReadPickles) {
  write_text("config.json", "{}");
  write_text("pytorch_model.bin", "PK\x03\x04");
  const std::string advice =
      ": a pickle can run code when it is read, so it is not. Convert the checkpoint to "
      "safetensors first, for example with transformers' save_pretrained()";
  EXPECT_EQ("DIR/pytorch_model.bin" + advice, refusal(Error::Kind::kUnsupported));
  for (const std::string content : {"PK\x03\x04", "\x80\x02}"}) {
    const fs::path file = root_ / "consolidated.00.pth";
    ASSERT_TRUE(write_text_file(file, content));
    EXPECT_EQ(file.string() + advice, open_checkpoint(file).error().message);
  }
}

// A llama2.c checkpoint of version 0: one layer, one head of 2, 2 hidden, 3 tokens, 4 positions.
std::string llama2c_bytes() {
  const std::int32_t header[] = {2, 2, 1, 1, 1, 3, 4};
  std::string bytes(reinterpret_cast<const char*>(header), sizeof header);
  // Embedding, norms, attention, feed-forward, last norm, and two unused tables of angles.
  constexpr std::size_t kFloats = 3 * 2 + 2 + 4 * 4 + 2 + 3 * 4 + 2 + 2 * 4;
  bytes.append(kFloats * sizeof(float), '\0');
  return bytes;
}

TEST_F(HfCheckpointTest, OpensADirectoryWithALlama2cModel) {
  write_text("model.bin", llama2c_bytes());
  write_text("tokenizer.bin", std::string("\3\0\0\0", 4) + std::string(27, 'x'));
  write_text("training.bin", "PK\x03\x04");
  const auto checkpoint = open_checkpoint(root_);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ("LlamaForCausalLM", (*checkpoint)->config()["architectures"][0]);
  EXPECT_EQ(3, (*checkpoint)->config()["vocab_size"]);
  write_text("other.bin", llama2c_bytes());
  EXPECT_EQ(
      root_.string() +
          ": expected one model, got the llama2.c files model.bin other.bin. Give the path of "
          "one of them",
      open_checkpoint(root_).error().message);
}

TEST_F(HfCheckpointTest, CallsNoPickleWhatIsNone) {
  const std::string bytes = llama2c_bytes();
  write_text("config.json", "{}");
  write_text("model.bin", bytes.substr(0, bytes.size() - 4));
  EXPECT_EQ(
      "DIR/model.bin: expected safetensors, GGUF or llama2.c's format with the size that its "
      "header "
      "says, got another file. Was it downloaded completely?",
      refusal(Error::Kind::kFormat));
}

TEST_F(HfCheckpointTest, SaysWhatAFileShouldHaveBeen) {
  write_file("model.safetensors", {"a"});
  write_text("x.txt", "hello");
  EXPECT_EQ((root_ / "model.safetensors").string() +
                ": this is one file of a checkpoint. Give its directory, " + root_.string(),
            open_checkpoint(root_ / "model.safetensors").error().message);
  EXPECT_EQ((root_ / "x.txt").string() +
                ": expected a GGUF file, a llama2.c .bin or a Hugging Face directory, got another "
                "file",
            open_checkpoint(root_ / "x.txt").error().message);
}

// Sets an environment variable for as long as it lives.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const std::string& value) : name_(name) {
    ::setenv(name, value.c_str(), 1);
  }
  ~ScopedVariable() { ::unsetenv(name_); }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  const char* name_;
};

TEST_F(HfCheckpointTest, FindsHubNamesInTheCache) {
  write_text("config.json", "{}");
  write_file("model.safetensors", {"a"});
  const fs::path cache = root_ / "cache";
  const fs::path repository = cache / "models--org--name.v1";
  fs::create_directories(repository / "refs");
  fs::create_directories(repository / "snapshots/0123abcd");
  ASSERT_TRUE(write_text_file(repository / "refs/main", "0123abcd"));
  fs::create_symlink(root_ / "config.json", repository / "snapshots/0123abcd/config.json");
  fs::rename(root_ / "model.safetensors", repository / "snapshots/0123abcd/model.safetensors");
  const ScopedVariable variable("HF_HUB_CACHE", cache.string());
  for (const std::string name : {"org/name.v1", "org/name.v1@main", "org/name.v1@0123abcd"}) {
    const auto model = open_checkpoint(name);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(name, (*model)->path());
  }
  EXPECT_EQ("org/name.v1@v2: there is no such path, and the Hugging Face cache at " +
                cache.string() +
                " does not hold revision v2 of it. Fetch it with `fptq pull org/name.v1@v2`, or "
                "give the path of a local copy",
            open_checkpoint("org/name.v1@v2").error().message);
}

TEST_F(HfCheckpointTest, LooksForTheCacheWhereHuggingFacesClientsDo) {
  const ScopedVariable home("HF_HOME", (root_ / "home").string());
  EXPECT_NE(std::string::npos,
            open_checkpoint("org/x").error().message.find((root_ / "home/hub").string()));
}

TEST(OpenCheckpoint, SaysThatAPathIsNeitherThereNorAHubName) {
  for (const std::string name :
       {"no-such-model", "../no/such", "org/../x", "org/x@../../y", "a/b/c"}) {
    EXPECT_EQ(name + ": expected a directory, a file or a hub name org/name, got none of them",
              open_checkpoint(name).error().message);
  }
}

TEST(HfCheckpointGolden, OpensEveryDirectoryThatTransformersWrote) {
  FPTQ_REQUIRE_TEST_DATA("golden/logits/tiny");
  std::size_t models = 0;
  for (const auto& item : fs::directory_iterator(testing::test_data_dir() / "golden/logits/tiny")) {
    const auto model = open_checkpoint(item.path());
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_NE(nullptr, (*model)->find("model.embed_tokens.weight")) << item.path();
    ++models;
  }
  EXPECT_EQ(15U, models);
  for (const std::string name : {"stories15m", "stories-656k"}) {
    const auto model = open_checkpoint(testing::test_data_dir() / "models" / name);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_TRUE((*model)->tokenizer());
  }
}

}  // namespace
}  // namespace fptq::io
