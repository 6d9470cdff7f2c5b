#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <array>
#include <csignal>
#include <cstring>
#include <span>
#include <string>

namespace fptq {
namespace {

namespace fs = std::filesystem;

// An empty directory that is removed after the test.
class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "fptq_file_test.XXXXXX").string();
    ASSERT_NE(nullptr, mkdtemp(name.data()));
    root_ = name;
  }
  void TearDown() override { fs::remove_all(root_); }

  std::size_t entries() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(root_), fs::directory_iterator()));
  }

  fs::path root_;
};

using MappedFileTest = FileTest;
using OutputFileTest = FileTest;
using OutputDirectoryTest = FileTest;

TEST_F(MappedFileTest, HoldsTheBytesOfTheFile) {
  ASSERT_TRUE(write_text_file(root_ / "a", "hello"));
  const auto file = MappedFile::open(root_ / "a");
  ASSERT_TRUE(file);
  EXPECT_EQ(5U, file->bytes().size());
  file->release(file->bytes());
  EXPECT_EQ(std::byte{'h'}, file->bytes()[0]) << "released bytes stay readable";
}

TEST_F(MappedFileTest, MapsAnEmptyFileAsNoBytes) {
  ASSERT_TRUE(write_text_file(root_ / "a", ""));
  const auto file = MappedFile::open(root_ / "a");
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->bytes().empty());
}

TEST_F(MappedFileTest, SaysWhyAFileCannotBeOpened) {
  const auto missing = MappedFile::open(root_ / "missing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(Error::Kind::kNotFound, missing.error().kind);
  EXPECT_EQ((root_ / "missing").string() + ": cannot open: No such file or directory",
            missing.error().message);
  const auto directory = MappedFile::open(root_);
  ASSERT_FALSE(directory);
  EXPECT_EQ(root_.string() + ": expected a regular file, got something else",
            directory.error().message);
}

TEST_F(MappedFileTest, DoesNotWaitForANamedPipe) {
  const fs::path pipe = root_ / "pipe";
  ASSERT_EQ(0, ::mkfifo(pipe.c_str(), 0600));
  const auto file = MappedFile::open(pipe);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().message, pipe.string() + ": expected a regular file, got something else");
}

TEST_F(MappedFileTest, TextFilesAboveTheLimitAreRefused) {
  ASSERT_TRUE(write_text_file(root_ / "a", "hello"));
  EXPECT_EQ("hello", *read_text_file(root_ / "a", 5));
  const auto text = read_text_file(root_ / "a", 4);
  ASSERT_FALSE(text);
  EXPECT_EQ(Error::Kind::kLimit, text.error().kind);
}

TEST_F(OutputFileTest, AppearsUnderItsNameOnlyWhenCommitted) {
  {
    auto file = OutputFile::create(root_ / "out");
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->write("0123456789"));
    ASSERT_TRUE(file->write_at(2, std::as_bytes(std::span("ab", 2))));
    EXPECT_FALSE(fs::exists(root_ / "out"));
    ASSERT_TRUE(file->commit());
  }
  EXPECT_EQ("01ab456789", *read_text_file(root_ / "out"));
  EXPECT_EQ(1U, entries());
}

TEST_F(OutputFileTest, LeavesNothingWhenItIsNotCommitted) {
  ASSERT_TRUE(write_text_file(root_ / "out", "old"));
  {
    auto file = OutputFile::create(root_ / "out");
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->write("new"));
  }
  EXPECT_EQ("old", *read_text_file(root_ / "out"));
  EXPECT_EQ(1U, entries());
}

TEST_F(OutputFileTest, ReportsADiskThatIsFull) {
  // A file size limit fails a write in the same way as a full disk does, without one.
  rlimit before{};
  ASSERT_EQ(0, getrlimit(RLIMIT_FSIZE, &before));
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &small));
  Status status;
  {
    auto file = OutputFile::create(root_ / "out");
    if (file) status = file->write(std::string(10000, 'x'));
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(status);
  EXPECT_EQ(Error::Kind::kLimit, status.error().kind);
  EXPECT_EQ((root_ / "out.partial").string() +
                ": cannot write: File too large. Free some space, or write to another disk",
            status.error().message);
  EXPECT_EQ(0U, entries());
}

TEST_F(OutputDirectoryTest, TakesItsNameWhenCommitted) {
  auto directory = OutputDirectory::create(root_ / "out/", false);
  ASSERT_TRUE(directory);
  ASSERT_TRUE(write_text_file(directory->path() / "a", "x"));
  EXPECT_FALSE(fs::exists(root_ / "out"));
  ASSERT_TRUE(directory->commit());
  EXPECT_EQ("x", *read_text_file(root_ / "out" / "a"));
  EXPECT_EQ(1U, entries());
}

TEST_F(OutputDirectoryTest, RefusesToReplaceWhatExistsUnlessAsked) {
  fs::create_directory(root_ / "out");
  ASSERT_TRUE(write_text_file(root_ / "out" / "old", "x"));
  const auto refused = OutputDirectory::create(root_ / "out", false);
  ASSERT_FALSE(refused);
  EXPECT_EQ((root_ / "out").string() +
                ": already exists. Give another name, remove it, or pass --overwrite",
            refused.error().message);
  auto directory = OutputDirectory::create(root_ / "out", true);
  ASSERT_TRUE(directory);
  EXPECT_TRUE(fs::exists(root_ / "out" / "old")) << "the old output stays until the new is done";
  ASSERT_TRUE(directory->commit());
  EXPECT_FALSE(fs::exists(root_ / "out" / "old"));
  EXPECT_EQ(1U, entries());
}

TEST_F(OutputDirectoryTest, EmptiesWhatAnEarlierRunLeftUnlessItIsKept) {
  ASSERT_TRUE(OutputDirectory::create(root_ / "out", false));
  ASSERT_TRUE(write_text_file(root_ / "out.partial" / "left", "x"));
  ASSERT_TRUE(OutputDirectory::create(root_ / "out", false, /*keep_partial=*/true));
  EXPECT_TRUE(fs::exists(root_ / "out.partial" / "left"));
  auto directory = OutputDirectory::create(root_ / "out", false);
  ASSERT_TRUE(directory);
  EXPECT_FALSE(fs::exists(root_ / "out.partial" / "left"));
  directory->discard();
  EXPECT_EQ(0U, entries());
}

class ScratchFileTest : public OutputDirectoryTest {};

TEST_F(ScratchFileTest, GivesBackWhatWasWrittenInPlaces) {
  const fs::path path = root_ / "rows";
  ASSERT_TRUE(write_text_file(path, "something old and longer"));
  {
    auto file = ScratchFile::create(path, 8);
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_EQ(8U, file->bytes().size());
    EXPECT_EQ(std::byte{0}, file->bytes()[7]);
    std::memcpy(file->bytes().data() + 4, "efgh", 4);
    std::memcpy(file->bytes().data(), "abcd", 4);
    ASSERT_TRUE(file->sync());
  }
  auto again = ScratchFile::open(path, 8);
  ASSERT_TRUE(again) << again.error().message;
  ScratchFile moved = *std::move(again);
  EXPECT_EQ(0, std::memcmp(moved.bytes().data(), "abcdefgh", 8));
  moved.floats()[1] = 0;
  EXPECT_EQ(std::byte{0}, moved.bytes()[6]);
}

TEST_F(ScratchFileTest, TakesAnotherName) {
  ASSERT_TRUE(write_text_file(root_ / "new", "what had the name"));
  auto file = ScratchFile::create(root_ / "old", 4);
  ASSERT_TRUE(file) << file.error().message;
  std::memcpy(file->bytes().data(), "abcd", 4);
  ASSERT_TRUE(file->rename(root_ / "new"));
  EXPECT_EQ(root_ / "new", file->path());
  EXPECT_FALSE(fs::exists(root_ / "old"));
  std::memcpy(file->bytes().data() + 2, "ef", 2);
  ASSERT_TRUE(file->sync());
  EXPECT_EQ("abef", *read_text_file(root_ / "new", 100));
  const Status nowhere = file->rename(root_ / "none" / "new");
  ASSERT_FALSE(nowhere);
  EXPECT_EQ((root_ / "none" / "new").string() + ": cannot write: No such file or directory",
            nowhere.error().message);
}

TEST_F(ScratchFileTest, SaysThatTheDiskHasNoRoom) {
  const auto file = ScratchFile::create(root_ / "huge", std::uint64_t{1} << 62);
  ASSERT_FALSE(file);
  EXPECT_EQ(Error::Kind::kLimit, file.error().kind);
  EXPECT_NE(std::string::npos, file.error().message.find("huge: cannot write: "));
}

TEST_F(ScratchFileTest, RefusesAnotherSize) {
  const fs::path path = root_ / "rows";
  ASSERT_TRUE(write_text_file(path, "abc"));
  const auto file = ScratchFile::open(path, 8);
  ASSERT_FALSE(file);
  EXPECT_EQ(path.string() + ": expected a file of 8 bytes, got 3 bytes", file.error().message);
  const auto missing = ScratchFile::open(root_ / "none", 8);
  ASSERT_FALSE(missing);
  EXPECT_EQ(Error::Kind::kNotFound, missing.error().kind);
}

}  // namespace
}  // namespace fptq
