#include "eval/samples_log.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/file.h"

namespace fptq::eval {
namespace {

namespace fs = std::filesystem;

// A document's line, or nothing where it is none.
std::optional<std::pair<std::size_t, DocumentScores>> parse_document(const Json& line) {
  const auto doc = line.find("doc");
  const auto values = line.find("ll");
  const auto greedy = line.find("greedy");
  if (doc == line.end() || values == line.end() || greedy == line.end()) return std::nullopt;
  if (!doc->is_number_unsigned() || !values->is_array() || !greedy->is_array() ||
      values->size() != greedy->size()) {
    return std::nullopt;
  }
  DocumentScores scores;
  for (std::size_t i = 0; i < values->size(); ++i) {
    if (!(*values)[i].is_number() || !(*greedy)[i].is_boolean()) return std::nullopt;
    scores.push_back({(*values)[i].get<double>(), (*greedy)[i].get<bool>()});
  }
  return std::pair(doc->get<std::size_t>(), std::move(scores));
}

}  // namespace

Result<SamplesLog> SamplesLog::open(const fs::path& file, bool resume) {
  SamplesLog log(file, file.string() + ".partial");
  if (!fs::exists(log.partial_)) return log;
  if (!resume) {
    return Error{Error::Kind::kInvalidArgument,
                 log.partial_.string() +
                     ": expected no such file, got the documents of a run that was stopped. Add "
                     "--resume to go on from there, or remove it"};
  }
  FPTQ_TRY_VOID(log.read_partial());
  return log;
}

Status SamplesLog::read_partial() {
  FPTQ_TRY(const std::string text, read_text_file(partial_));
  std::string key;
  std::size_t number = 0;
  std::size_t complete = 0;  // bytes of whole lines
  for (std::size_t end = text.find('\n'); end != std::string::npos;
       end = text.find('\n', complete)) {
    const std::string place = partial_.string() + ": line " + std::to_string(++number);
    FPTQ_TRY(const Json line,
             parse_json(std::string_view(text).substr(complete, end - complete), place));
    complete = end + 1;
    if (line.is_object() && line.contains("run")) {
      key = line["run"].dump();
      continue;
    }
    auto document = line.is_object() ? parse_document(line) : std::nullopt;
    if (!document || key.empty()) {
      return Error{Error::Kind::kFormat,
                   place +
                       ": expected the scores of a document, got something else. Remove the "
                       "file to begin again"};
    }
    finished_[key].insert(*std::move(document));
  }
  if (complete == text.size()) return {};
  std::error_code error;
  fs::resize_file(partial_, complete, error);
  if (!error) return {};
  return Error{Error::Kind::kIo, partial_.string() + ": " + error.message()};
}

Result<std::map<std::size_t, DocumentScores>> SamplesLog::begin(const Json& key) {
  FPTQ_TRY_VOID(append(Json{{"run", key}}));
  const auto found = finished_.find(key.dump());
  if (found == finished_.end()) return std::map<std::size_t, DocumentScores>();
  return found->second;
}

Status SamplesLog::add(std::size_t document, const DocumentScores& scores) {
  Json values = Json::array();
  Json greedy = Json::array();
  for (const SequenceScore& score : scores) {
    values.push_back(score.log_likelihood);
    greedy.push_back(score.greedy);
  }
  return append(Json{{"doc", document}, {"ll", std::move(values)}, {"greedy", std::move(greedy)}});
}

Status SamplesLog::append(const Json& line) {
  // Opened for each line: documents take long, and whatever was written is safe from this process.
  std::ofstream out(partial_, std::ios::app | std::ios::binary);
  out << line.dump() << '\n' << std::flush;
  if (out) return {};
  const int reason = errno;
  return Error{reason == ENOSPC ? Error::Kind::kLimit : Error::Kind::kIo,
               partial_.string() + ": cannot be written: " + std::strerror(reason)};
}

Json sample_json(const DocumentScore& document, const std::string& task, const std::string& model) {
  Json line = {{"doc", document.document}};
  line["context"] =
      document.contexts.size() == 1 ? Json(document.contexts.front()) : Json(document.contexts);
  const bool shared = document.contexts.size() > 1 && document.continuations.size() == 1;
  line["continuations"] =
      shared ? Json(document.continuations.front()) : Json(document.continuations);
  line["ll"] = document.log_likelihoods;
  line["greedy"] = document.greedy;
  line["tokens"] = document.tokens;
  std::visit([&](const auto& target) { line["target"] = target; }, document.target);
  line["acc"] = document.acc;
  if (document.acc_norm) line["acc_norm"] = *document.acc_norm;
  line["task"] = task;
  line["model"] = model;
  return line;
}

Status SamplesLog::finish(const std::vector<Sample>& samples) {
  FPTQ_TRY(OutputFile file, OutputFile::create(file_));
  for (const Sample& sample : samples) {
    for (const DocumentScore& document : sample.result->documents) {
      const Json line = sample_json(document, sample.result->name, sample.model);
      FPTQ_TRY_VOID(file.write(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"));
    }
  }
  FPTQ_TRY_VOID(file.commit());
  std::error_code ignored;
  fs::remove(partial_, ignored);
  return {};
}

}  // namespace fptq::eval
