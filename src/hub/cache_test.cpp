#include "hub/cache.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/file.h"
#include "support/temporary_directory.h"

namespace fptq::hub {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCommit = "0123456789012345678901234567890123456789";

class HubCache : public fptq::testing::TemporaryDirectoryTest {
 protected:
  void SetUp() override {
    TemporaryDirectoryTest::SetUp();
    ::setenv("HF_HUB_CACHE", root_.c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("HF_HUB_CACHE");
    TemporaryDirectoryTest::TearDown();
  }

  static RepositoryCache open(const std::string& name) {
    auto cache = RepositoryCache::open(*io::parse_hub_name(name));
    EXPECT_TRUE(cache) << cache.error().message;
    return *cache;
  }
};

TEST_F(HubCache, HasAFolderForEachModelAndDataSet) {
  EXPECT_EQ(root_ / "models--org--name/blobs/tag", open("org/name").blob("tag"));
  EXPECT_EQ(root_ / "datasets--org--name/blobs/tag.incomplete",
            open("datasets/org/name").part("tag"));
  EXPECT_TRUE(fs::is_directory(root_ / ".locks/models--org--name"));
}

TEST_F(HubCache, LinksFilesToBlobs) {
  const RepositoryCache cache = open("org/name");
  ASSERT_TRUE(write_text_file(cache.blob("tag"), "old"));
  ASSERT_TRUE(write_text_file(cache.blob("tag2"), "new"));
  const fs::path file = root_ / "models--org--name/snapshots" / kCommit / "sub/a.txt";
  ASSERT_TRUE(cache.link(kCommit, "sub/a.txt", "tag"));
  EXPECT_EQ("../../../blobs/tag", fs::read_symlink(file));
  ASSERT_TRUE(cache.link(kCommit, "sub/a.txt", "tag2"));
  EXPECT_EQ("new", *read_text_file(file));
}

TEST_F(HubCache, RemembersBranchesButNotCommits) {
  const RepositoryCache cache = open("org/name");
  ASSERT_TRUE(cache.remember("refs/pr/1", kCommit));
  ASSERT_TRUE(cache.remember(kCommit, kCommit));
  EXPECT_EQ(kCommit, *read_text_file(root_ / "models--org--name/refs/refs/pr/1"));
  EXPECT_FALSE(fs::exists(root_ / "models--org--name/refs" / kCommit));
  EXPECT_FALSE(io::find_snapshot(*io::parse_hub_name("org/name@refs/pr/1")));
  ASSERT_TRUE(cache.link(kCommit, "a.txt", "tag"));
  EXPECT_EQ(cache.snapshot(kCommit), *io::find_snapshot(*io::parse_hub_name("org/name@refs/pr/1")));
}

TEST_F(HubCache, LetsOneProcessWriteAContent) {
  const RepositoryCache cache = open("org/name");
  const auto lock = cache.lock("tag", [] { return true; });
  ASSERT_TRUE(lock) << lock.error().message;
  int waited = 0;
  const auto second = cache.lock("tag", [&] { return ++waited < 2; });
  ASSERT_FALSE(second);
  EXPECT_EQ(Error::Kind::kInterrupted, second.error().kind);
  EXPECT_EQ(2, waited);
}

TEST_F(HubCache, AsksForRoomBeforeItIsNeeded) {
  const RepositoryCache cache = open("org/name");
  EXPECT_TRUE(cache.check_space(1));
  const Status full = cache.check_space(std::uint64_t{1} << 62);
  ASSERT_FALSE(full);
  EXPECT_EQ(Error::Kind::kLimit, full.error().kind);
  EXPECT_NE(std::string::npos, full.error().message.find("expected room for 4611686018427387904"));
}

}  // namespace
}  // namespace fptq::hub
