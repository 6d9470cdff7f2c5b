#include "io/hub_cache.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/file.h"
#include "support/temporary_directory.h"

namespace fptq::io {
namespace {

namespace fs = std::filesystem;

TEST(HubName, HasOrganizationNameAndRevision) {
  const auto name = parse_hub_name("org/Name-1.5_b");
  ASSERT_TRUE(name);
  EXPECT_EQ("org/Name-1.5_b", name->id());
  EXPECT_EQ("main", name->revision);
  EXPECT_FALSE(name->dataset);
  const auto data = parse_hub_name("datasets/org/name@refs/convert/parquet");
  ASSERT_TRUE(data);
  EXPECT_EQ("org/name", data->id());
  EXPECT_EQ("refs/convert/parquet", data->revision);
  EXPECT_TRUE(data->dataset);
  // An organization of that name is possible.
  EXPECT_FALSE(parse_hub_name("datasets/name")->dataset);
}

TEST(HubName, IsNothingElse) {
  for (const char* text : {"", "name", "/name", "org/", "a/b/c", "../b", "org/..", "org/name@",
                           "org/name@../x", "org/name@a//b", "org/na me", "datasets/a/b/c"}) {
    EXPECT_FALSE(parse_hub_name(text)) << text;
  }
}

class ResolveModel : public fptq::testing::TemporaryDirectoryTest {
 protected:
  void SetUp() override {
    TemporaryDirectoryTest::SetUp();
    ::setenv("HF_HUB_CACHE", root_.c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("HF_HUB_CACHE");
    set_hub_fetcher(nullptr);
    TemporaryDirectoryTest::TearDown();
  }

  // A snapshot that refs/main stands for.
  fs::path make_snapshot(const std::vector<std::string>& files) {
    const fs::path repository = root_ / "models--org--name";
    fs::path snapshot = repository / "snapshots/abc";
    fs::create_directories(snapshot);
    fs::create_directories(repository / "refs");
    EXPECT_TRUE(write_text_file(repository / "refs/main", "abc\n"));
    for (const std::string& file : files) {
      EXPECT_TRUE(write_text_file(
          snapshot / file,
          file.ends_with("index.json") ? "{\"weight_map\": {\"a\": \"s1\", \"b\": \"s2\"}}" : ""));
    }
    return snapshot;
  }
};

TEST_F(ResolveModel, FindsSnapshots) {
  const fs::path snapshot = make_snapshot({});
  EXPECT_EQ(snapshot, *resolve_model("org/name"));
  EXPECT_EQ(snapshot, *resolve_model("org/name@abc"));
  EXPECT_EQ(root_, *resolve_model(root_.string()));
}

TEST_F(ResolveModel, SaysWhatToDo) {
  const auto missing = resolve_model("org/name");
  ASSERT_FALSE(missing);
  EXPECT_EQ(Error::Kind::kNotFound, missing.error().kind);
  EXPECT_EQ("org/name: there is no such path, and the Hugging Face cache at " + root_.string() +
                " does not hold revision main of it. Fetch it with `fptq pull org/name`, or give "
                "the path of a local copy",
            missing.error().message);
  const auto data = resolve_model("datasets/org/name");
  ASSERT_FALSE(data);
  EXPECT_EQ("datasets/org/name: expected a model, got a data set", data.error().message);
}

TEST_F(ResolveModel, AsksTheFetcherForWhatIsNotWhole) {
  int asked = 0;
  set_hub_fetcher([&](const HubName& name) -> Result<fs::path> {
    ++asked;
    EXPECT_EQ("org/name", name.id());
    return fs::path("fetched");
  });
  EXPECT_EQ("fetched", *resolve_model("org/name"));
  make_snapshot({"config.json"});
  EXPECT_EQ("fetched", *resolve_model("org/name"));
  make_snapshot({"model.safetensors.index.json", "s1"});
  EXPECT_EQ("fetched", *resolve_model("org/name"));
  EXPECT_EQ(3, asked);
  const fs::path snapshot = make_snapshot({"s2"});
  EXPECT_EQ(snapshot, *resolve_model("org/name"));
  EXPECT_EQ(3, asked);
}

TEST_F(ResolveModel, StopsWhereTheUserDoes) {
  set_hub_fetcher([](const HubName&) -> Result<fs::path> {
    return Error{Error::Kind::kInterrupted, "interrupted"};
  });
  const auto stopped = resolve_model("org/name");
  ASSERT_FALSE(stopped);
  EXPECT_EQ(Error::Kind::kInterrupted, stopped.error().kind);
  EXPECT_EQ("interrupted", stopped.error().message);
}

TEST_F(ResolveModel, TellsWhyTheFetcherFailed) {
  set_hub_fetcher([](const HubName&) -> Result<fs::path> {
    return Error{Error::Kind::kIo, "no network"};
  });
  const auto failed = resolve_model("org/name");
  ASSERT_FALSE(failed);
  EXPECT_EQ("there is no path org/name: no network", failed.error().message);
}

}  // namespace
}  // namespace fptq::io
