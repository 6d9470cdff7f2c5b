#include "eval/samples_log.h"

#include <cerrno>
#include <cmath>
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

// An array of numbers under `name`, or nothing.
std::optional<std::vector<double>> numbers(const Json& line, const char* name) {
  const auto array = line.find(name);
  if (array == line.end() || !array->is_array()) return std::nullopt;
  for (const Json& value : *array) {
    if (!value.is_number()) return std::nullopt;
  }
  return array->get<std::vector<double>>();
}

std::optional<std::vector<TokenDivergence>> parse_positions(const Json& line) {
  const auto kl = numbers(line, "kl");
  const auto delta_p = numbers(line, "delta_p");
  const auto top_p = numbers(line, "top_p");
  const auto same = line.find("same");
  if (!kl || !delta_p || !top_p || same == line.end() || !same->is_string()) return std::nullopt;
  const auto digits = same->get<std::string>();
  const std::size_t count = kl->size();
  if (delta_p->size() != count || top_p->size() != count || digits.size() != count) {
    return std::nullopt;
  }
  std::vector<TokenDivergence> positions;
  positions.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    positions.push_back({(*kl)[i], digits[i] == '1', (*delta_p)[i], (*top_p)[i]});
  }
  return positions;
}

std::optional<WindowScore> parse_window(const Json& line) {
  for (const char* name : {"nll", "mean", "squares"}) {
    if (!line.contains(name) || !line[name].is_number()) return std::nullopt;
  }
  if (!line.contains("tokens") || !line["tokens"].is_number_unsigned()) return std::nullopt;
  return WindowScore{line["nll"].get<double>(),
                     RunningMoments(line["tokens"].get<std::size_t>(), line["mean"].get<double>(),
                                    line["squares"].get<double>())};
}

// Takes a line into what is finished; false where it is none of its kinds.
bool take_line(const Json& line, Finished& finished) {
  if (!line.is_object()) return false;
  const auto window = line.find("window");
  if (window == line.end()) {
    auto document = parse_document(line);
    if (!document) return false;
    finished.documents.insert(*std::move(document));
    return true;
  }
  if (!window->is_number_unsigned()) return false;
  const auto index = window->get<std::size_t>();
  if (auto score = parse_window(line)) return finished.windows.emplace(index, *score), true;
  auto positions = parse_positions(line);
  if (!positions) return false;
  finished.divergences.emplace(index, *std::move(positions));
  return true;
}

}  // namespace

Result<SamplesLog> SamplesLog::open(const fs::path& file, bool resume) {
  SamplesLog log(file, file.string() + ".partial");
  if (!fs::exists(log.partial_)) return log;
  if (!resume) {
    return Error{Error::Kind::kInvalidArgument,
                 log.partial_.string() +
                     ": expected no such file, got what a run has measured that was stopped. Add "
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
             parse_json_line(std::string_view(text).substr(complete, end - complete),
                             partial_.string(), number));
    complete = end + 1;
    if (line.is_object() && line.contains("run")) {
      key = line["run"].dump();
      continue;
    }
    if (key.empty() || !take_line(line, finished_[key])) {
      return Error{Error::Kind::kFormat,
                   place +
                       ": expected the scores of a document or window, got something else. Remove "
                       "the file to begin again"};
    }
  }
  if (complete == text.size()) return {};
  std::error_code error;
  fs::resize_file(partial_, complete, error);
  if (!error) return {};
  return Error{Error::Kind::kIo, partial_.string() + ": " + error.message()};
}

Result<Finished> SamplesLog::begin(const Json& key) {
  FPTQ_TRY_VOID(write_line(R"({"run":)" + key.dump() + "}"));
  written_section_ = sections_.size();
  const auto found = finished_.find(key.dump());
  Finished finished = found == finished_.end() ? Finished() : found->second;
  finished.section = sections_.size();
  sections_.push_back({key.dump(), finished});
  return finished;
}

void SamplesLog::end(std::size_t section, const TaskResult& result) {
  for (const DocumentScore& document : result.documents) {
    sections_[section].unused.documents.erase(document.document);
  }
}

void SamplesLog::end(std::size_t section, std::size_t windows) {
  Finished& unused = sections_[section].unused;
  unused.windows.erase(unused.windows.begin(), unused.windows.lower_bound(windows));
  unused.divergences.erase(unused.divergences.begin(), unused.divergences.lower_bound(windows));
}

std::size_t SamplesLog::unused() const {
  std::size_t count = 0;
  for (const Section& section : sections_) count += section.unused.size();
  return count;
}

Status SamplesLog::add(std::size_t section, std::size_t document, const DocumentScores& scores) {
  Json values = Json::array();
  Json greedy = Json::array();
  for (const SequenceScore& score : scores) {
    values.push_back(score.log_likelihood);
    greedy.push_back(score.greedy);
  }
  return append(section,
                Json{{"doc", document}, {"ll", std::move(values)}, {"greedy", std::move(greedy)}});
}

Status SamplesLog::add(std::size_t section, std::size_t window, const WindowScore& score) {
  const RunningMoments& moments = score.moments;
  if (!std::isfinite(score.nll) || !std::isfinite(moments.squared_deviations())) return {};
  return append(section, Json{{"window", window},
                              {"nll", score.nll},
                              {"tokens", moments.count()},
                              {"mean", moments.mean()},
                              {"squares", moments.squared_deviations()}});
}

Status SamplesLog::add(std::size_t section, std::size_t window,
                       std::span<const TokenDivergence> positions) {
  std::vector<double> kl;
  std::vector<double> delta_p;
  std::vector<double> top_p;
  std::string same;
  for (const TokenDivergence& position : positions) {
    if (!std::isfinite(position.kl)) return {};
    kl.push_back(position.kl);
    delta_p.push_back(position.delta_p);
    top_p.push_back(position.base_top_p);
    same += position.same_top ? '1' : '0';
  }
  return append(
      section,
      Json{{"window", window}, {"kl", kl}, {"same", same}, {"delta_p", delta_p}, {"top_p", top_p}});
}

Status SamplesLog::append(std::size_t section, const Json& line) {
  if (section != written_section_) {
    FPTQ_TRY_VOID(write_line(R"({"run":)" + sections_[section].key + "}"));
    written_section_ = section;
  }
  return write_line(line.dump());
}

Status SamplesLog::write_line(const std::string& line) {
  // Opened for each line: documents take long, and whatever was written is safe from this process.
  std::ofstream out(partial_, std::ios::app | std::ios::binary);
  out << line << '\n' << std::flush;
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

namespace {

std::vector<Json> window_samples(const EvalResult& result) {
  std::vector<Json> lines;
  for (const Perplexity& measured : result.perplexities) {
    for (std::size_t w = 0; w < measured.window_nll.size(); ++w) {
      lines.push_back({{"window", w},
                       {"protocol", protocol_name(measured.protocol)},
                       {"ctx", measured.context},
                       {"nll", measured.window_nll[w]},
                       {"tokens", measured.window_tokens[w]},
                       {"model", result.model}});
    }
  }
  if (!result.kl) return lines;
  for (std::size_t w = 0; w < result.kl->window_kl.size(); ++w) {
    lines.push_back({{"window", w},
                     {"ctx", result.kl->context},
                     {"kl", result.kl->window_kl[w]},
                     {"tokens", result.kl->window_tokens[w]},
                     {"model", result.model}});
  }
  return lines;
}

}  // namespace

Status SamplesLog::finish(const std::vector<const EvalResult*>& results) {
  // Under another name first: FILE.partial, where an OutputFile writes, is what this run goes on
  // from.
  const fs::path complete = file_.string() + ".complete";
  FPTQ_TRY(OutputFile file, OutputFile::create(complete));
  const auto write = [&](const Json& line) {
    return file.write(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  };
  for (const EvalResult* result : results) {
    for (const TaskResult& task : result->tasks) {
      for (const DocumentScore& document : task.documents) {
        FPTQ_TRY_VOID(write(sample_json(document, task.name, result->model)));
      }
    }
    for (const Json& line : window_samples(*result)) FPTQ_TRY_VOID(write(line));
  }
  FPTQ_TRY_VOID(file.commit());
  std::error_code error;
  fs::rename(complete, file_, error);
  if (error) return Error{Error::Kind::kIo, file_.string() + ": " + error.message()};
  if (unused() > 0) return {};
  std::error_code ignored;
  fs::remove(partial_, ignored);
  return {};
}

}  // namespace fptq::eval
