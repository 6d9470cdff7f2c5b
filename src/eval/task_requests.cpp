#include "eval/task_requests.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/utf8.h"
#include "eval/python_random.h"

namespace fptq::eval {
namespace {

// What lm-evaluation-harness seeds the choice of examples with, where nothing else is asked for.
constexpr std::uint32_t kFewshotSeed = 1234;

std::string short_dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80);
}

// A document's text, target and choices, before they are put together.
struct Turn {
  std::variant<std::size_t, std::string> text;  // an index: the choices are contexts
  std::vector<std::string> choices;
  std::variant<std::size_t, std::string> target;
};

class TurnReader {
 public:
  TurnReader(const TaskDefinition& task, const std::string& where) : task_(task), where_(where) {}

  // A turn for each document.
  Result<std::vector<Turn>> read(std::span<const Json> originals) const {
    std::vector<Json> documents(originals.begin(), originals.end());
    for (const auto& [field, text] : task_.process_docs) {
      FPTQ_TRY(std::vector<Json> values, evaluate(text, documents));
      for (std::size_t i = 0; i < values.size(); ++i) documents[i][field] = std::move(values[i]);
    }
    FPTQ_TRY(const std::vector<Json> texts, evaluate(task_.doc_to_text, documents));
    FPTQ_TRY(const std::vector<Json> targets, evaluate(task_.doc_to_target, documents));
    std::vector<Json> choices;
    if (task_.doc_to_choice) {
      FPTQ_TRY(choices, evaluate(*task_.doc_to_choice, documents));
    }
    std::vector<Turn> turns(documents.size());
    for (std::size_t i = 0; i < turns.size(); ++i) {
      turns[i].choices = task_.fixed_choices;
      if (task_.doc_to_choice) {
        FPTQ_TRY(turns[i].choices, texts_of(choices[i], "doc_to_choice", i));
      }
      FPTQ_TRY(turns[i].text, value_of(texts[i], "doc_to_text", i));
      FPTQ_TRY(turns[i].target, value_of(targets[i], "doc_to_target", i));
      FPTQ_TRY_VOID(check(turns[i], i));
    }
    return turns;
  }

  // The description, which is "" where the task has none.
  Result<std::vector<std::string>> descriptions(std::span<const Json> documents) const {
    std::vector<std::string> result(documents.size());
    if (!task_.description) return result;
    FPTQ_TRY(const std::vector<Json> values, evaluate(*task_.description, documents));
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (!values[i].is_string()) return wrong("description", i, "a text", values[i]);
      result[i] = values[i].get<std::string>();
    }
    return result;
  }

 private:
  // The field of that name where every document has it, else what the template gives.
  Result<std::vector<Json>> evaluate(const TaskText& text, std::span<const Json> documents) const {
    const bool is_field =
        !documents.empty() && std::all_of(documents.begin(), documents.end(),
                                          [&](const Json& d) { return d.contains(text.source); });
    if (!is_field) return text.parsed->render(documents);
    std::vector<Json> values;
    for (const Json& document : documents) values.push_back(document[text.source]);
    return values;
  }

  [[nodiscard]] Error wrong(const std::string& key, std::size_t document,
                            const std::string& expected, const Json& got) const {
    return Error{Error::Kind::kFormat, where_ + ": document " + std::to_string(document) + ": " +
                                           key + ": expected " + expected + ", got " +
                                           short_dump(got)};
  }

  Result<std::vector<std::string>> texts_of(const Json& value, const std::string& key,
                                            std::size_t document) const {
    const bool is_list = value.is_array() && value.size() >= 2 &&
                         std::all_of(value.begin(), value.end(), [](const Json& item) {
                           return item.is_string() && !item.get_ref<const std::string&>().empty();
                         });
    if (!is_list) return wrong(key, document, "a list of two or more texts", value);
    return value.get<std::vector<std::string>>();
  }

  // A text, or an index where a value is a number, true or false, or digits beside choices.
  Result<std::variant<std::size_t, std::string>> value_of(const Json& value, const std::string& key,
                                                          std::size_t document) const {
    using Value = std::variant<std::size_t, std::string>;
    if (value.is_boolean()) return Value(static_cast<std::size_t>(value.get<bool>()));
    if (value.is_number_unsigned() ||
        (value.is_number_integer() && value.get<std::int64_t>() >= 0)) {
      return Value(value.get<std::size_t>());
    }
    if (!value.is_string()) return wrong(key, document, "a text or the index of a choice", value);
    const std::string& text = value.get_ref<const std::string&>();
    if (task_.output == TaskOutput::kMultipleChoice) {
      std::size_t index = 0;
      const char* const end = text.data() + text.size();
      const auto [stop, error] = std::from_chars(text.data(), end, index);
      if (!text.empty() && error == std::errc() && stop == end) return Value(index);
    }
    return Value(text);
  }

  Status check(Turn& turn, std::size_t document) const {
    if (task_.output == TaskOutput::kLogLikelihood) {
      if (!std::holds_alternative<std::string>(turn.text)) {
        return wrong("doc_to_text", document, "a text", std::get<std::size_t>(turn.text));
      }
      if (!std::holds_alternative<std::string>(turn.target)) {
        turn.target = std::to_string(std::get<std::size_t>(turn.target));
      }
      if (std::get<std::string>(turn.target).empty()) {
        return wrong("doc_to_target", document, "a text that is not empty", "");
      }
      return {};
    }
    // With choices as contexts doc_to_text is the index, and doc_to_target what follows each.
    const bool choices_are_contexts = std::holds_alternative<std::size_t>(turn.text);
    auto& gold = choices_are_contexts ? turn.text : turn.target;
    const std::string key = choices_are_contexts ? "doc_to_text" : "doc_to_target";
    if (choices_are_contexts && std::holds_alternative<std::size_t>(turn.target)) {
      turn.target = std::to_string(std::get<std::size_t>(turn.target));
    }
    if (const auto* text = std::get_if<std::string>(&gold)) {
      const auto at = std::find(turn.choices.begin(), turn.choices.end(), *text);
      if (at == turn.choices.end()) {
        return wrong(key, document, "one of the choices or its index", Json(*text));
      }
      gold = static_cast<std::size_t>(at - turn.choices.begin());
    }
    if (std::get<std::size_t>(gold) >= turn.choices.size()) {
      return wrong(key, document, "an index below " + std::to_string(turn.choices.size()),
                   std::get<std::size_t>(gold));
    }
    return {};
  }

  const TaskDefinition& task_;
  const std::string& where_;
};

// "text answer\n\n" of an example.
std::string example_text(const TaskDefinition& task, const Turn& turn) {
  const bool choices_are_contexts = std::holds_alternative<std::size_t>(turn.text);
  const std::string& question = choices_are_contexts
                                    ? turn.choices[std::get<std::size_t>(turn.text)]
                                    : std::get<std::string>(turn.text);
  const std::string& answer = std::holds_alternative<std::size_t>(turn.target)
                                  ? turn.choices[std::get<std::size_t>(turn.target)]
                                  : std::get<std::string>(turn.target);
  return question + task.target_delimiter + answer + task.fewshot_delimiter;
}

// Which examples stand in front of each document.
class ExampleChooser {
 public:
  ExampleChooser(const TaskDefinition& task, const TaskPart& part, std::size_t shots)
      : own_(part.examples.empty()),
        pool_(own_ ? std::span<const Json>(part.documents) : part.examples),
        first_(task.sampler == FewshotSampler::kFirst),
        shots_(shots),
        random_(kFewshotSeed) {}

  [[nodiscard]] std::span<const Json> pool() const { return pool_; }
  // Examples that a document needs to choose from.
  [[nodiscard]] std::size_t needed() const { return shots_ + (own_ ? 1 : 0); }

  // Indices into pool(). Call for one document after the other.
  std::vector<std::size_t> choose(const Json& document) {
    std::vector<std::size_t> chosen;
    if (shots_ == 0) return chosen;
    const auto usable = [&](std::size_t i) { return !own_ || pool_[i] != document; };
    if (first_) {
      for (std::size_t i = 0; i < pool_.size() && chosen.size() < shots_; ++i) {
        if (usable(i)) chosen.push_back(i);
      }
      return chosen;
    }
    for (const std::size_t i : random_.sample(pool_.size(), needed())) {
      if (usable(i) && chosen.size() < shots_) chosen.push_back(i);
    }
    if (chosen.size() == shots_) return chosen;
    // Copies of the document were drawn: again, from a pool without them, as the harness does.
    std::vector<std::size_t> others;
    for (std::size_t i = 0; i < pool_.size(); ++i) {
      if (usable(i)) others.push_back(i);
    }
    chosen.clear();
    if (others.size() < shots_) return chosen;
    for (const std::size_t i : random_.sample(others.size(), shots_)) chosen.push_back(others[i]);
    return chosen;
  }

 private:
  bool own_;  // the pool is the documents themselves
  std::span<const Json> pool_;
  bool first_;
  std::size_t shots_;
  PythonRandom random_;
};

DocumentRequests requests_of(const TaskDefinition& task, Turn turn, const std::string& prefix) {
  DocumentRequests requests;
  if (task.output == TaskOutput::kLogLikelihood) {
    requests.contexts = {prefix + std::get<std::string>(turn.text)};
    requests.continuations = {std::get<std::string>(turn.target)};
    requests.target = std::move(turn.target);
    return requests;
  }
  for (const std::string& choice : turn.choices) {
    requests.choice_lengths.push_back(count_code_points(choice));
  }
  if (std::holds_alternative<std::size_t>(turn.text)) {
    for (const std::string& choice : turn.choices) requests.contexts.push_back(prefix + choice);
    requests.continuations = {task.target_delimiter + std::get<std::string>(turn.target)};
    requests.target = std::get<std::size_t>(turn.text);
    return requests;
  }
  requests.contexts = {prefix + std::get<std::string>(turn.text)};
  for (const std::string& choice : turn.choices) {
    requests.continuations.push_back(task.target_delimiter + choice);
  }
  requests.target = std::get<std::size_t>(turn.target);
  return requests;
}

}  // namespace

Result<std::vector<DocumentRequests>> build_requests(const TaskDefinition& task,
                                                     const TaskPart& part, std::size_t shots,
                                                     std::size_t limit, const std::string& where) {
  const std::size_t count =
      limit == 0 ? part.documents.size() : std::min(limit, part.documents.size());
  const std::span<const Json> documents = std::span(part.documents).first(count);
  const TurnReader reader(task, where);
  FPTQ_TRY(std::vector<Turn> turns, reader.read(documents));
  FPTQ_TRY(const std::vector<std::string> descriptions, reader.descriptions(documents));

  ExampleChooser chooser(task, part, shots);
  std::vector<Turn> examples;
  if (shots > 0) {
    if (chooser.pool().size() < chooser.needed()) {
      return Error{Error::Kind::kInvalidArgument,
                   where + ": expected at least " + std::to_string(chooser.needed()) +
                       " examples for " + std::to_string(shots) + " shots, got " +
                       std::to_string(chooser.pool().size())};
    }
    FPTQ_TRY(examples, reader.read(chooser.pool()));
  }
  std::vector<DocumentRequests> result;
  for (std::size_t i = 0; i < count; ++i) {
    std::string prefix = descriptions[i];
    for (const std::size_t example : chooser.choose(documents[i])) {
      prefix += example_text(task, examples[example]);
    }
    result.push_back(requests_of(task, std::move(turns[i]), prefix));
  }
  return result;
}

}  // namespace fptq::eval
