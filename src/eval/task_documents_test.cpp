#include "eval/task_documents.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "support/temporary_directory.h"

namespace fptq::eval {
namespace {

namespace fs = std::filesystem;

std::string parsed(const std::string& text, const std::string& where,
                   const std::vector<std::string>& columns = {}) {
  const auto documents = parse_documents(text, where, columns);
  return documents ? Json(*documents).dump() : documents.error().message;
}

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

TaskDefinition builtin(const std::string& name) {
  auto task = builtin_task(name);
  EXPECT_TRUE(task) << task.error().message;
  return *std::move(task);
}

TEST(TaskDocuments, ReadsThreeFormats) {
  const std::string expected = R"([{"a":"1"},{"a":"2"}])";
  EXPECT_EQ(parsed("{\"a\":\"1\"}\n\n{\"a\":\"2\"}\r\n", "d.jsonl"), expected);
  EXPECT_EQ(parsed("\xEF\xBB\xBF[{\"a\":\"1\"},{\"a\":\"2\"}]", "d.json"), expected);
  EXPECT_EQ(parsed("a\n1\n2\n", "d.csv"), expected);
}

TEST(TaskDocuments, TakesTheFirstLineOfATableForAHeaderByItsNames) {
  EXPECT_EQ(parsed("1\n2\n", "d.csv", {"a"}), R"([{"a":"1"},{"a":"2"}])");
  EXPECT_EQ(parsed("a\n1\n", "d.csv", {"a"}), R"([{"a":"1"}])");
  EXPECT_EQ(parsed("b,a\n1,2\n", "d.csv", {"a"}), R"([{"b":"1","a":"2"}])");
}

TEST(TaskDocuments, NamesTheLineThatIsWrong) {
  EXPECT_EQ(parsed("{\"a\":1}\n[1]\n", "d.jsonl"),
            "d.jsonl: line 2: expected an object, got array");
  const std::string broken = parsed("{\"a\":1}\n{\"a\":\n", "d.jsonl");
  EXPECT_TRUE(broken.starts_with("d.jsonl: line 2, column 6: expected JSON, got ")) << broken;
  EXPECT_FALSE(broken.ends_with("too early?"));
  const std::string cut = parsed("{\"a\":1}\n{\"a\":", "d.jsonl");
  EXPECT_TRUE(cut.starts_with("d.jsonl: line 2, column 6: expected JSON, got ")) << cut;
  EXPECT_TRUE(cut.ends_with(". Does the file end too early?")) << cut;
  EXPECT_EQ(parsed("{}", "d.json"),
            "d.json: expected an array of objects, got object. A file with an object a line is "
            "named *.jsonl");
  EXPECT_EQ(parsed("[{}, 1]", "d.json"), "d.json: document 1: expected an object, got number");
  EXPECT_EQ(parsed("a,b\n1,2\n1\n", "d.csv"), "d.csv: line 3: expected 2 fields, got 1");
  EXPECT_EQ(parsed("{\"a\":\"\xFF\"}", "d.jsonl"), "d.jsonl: byte 6: expected UTF-8");
  EXPECT_EQ(parsed("\n", "d.jsonl"), "d.jsonl: expected documents, got none");
  EXPECT_EQ(parsed("a,b\n", "d.csv"), "d.csv: expected documents, got none");
}

using TaskFiles = fptq::testing::TemporaryDirectoryTest;

TEST_F(TaskFiles, ReadsLabelsFromAFileOfTheirOwn) {
  const fs::path file = root_ / "valid.jsonl";
  write(file, "{\"goal\":\"a\"}\n{\"goal\":\"b\"}\n");
  const TaskDefinition piqa = builtin("piqa");
  const auto missing = read_documents(piqa, file);
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("valid-labels.lst, got neither"), std::string::npos);
  write(root_ / "valid-labels.lst", "1\n0\n");
  const auto documents = read_documents(piqa, file);
  ASSERT_TRUE(documents) << documents.error().message;
  ASSERT_EQ(documents->parts.size(), 1U);
  EXPECT_EQ(documents->parts[0].documents[0]["label"], "1");
  write(root_ / "valid-labels.lst", "1\n0\n1\n");
  const auto more = read_documents(piqa, file);
  ASSERT_FALSE(more);
  EXPECT_NE(more.error().message.find("expected 2 labels"), std::string::npos);
}

TEST_F(TaskFiles, ReadsThePartsOfADirectory) {
  const fs::path& root = root_;
  write(root / "test/b_test.csv", "What,w,x,y,z,B\n");
  write(root / "test/a_test.csv", "question,choice0,choice1,choice2,choice3,answer\nQ,w,x,y,z,1\n");
  write(root / "test/notes.txt", "");
  write(root / "dev/a_dev.csv", "E,w,x,y,z,A\n");
  const TaskDefinition mmlu = builtin("mmlu");
  const auto documents = read_documents(mmlu, root);
  ASSERT_TRUE(documents) << documents.error().message;
  ASSERT_EQ(documents->parts.size(), 2U);
  EXPECT_EQ(documents->parts[0].name, "a");
  EXPECT_EQ(documents->parts[0].documents[0]["part"], "a");
  EXPECT_EQ(documents->parts[0].examples[0]["answer"], "A");
  EXPECT_EQ(documents->parts[1].documents[0]["answer"], "B");
  EXPECT_TRUE(documents->parts[1].examples.empty());
  EXPECT_EQ(documents->sha256.size(), 64U);

  const auto one = read_documents(mmlu, root / "test/b_test.csv");
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->parts[0].documents[0]["part"], "b");
  const auto empty = read_documents(mmlu, root / "dev");
  ASSERT_FALSE(empty);
  EXPECT_NE(empty.error().message.find("expected files test/*_test.csv for task mmlu, got none"),
            std::string::npos);
  const auto directory_of_none = read_documents(builtin("piqa"), root);
  ASSERT_FALSE(directory_of_none);
  EXPECT_NE(directory_of_none.error().message.find("expected a file for task piqa"),
            std::string::npos);
}

TEST_F(TaskFiles, SortsSubjectsIntoParts) {
  write(root_ / "test.jsonl",
        "{\"subject\": \"b\", \"n\": 1}\n{\"subject\": \"a\", \"n\": 2}\n{\"subject\": \"b\", "
        "\"n\": 3}\n");
  write(root_ / "dev.jsonl",
        "{\"subject\": \"b\", \"n\": 4}\n{\"subject\": \"c\", \"n\": 5}\n{\"n\": 6}\n");
  const auto documents = read_documents(builtin("mmlu"), root_ / "test.jsonl", root_ / "dev.jsonl");
  ASSERT_TRUE(documents) << documents.error().message;
  ASSERT_EQ(documents->parts.size(), 2U);
  EXPECT_EQ(documents->parts[0].name, "a");
  EXPECT_TRUE(documents->parts[0].examples.empty());
  EXPECT_EQ(Json(documents->parts[1].documents).dump(),
            R"([{"subject":"b","n":1},{"subject":"b","n":3}])");
  EXPECT_EQ(Json(documents->parts[1].examples).dump(), R"([{"subject":"b","n":4}])");
}

TEST_F(TaskFiles, ReadsSeveralFilesAsOneDataSet) {
  write(root_ / "1.jsonl", "{\"q\": 1}\n");
  write(root_ / "2.jsonl", "{\"q\": 2}\n");
  const auto documents =
      read_files(builtin("arc_easy"), {root_ / "1.jsonl", root_ / "2.jsonl"}, {root_ / "2.jsonl"});
  ASSERT_TRUE(documents) << documents.error().message;
  EXPECT_EQ(Json(documents->parts[0].documents).dump(), R"([{"q":1},{"q":2}])");
  EXPECT_EQ(documents->parts[0].examples.size(), 1U);
}

TEST_F(TaskFiles, ReadsParquet) {
  const fs::path file = fs::path(FPTQ_SOURCE_DIR) / "tests/golden/parquet/zstd.parquet";
  const auto documents = read_documents(builtin("arc_easy"), file);
  ASSERT_TRUE(documents) << documents.error().message;
  EXPECT_TRUE(documents->parts[0].documents.front().is_object());
  write(root_ / "bad.parquet", "no Parquet");
  EXPECT_FALSE(read_documents(builtin("arc_easy"), root_ / "bad.parquet"));
}

}  // namespace
}  // namespace fptq::eval
