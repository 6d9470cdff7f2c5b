#include "quantize/pipeline.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "base/sha256.h"
#include "quantize/test_tensors.h"
#include "support/temporary_directory.h"
#include "support/tiny_checkpoint.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

// A tiny model that is never written to disk.
std::shared_ptr<const io::Checkpoint> tiny() {
  return testing::memory_checkpoint(testing::make_tiny_model());
}

class Quantize : public testing::TemporaryDirectoryTest {
 protected:
  Result<QuantizeReport> run(const fs::path& output, std::size_t threads = 2,
                             std::string_view recipe = "rtn", const ProgressFn& progress = {}) {
    ThreadPool pool(threads);
    QuantizeOptions options;
    options.output = output;
    options.pool = &pool;
    options.progress = progress;
    return quantize_checkpoint(*builtin_recipe(recipe), *tiny(), options);
  }

  // Name -> contents; of the manifest only what does not change from run to run.
  static std::map<std::string, std::string> contents(const fs::path& directory) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(directory)) {
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

  // Whether nothing but `names` lies in the test's directory.
  std::vector<std::string> leftovers() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(root_)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }
};

TEST_F(Quantize, WritesACompleteDirectory) {
  const auto report = run(root_ / "out");
  ASSERT_TRUE(report) << report.error().message;
  const auto files = contents(root_ / "out");
  for (const char* name :
       {"config.json", "fptq_manifest.json", "model.safetensors", "recipe.yaml"}) {
    EXPECT_TRUE(files.contains(name)) << name;
  }
  EXPECT_EQ(files.size(), 4U);
  EXPECT_EQ(leftovers(), std::vector<std::string>{"out"});
  EXPECT_EQ(files.at("recipe.yaml"), print_recipe(*builtin_recipe("rtn")));
  EXPECT_GT(report->relative_error, 0);
  EXPECT_LT(report->relative_error, 0.02);
}

TEST_F(Quantize, DescribesEveryTensorInTheManifest) {
  ASSERT_TRUE(run(root_ / "out"));
  const Json manifest = *parse_json(contents(root_ / "out").at("fptq_manifest.json"), "manifest");
  EXPECT_EQ(manifest["program"], "fptq");
  EXPECT_EQ(manifest["seed"], 0);
  EXPECT_EQ(manifest["tensors"].size(), tiny()->tensors().size());
  const Json& tensors = manifest["tensors"];
  const auto linear = std::find_if(tensors.begin(), tensors.end(), [](const Json& tensor) {
    return tensor["source"] == "model.layers.0.mlp.up_proj.weight";
  });
  ASSERT_NE(linear, tensors.end());
  EXPECT_EQ((*linear)["scheme"], "w4g32-a8t (weights asymmetric, activations symmetric)");
  EXPECT_EQ((*linear)["source_sha256"],
            sha256_hex(tiny()->read("model.layers.0.mlp.up_proj.weight")->bytes()));
  EXPECT_GT((*linear)["relative_squared_error"].get<double>(), 0);
  EXPECT_TRUE((*linear)["output_sha256"].contains("model.layers.0.mlp.up_proj.weight_packed"));
  for (const auto& [name, sha256] : manifest["files"].items()) {
    const MappedFile file = *MappedFile::open(root_ / "out" / name);
    EXPECT_EQ(sha256, sha256_hex(file.bytes())) << name;
  }
  EXPECT_EQ(manifest["files"].size(), 3U);
}

TEST_F(Quantize, GivesTheSameBytesForEveryNumberOfThreads) {
  for (const char* recipe : {"rtn", "int8"}) {
    const fs::path first = root_ / (std::string(recipe) + "1");
    ASSERT_TRUE(run(first, 1, recipe));
    for (const std::size_t threads : {1U, 2U, 3U}) {
      const fs::path again = root_ / (std::string(recipe) + "_again" + std::to_string(threads));
      ASSERT_TRUE(run(again, threads, recipe));
      EXPECT_EQ(contents(again), contents(first)) << recipe << ", " << threads << " threads";
    }
  }
}

TEST_F(Quantize, GivesTheSameBytesForItsOwnRecipeFile) {
  ASSERT_TRUE(run(root_ / "out"));
  const auto recipe = load_recipe((root_ / "out" / "recipe.yaml").string());
  ASSERT_TRUE(recipe);
  ThreadPool pool(2);
  QuantizeOptions options;
  options.output = root_ / "again";
  options.pool = &pool;
  ASSERT_TRUE(quantize_checkpoint(*recipe, *tiny(), options));
  EXPECT_EQ(contents(root_ / "again"), contents(root_ / "out"));
}

TEST_F(Quantize, RefusesAnOutputThatExists) {
  fs::create_directory(root_ / "out");
  std::ofstream(root_ / "out" / "precious") << "data";
  const auto report = run(root_ / "out");
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, Error::Kind::kInvalidArgument);
  EXPECT_NE(report.error().message.find("already exists"), std::string::npos);
  EXPECT_TRUE(fs::exists(root_ / "out" / "precious"));
}

TEST_F(Quantize, ReplacesAnOutputWhereThatIsAskedFor) {
  fs::create_directory(root_ / "out");
  std::ofstream(root_ / "out" / "old") << "data";
  ThreadPool pool(1);
  QuantizeOptions options;
  options.output = root_ / "out";
  options.overwrite = true;
  options.pool = &pool;
  ASSERT_TRUE(quantize_checkpoint(*builtin_recipe("rtn"), *tiny(), options));
  EXPECT_FALSE(fs::exists(root_ / "out" / "old"));
  EXPECT_TRUE(fs::exists(root_ / "out" / "model.safetensors"));
}

TEST_F(Quantize, NeverReplacesItsSource) {
  const fs::path source = root_ / "all" / "model";
  fs::create_directory(root_ / "all");
  ASSERT_TRUE(testing::write_tiny_checkpoint(source));
  const auto checkpoint = io::open_checkpoint(source);
  ASSERT_TRUE(checkpoint);
  ThreadPool pool(1);
  QuantizeOptions options;
  options.overwrite = true;
  options.pool = &pool;
  for (const fs::path& output : {source, root_ / "all", root_ / "all" / ""}) {
    options.output = output;
    const auto report = quantize_checkpoint(*builtin_recipe("rtn"), **checkpoint, options);
    ASSERT_FALSE(report) << output;
    EXPECT_EQ(report.error().kind, Error::Kind::kInvalidArgument);
    EXPECT_NE(report.error().message.find("holds the source"), std::string::npos);
  }
  EXPECT_TRUE(fs::exists(source / "config.json"));
}

TEST_F(Quantize, CopiesTheTokenizerUnchanged) {
  const fs::path source = root_ / "model";
  ASSERT_TRUE(testing::write_tiny_checkpoint(source));
  std::ofstream(source / "LICENSE.txt") << "yours";
  std::ofstream(source / "pytorch_model.bin") << "not copied";
  const auto checkpoint = io::open_checkpoint(source);
  ASSERT_TRUE(checkpoint);
  ThreadPool pool(1);
  QuantizeOptions options;
  options.output = root_ / "out";
  options.pool = &pool;
  ASSERT_TRUE(quantize_checkpoint(*builtin_recipe("rtn"), **checkpoint, options));
  const auto files = contents(root_ / "out");
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "LICENSE.txt"}) {
    ASSERT_TRUE(files.contains(name)) << name;
    EXPECT_EQ(files.at(name), *read_text_file(source / name)) << name;
  }
  EXPECT_EQ(files.size(), 7U);
}

TEST_F(Quantize, LeavesNothingAfterAnInterruption) {
  int calls = 0;
  const auto report = run(root_ / "out", 1, "rtn", [&](const ProgressUpdate& update) {
    EXPECT_EQ(update.stage, "quantizing");
    EXPECT_LE(update.done, update.total);
    return ++calls < 5;
  });
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, Error::Kind::kInterrupted);
  EXPECT_EQ(calls, 5);
  EXPECT_TRUE(leftovers().empty());
}

TEST_F(Quantize, ReportsProgressUpToTheEnd) {
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  ASSERT_TRUE(run(root_ / "out", 1, "rtn", [&](const ProgressUpdate& update) {
    EXPECT_GE(update.done, done);
    done = update.done;
    total = update.total;
    return true;
  }));
  EXPECT_EQ(done, total);
  EXPECT_GT(done, 0U);
}

TEST_F(Quantize, LeavesNothingAfterADamagedWeight) {
  testing::TinyModel model = testing::make_tiny_model();
  std::vector<float> values = random_weights(64, 1);
  values[5] = std::numeric_limits<float>::quiet_NaN();
  *model.find("model.norm.weight") = make_tensor(DType::kF32, {64}, values);
  const auto checkpoint = testing::memory_checkpoint(model);
  ThreadPool pool(1);
  QuantizeOptions options;
  options.output = root_ / "out";
  options.pool = &pool;
  const auto report = quantize_checkpoint(*builtin_recipe("rtn"), *checkpoint, options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, Error::Kind::kFormat);
  EXPECT_EQ(report.error().message,
            "tiny.safetensors: tensor \"model.norm.weight\": element [5]: expected a finite "
            "number, got nan. The checkpoint is damaged");
  EXPECT_TRUE(leftovers().empty());
}

TEST_F(Quantize, SaysThatMemoryWillNotSuffice) {
  ThreadPool pool(1);
  QuantizeOptions options;
  options.output = root_ / "out";
  options.pool = &pool;
  options.ram_limit_bytes = 1000;
  const auto report = quantize_checkpoint(*builtin_recipe("rtn"), *tiny(), options);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, Error::Kind::kLimit);
  EXPECT_NE(report.error().message.find("and the limit is 1000"), std::string::npos);
  EXPECT_TRUE(leftovers().empty());
}

TEST_F(Quantize, ReportsADirectoryThatCannotBeWritten) {
  if (::geteuid() == 0) GTEST_SKIP() << "permissions do not stop the superuser";
  fs::permissions(root_, fs::perms::owner_read | fs::perms::owner_exec);
  const auto report = run(root_ / "out");
  fs::permissions(root_, fs::perms::owner_all);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().kind, Error::Kind::kIo);
}

TEST_F(Quantize, ReportsAParentThatIsMissing) {
  const auto report = run(root_ / "no" / "out");
  ASSERT_FALSE(report);
  EXPECT_NE(report.error().message.find("cannot create the directory"), std::string::npos);
}

// A limit on the size of files stands in for a full disk: the write fails half-way.
TEST_F(Quantize, LeavesNothingWhenAWriteFails) {
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 20000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto report = run(root_ / "out");
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(report);
  EXPECT_NE(report.error().message.find("cannot write"), std::string::npos)
      << report.error().message;
  EXPECT_TRUE(leftovers().empty());
}

TEST_F(Quantize, SplitsTheOutputIntoShards) {
  ThreadPool pool(1);
  QuantizeOptions options;
  options.output = root_ / "out";
  options.pool = &pool;
  options.max_shard_bytes = 20000;
  ASSERT_TRUE(quantize_checkpoint(*builtin_recipe("rtn"), *tiny(), options));
  EXPECT_TRUE(fs::exists(root_ / "out" / "model.safetensors.index.json"));
  EXPECT_FALSE(fs::exists(root_ / "out" / "model.safetensors"));
}

}  // namespace
}  // namespace fptq::quantize
