#include "text/task_template.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "text/bridge_call.h"

namespace fptq::text {
namespace {

struct FreeTaskTemplate {
  void operator()(FptqTaskTemplate* parsed) const { fptq_task_template_free(parsed); }
};

// "goal, sol1, sol2".
std::string field_names(const Json& document) {
  constexpr std::size_t kMost = 20;
  std::string names;
  std::size_t count = 0;
  for (const auto& [name, value] : document.items()) {
    if (++count > kMost) return names + ", ...";
    names += (names.empty() ? "" : ", ") + name.substr(0, 40);
  }
  return names.empty() ? "none" : names;
}

}  // namespace

struct TaskTemplate::Impl {
  std::unique_ptr<FptqTaskTemplate, FreeTaskTemplate> parsed;
  std::string where;
};

TaskTemplate::TaskTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TaskTemplate::TaskTemplate(TaskTemplate&&) noexcept = default;
TaskTemplate& TaskTemplate::operator=(TaskTemplate&&) noexcept = default;
TaskTemplate::~TaskTemplate() = default;

Result<TaskTemplate> TaskTemplate::from_source(std::string_view source, const std::string& where) {
  FptqTaskTemplate* parsed = nullptr;
  BridgeBytes error;
  if (!fptq_task_template_new(bridge_data(source), source.size(), &parsed, error.out())) {
    return Error{Error::Kind::kFormat, where + ": not a usable template: " + error.str()};
  }
  auto impl = std::make_unique<Impl>();
  impl->parsed.reset(parsed);
  impl->where = where;
  return TaskTemplate(std::move(impl));
}

Result<std::vector<Json>> TaskTemplate::render(std::span<const Json> documents,
                                               std::size_t first) const {
  std::string json = "[";
  for (const Json& document : documents) {
    if (json.size() > 1) json += ',';
    json += document.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  json += ']';
  BridgeBytes text;
  std::size_t index = 0;
  const FptqOutcome outcome = fptq_task_template_render(impl_->parsed.get(), bridge_data(json),
                                                        json.size(), &index, text.out());
  if (outcome == kFptqDone) {
    FPTQ_TRY(const Json results, parse_json(text.str(), impl_->where));
    return std::vector<Json>(results.begin(), results.end());
  }
  const std::string place = impl_->where + ": document " + std::to_string(first + index) + ": ";
  if (outcome == kFptqLimit) {
    return Error{Error::Kind::kLimit,
                 place + "the template does more work than a document may cost: " + text.str()};
  }
  return Error{Error::Kind::kFormat,
               place + "the template fails: " + text.str() + ". The document has the fields " +
                   (index < documents.size() ? field_names(documents[index]) : "none")};
}

}  // namespace fptq::text
