// The documents of a task, from files.

#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "eval/task_definition.h"

namespace fptq::eval {

// A part of a task's documents, and the examples that may stand in front of them.
struct TaskPart {
  std::string name;             // empty: the task has no parts
  std::vector<Json> documents;  // objects, in file order
  std::vector<Json> examples;   // empty: drawn from the documents themselves
};

struct TaskDocuments {
  std::string sha256;           // of the files' bytes, one after the other
  std::vector<TaskPart> parts;  // at least one, in order of their names
};

// Documents of a text, by the file's name: *.jsonl (an object a line), *.json (an array of
// objects), *.csv (RFC 4180; the first line names the columns, except where it has as many fields
// as csv_columns and none of their names).
//
//   where  begins every message
// Errors: kFormat with the line for what is none of these, for bytes that are not UTF-8, a line
// with too many or too few fields, and for no documents at all.
[[nodiscard]] Result<std::vector<Json>> parse_documents(
    std::string_view text, const std::string& where, const std::vector<std::string>& csv_columns);

// Reads the file (*.parquet too), or the directory of a task that has parts; labels_file beside it
// where the documents lack its field; examples from a file of their own, or those of the parts.
//   path      a file, or a directory for a task with parts
//   examples  empty: none but those of the parts
// Errors: parse_documents()'s; kNotFound; kFormat where labels and documents are not as many.
[[nodiscard]] Result<TaskDocuments> read_documents(const TaskDefinition& task,
                                                   const std::filesystem::path& path,
                                                   const std::filesystem::path& examples = {});

// The same for a data set that is in several files (*.parquet too), as the hub keeps it. Documents
// of a task with parts that have the field `subject` are sorted into them.
[[nodiscard]] Result<TaskDocuments> read_files(const TaskDefinition& task,
                                               const std::vector<std::filesystem::path>& files,
                                               const std::vector<std::filesystem::path>& examples);

}  // namespace fptq::eval
