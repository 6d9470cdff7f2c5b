#include "text/chat_template.h"

#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>

#include "text/bridge_call.h"

namespace fptq::text {
namespace {

struct FreeTemplate {
  void operator()(FptqTemplate* parsed) const { fptq_template_free(parsed); }
};
using ParsedTemplate = std::unique_ptr<FptqTemplate, FreeTemplate>;

constexpr const char* kFileName = "chat_template.jinja";
constexpr const char* kConfigName = "tokenizer_config.json";

Result<ParsedTemplate> parse(std::string_view source, const std::string& where) {
  FptqTemplate* parsed = nullptr;
  BridgeBytes error;
  if (!fptq_template_new(bridge_data(source), source.size(), &parsed, error.out())) {
    return Error{Error::Kind::kFormat, where + ": not a usable template: " + error.str()};
  }
  return ParsedTemplate(parsed);
}

std::int64_t local_wall_clock() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  return static_cast<std::int64_t>(timegm(&parts));
}

Error no_template(const std::string& where) {
  return Error{Error::Kind::kNotFound,
               where + ": expected a chat template in " + kFileName + " or " + kConfigName +
                   ", got none. A base model has none: give it a plain prompt"};
}

}  // namespace

struct ChatTemplate::Impl {
  ParsedTemplate plain;
  ParsedTemplate with_tools;  // null where one template does both
  std::string where;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<ChatTemplate> ChatTemplate::from_source(std::string_view source, const std::string& where) {
  FPTQ_TRY(ParsedTemplate plain, parse(source, where));
  return ChatTemplate(std::make_unique<Impl>(Impl{std::move(plain), nullptr, where}));
}

Result<ChatTemplate> ChatTemplate::from_files(const std::map<std::string, std::string>& files,
                                              const std::string& where) {
  if (const auto file = files.find(kFileName); file != files.end()) {
    return from_source(file->second, where + "/" + kFileName);
  }
  const auto file = files.find(kConfigName);
  if (file == files.end()) return no_template(where);
  const std::string place = where + "/" + kConfigName;
  FPTQ_TRY(const Json config, parse_json(file->second, place));
  const auto entry = config.is_object() ? config.find("chat_template") : config.end();
  if (entry == config.end() || entry->is_null()) return no_template(where);
  if (entry->is_string()) {
    return from_source(entry->get_ref<const std::string&>(), place + ": chat_template");
  }

  Impl impl{nullptr, nullptr, place + ": chat_template"};
  const Error malformed{Error::Kind::kFormat,
                        impl.where + ": expected a string or a list of {\"name\", \"template\"}"};
  if (!entry->is_array()) return malformed;
  for (const Json& item : *entry) {
    if (!item.is_object() || !item.contains("name") || !item["name"].is_string() ||
        !item.contains("template") || !item["template"].is_string()) {
      return malformed;
    }
    const std::string& name = item["name"].get_ref<const std::string&>();
    if (name != "default" && name != "tool_use") continue;
    FPTQ_TRY((name == "default" ? impl.plain : impl.with_tools),
             parse(item["template"].get_ref<const std::string&>(), impl.where + " " + name));
  }
  if (!impl.plain) {
    return Error{Error::Kind::kFormat, impl.where + ": expected one named \"default\" among " +
                                           std::to_string(entry->size()) + " templates, got none"};
  }
  return ChatTemplate(std::make_unique<Impl>(std::move(impl)));
}

Result<std::string> ChatTemplate::render(const ChatInputs& inputs) const {
  const auto is_list_of_objects = [](const Json& list) {
    if (!list.is_array()) return false;
    for (const Json& item : list) {
      if (!item.is_object()) return false;
    }
    return true;
  };
  if (!is_list_of_objects(inputs.messages)) {
    return Error{Error::Kind::kInvalidArgument,
                 "messages: expected an array of objects, such as [{\"role\": \"user\", "
                 "\"content\": \"Hello\"}]"};
  }
  if (inputs.tools != nullptr && !is_list_of_objects(*inputs.tools)) {
    return Error{Error::Kind::kInvalidArgument, "tools: expected an array of objects"};
  }

  Json context = Json::object();
  if (inputs.variables != nullptr && inputs.variables->is_object()) context = *inputs.variables;
  context["messages"] = inputs.messages;
  context["tools"] = inputs.tools != nullptr ? *inputs.tools : Json(nullptr);
  if (!context.contains("documents")) context["documents"] = nullptr;
  context["add_generation_prompt"] = inputs.add_generation_prompt;
  // Bytes that are not UTF-8 become U+FFFD: the messages may come from a program's own strings.
  const std::string json = context.dump(-1, ' ', false, Json::error_handler_t::replace);

  const FptqTemplate* chosen =
      inputs.tools != nullptr && impl_->with_tools ? impl_->with_tools.get() : impl_->plain.get();
  BridgeBytes text;
  const FptqOutcome outcome =
      fptq_template_render(chosen, bridge_data(json), json.size(),
                           inputs.wall_clock ? *inputs.wall_clock : local_wall_clock(), text.out());
  switch (outcome) {
    case kFptqDone:
      return text.str();
    case kFptqRefused:
      return Error{Error::Kind::kInvalidArgument,
                   "the model's chat template refuses these messages: " + text.str()};
    case kFptqLimit:
      return Error{
          Error::Kind::kLimit,
          impl_->where + ": the template does more work than a chat template may: " + text.str()};
    case kFptqFailed:
      break;
  }
  return Error{Error::Kind::kFormat, impl_->where + ": the template fails: " + text.str()};
}

}  // namespace fptq::text
