#include "eval/task_documents.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/csv.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/utf8.h"
#include "text/parquet.h"

namespace fptq::eval {
namespace {

namespace fs = std::filesystem;

Error format_error(const std::string& message) {
  return Error{Error::Kind::kFormat, message};
}

Result<std::vector<Json>> parse_lines(std::string_view text, const std::string& where) {
  std::vector<Json> documents;
  std::size_t line = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view row = text.substr(0, end);
    const bool is_cut = end == text.size();
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line;
    if (row.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = where + ": line " + std::to_string(line);
    Result<Json> parsed = parse_json_line(row, where, line);
    if (!parsed) {
      const std::string hint = is_cut ? ". Does the file end too early?" : "";
      return format_error(parsed.error().message + hint);
    }
    Json document = *std::move(parsed);
    if (!document.is_object()) {
      return format_error(place + ": expected an object, got " + document.type_name());
    }
    documents.push_back(std::move(document));
  }
  return documents;
}

Result<std::vector<Json>> parse_array(std::string_view text, const std::string& where) {
  FPTQ_TRY(const Json root, parse_json(text, where));
  if (!root.is_array()) {
    return format_error(where + ": expected an array of objects, got " + root.type_name() +
                        ". A file with an object a line is named *.jsonl");
  }
  std::vector<Json> documents;
  for (const Json& document : root) {
    if (!document.is_object()) {
      return format_error(where + ": document " + std::to_string(documents.size()) +
                          ": expected an object, got " + document.type_name());
    }
    documents.push_back(document);
  }
  return documents;
}

// Whether a first record names columns: it is no document of `columns`.
bool is_header(const CsvRecord& first, const std::vector<std::string>& columns) {
  if (first.fields.size() != columns.size()) return true;
  return std::any_of(columns.begin(), columns.end(), [&](const std::string& column) {
    return std::find(first.fields.begin(), first.fields.end(), column) != first.fields.end();
  });
}

Result<std::vector<Json>> parse_table(std::string_view text, const std::string& where,
                                      const std::vector<std::string>& csv_columns) {
  FPTQ_TRY(const std::vector<CsvRecord> records, parse_csv(text, where));
  std::vector<Json> documents;
  if (records.empty()) return documents;
  const bool has_header = csv_columns.empty() || is_header(records.front(), csv_columns);
  const std::vector<std::string>& columns = has_header ? records.front().fields : csv_columns;
  for (const CsvRecord& record : std::span(records).subspan(has_header ? 1 : 0)) {
    if (record.fields.size() != columns.size()) {
      return format_error(where + ": line " + std::to_string(record.line) + ": expected " +
                          std::to_string(columns.size()) + " fields, got " +
                          std::to_string(record.fields.size()));
    }
    Json document = Json::object();
    for (std::size_t i = 0; i < columns.size(); ++i) document[columns[i]] = record.fields[i];
    documents.push_back(std::move(document));
  }
  return documents;
}

// Documents of one file; its bytes are added to `hash`.
Result<std::vector<Json>> read_file(const TaskDefinition& task, const fs::path& path,
                                    Sha256& hash) {
  if (path.extension() == ".parquet") {
    FPTQ_TRY(const MappedFile bytes, MappedFile::open(path));
    hash.update(bytes.bytes());
    std::vector<Json> documents;
    FPTQ_TRY_VOID(text::read_parquet_rows(path, [&](Json row) -> Status {
      documents.push_back(std::move(row));
      return {};
    }));
    return documents;
  }
  FPTQ_TRY(const std::string text, read_text_file(path));
  hash.update(std::as_bytes(std::span(text)));
  return parse_documents(text, path.string(), task.csv_columns);
}

// "valid-labels.lst" beside "valid.jsonl": a label a line.
Status add_labels(const LabelsFile& labels, const fs::path& path, std::vector<Json>& documents,
                  Sha256& hash) {
  const bool has_labels = std::all_of(documents.begin(), documents.end(),
                                      [&](const Json& d) { return d.contains(labels.field); });
  if (has_labels) return {};
  fs::path file = path;
  file.replace_filename(path.stem().string() + labels.suffix);
  if (!fs::exists(file)) {
    return Error{Error::Kind::kNotFound, path.string() + ": expected the field " + labels.field +
                                             " in every document, or the labels, a line each, in " +
                                             file.string() + ", got neither"};
  }
  FPTQ_TRY(const std::string text, read_text_file(file));
  hash.update(std::as_bytes(std::span(text)));
  std::vector<std::string> values;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find_first_of(" \t\r\n", begin), text.size());
    if (end > begin) values.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (values.size() != documents.size()) {
    return format_error(file.string() + ": expected " + std::to_string(documents.size()) +
                        " labels, as many as " + path.string() + " has documents, got " +
                        std::to_string(values.size()));
  }
  for (std::size_t i = 0; i < values.size(); ++i) documents[i][labels.field] = values[i];
  return {};
}

void name_part(const std::string& name, std::vector<Json>& documents) {
  for (Json& document : documents) document["part"] = name;
}

// Files below `directory` that match a pattern such as "test/*_test.csv", by what `*` stands for.
std::map<std::string, fs::path> matching_files(const fs::path& directory,
                                               const std::string& pattern) {
  const fs::path relative(pattern);
  const std::string name = relative.filename().string();
  const std::size_t star = name.find('*');
  const std::string before = name.substr(0, star);
  const std::string after = name.substr(star + 1);
  std::map<std::string, fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory / relative.parent_path(), error)) {
    const std::string file = entry.path().filename().string();
    if (!entry.is_regular_file() || file.size() <= before.size() + after.size()) continue;
    if (!file.starts_with(before) || !file.ends_with(after)) continue;
    files[file.substr(before.size(), file.size() - before.size() - after.size())] = entry.path();
  }
  return files;
}

// The part that a file of its own is: by the task's name ("mmlu_anatomy") or the file's
// ("anatomy_test.csv"). Empty: none.
std::string part_of(const TaskDefinition& task, const fs::path& path) {
  if (const auto name = part_in_name(task.name)) return std::string(*name);
  if (!task.parts) return "";
  const std::string pattern = fs::path(task.parts->documents).filename().string();
  const std::string after = pattern.substr(pattern.find('*') + 1);
  const std::string file = path.filename().string();
  return file.ends_with(after) ? file.substr(0, file.size() - after.size()) : "";
}

// Documents of several parts in one file, as the hub has them, by the field `subject`: each part's
// examples are those of its own subject.
std::vector<TaskPart> split_by_subject(TaskPart whole) {
  const auto has_subject = [](const Json& document) {
    const auto subject = document.find("subject");
    return subject != document.end() && subject->is_string();
  };
  if (!std::all_of(whole.documents.begin(), whole.documents.end(), has_subject)) {
    return {std::move(whole)};
  }
  std::map<std::string, TaskPart> parts;
  for (Json& document : whole.documents) {
    TaskPart& part = parts[document["subject"].get<std::string>()];
    part.documents.push_back(std::move(document));
  }
  for (Json& example : whole.examples) {
    if (!has_subject(example)) continue;
    const auto part = parts.find(example["subject"].get<std::string>());
    if (part != parts.end()) part->second.examples.push_back(std::move(example));
  }
  std::vector<TaskPart> result;
  for (auto& [name, part] : parts) {
    part.name = name;
    result.push_back(std::move(part));
  }
  return result;
}

Result<TaskDocuments> read_directory(const TaskDefinition& task, const fs::path& directory) {
  if (!task.parts) {
    return Error{Error::Kind::kInvalidArgument, directory.string() + ": expected a file for task " +
                                                    task.name + ", got a directory"};
  }
  const auto files = matching_files(directory, task.parts->documents);
  if (files.empty()) {
    return Error{Error::Kind::kNotFound, directory.string() + ": expected files " +
                                             task.parts->documents + " for task " + task.name +
                                             ", got none"};
  }
  const auto examples = matching_files(directory, task.parts->examples);
  TaskDocuments result;
  Sha256 hash;
  for (const auto& [name, path] : files) {
    TaskPart part;
    part.name = name;
    FPTQ_TRY(part.documents, read_file(task, path, hash));
    if (const auto found = examples.find(name); found != examples.end()) {
      FPTQ_TRY(part.examples, read_file(task, found->second, hash));
    }
    name_part(name, part.documents);
    name_part(name, part.examples);
    result.parts.push_back(std::move(part));
  }
  result.sha256 = hash.finish();
  return result;
}

}  // namespace

Result<std::vector<Json>> parse_documents(std::string_view text, const std::string& where,
                                          const std::vector<std::string>& csv_columns) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (const auto bad = invalid_utf8_at(text)) {
    return format_error(where + ": byte " + std::to_string(*bad) + ": expected UTF-8");
  }
  const std::string extension = fs::path(where).extension().string();
  std::vector<Json> documents;
  if (extension == ".csv") {
    FPTQ_TRY(documents, parse_table(text, where, csv_columns));
  } else if (extension == ".json") {
    FPTQ_TRY(documents, parse_array(text, where));
  } else {
    FPTQ_TRY(documents, parse_lines(text, where));
  }
  if (documents.empty()) return format_error(where + ": expected documents, got none");
  return documents;
}

Result<TaskDocuments> read_documents(const TaskDefinition& task, const fs::path& path,
                                     const fs::path& examples) {
  if (fs::is_directory(path)) return read_directory(task, path);
  std::vector<fs::path> pool;
  if (!examples.empty()) pool.push_back(examples);
  return read_files(task, {path}, pool);
}

Result<TaskDocuments> read_files(const TaskDefinition& task, const std::vector<fs::path>& files,
                                 const std::vector<fs::path>& examples) {
  FPTQ_CHECK(!files.empty(), "files with documents");
  TaskDocuments result;
  Sha256 hash;
  TaskPart part;
  const auto read = [&](const std::vector<fs::path>& from, std::vector<Json>& into) -> Status {
    for (const fs::path& file : from) {
      FPTQ_TRY(std::vector<Json> documents, read_file(task, file, hash));
      if (task.labels_file) FPTQ_TRY_VOID(add_labels(*task.labels_file, file, documents, hash));
      std::move(documents.begin(), documents.end(), std::back_inserter(into));
    }
    return {};
  };
  FPTQ_TRY_VOID(read(files, part.documents));
  if (part.documents.empty()) {
    return format_error(files.front().string() + ": expected documents, got none");
  }
  FPTQ_TRY_VOID(read(examples, part.examples));
  if (const std::string name = part_of(task, files.front()); !name.empty()) {
    name_part(name, part.documents);
    name_part(name, part.examples);
  }
  if (task.parts) {
    result.parts = split_by_subject(std::move(part));
  } else {
    result.parts.push_back(std::move(part));
  }
  result.sha256 = hash.finish();
  return result;
}

}  // namespace fptq::eval
