// fptq tokenize: a line of text in, a line of ids out, or back.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/model_input.h"
#include "cli/options.h"

namespace fptq::cli {
namespace {

struct TokenizeOptions {
  CommonOptions common;
  std::filesystem::path model;
  bool no_special = false;
  bool decode = false;
  bool jsonl = false;
};

// The ids of `[1, 2]` or `{"ids": [1, 2]}`.
Result<std::vector<text::TokenId>> parse_ids(const std::string& line, const std::string& where) {
  FPTQ_TRY(const Json json, parse_json(line, where));
  const auto wrong = [&](const std::string& found) {
    return Error{Error::Kind::kFormat,
                 fmt::format("{}: expected [1, 2] or {{\"ids\": [1, 2]}}, got {}", where, found)};
  };
  const Json* list = &json;
  if (json.is_object()) {
    const auto ids = json.find("ids");
    if (ids == json.end()) return wrong("an object without \"ids\"");
    list = &*ids;
  }
  if (!list->is_array()) return wrong(list->type_name());
  std::vector<text::TokenId> ids;
  for (const Json& id : *list) {
    if (!id.is_number_integer() || id < 0 || id > 0x7fffffff) return wrong(id.dump());
    ids.push_back(id.get<text::TokenId>());
  }
  return ids;
}

Result<Json> convert_line(const text::Tokenizer& tokenizer, const TokenizeOptions& options,
                          const std::string& line, const std::string& where) {
  if (options.decode) {
    FPTQ_TRY(const auto ids, parse_ids(line, where));
    auto text = tokenizer.decode(ids, /*skip_special=*/options.no_special);
    if (!text) return with_context(text.error(), where);
    return Json{{"text", *text}};
  }
  std::string text = line;
  if (options.jsonl) {
    FPTQ_TRY(const Json json, parse_json(line, where));
    if (!json.is_string()) {
      return Error{Error::Kind::kFormat,
                   fmt::format("{}: expected a JSON string, got {}", where, json.type_name())};
    }
    text = json.get<std::string>();
  }
  auto ids = tokenizer.encode(text, /*add_special=*/!options.no_special);
  if (!ids) return with_context(ids.error(), where);
  return Json{{"ids", *ids}};
}

Status run_tokenize(const TokenizeOptions& options) {
  FPTQ_TRY(const text::Tokenizer tokenizer, load_tokenizer(options.model));
  std::string line;
  for (std::size_t number = 1; std::getline(std::cin, line); ++number) {
    FPTQ_TRY(const Json json, convert_line(tokenizer, options, line,
                                           fmt::format("standard input, line {}", number)));
    const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) break;
  }
  return {};
}

}  // namespace

void add_tokenize_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Turn lines of text into ids, and back");
  add_model_argument(*command, options->model);
  command->add_flag("--no-special", options->no_special,
                    "Without what the tokenizer adds, such as BOS; with --decode, drop such ids");
  CLI::Option* decode =
      command->add_flag("--decode", options->decode, "Lines of ids in, {\"text\"} out");
  command->add_flag("--jsonl", options->jsonl, "Each line in is a JSON string")->excludes(decode);
  add_common_flags(*command, options->common);
  command->callback([options, &action] { action = [options] { return run_tokenize(*options); }; });
}

}  // namespace fptq::cli
