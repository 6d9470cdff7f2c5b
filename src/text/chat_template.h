// Chat templates: from a list of messages to the text that a model was trained on.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace fptq::text {

// What a template is rendered with.
struct ChatInputs {
  const Json& messages;               // an array of {"role", "content", ...}
  const Json* tools = nullptr;        // an array of tool definitions; null: no tools
  bool add_generation_prompt = true;  // end with the head of the assistant's next message
  // Further variables by name: "bos_token", "date_string", "enable_thinking", ... They don't
  // replace those above.
  const Json* variables = nullptr;
  // What strftime_now tells, in seconds since 1970-01-01 00:00 local time; null: now.
  std::optional<std::int64_t> wall_clock = std::nullopt;
};

// A Jinja template, set up as `transformers` does it: trim_blocks, lstrip_blocks, loop controls,
// the methods of Python's str, dict and list, `tojson` without HTML escaping, raise_exception,
// strftime_now, and the block `generation`.
//
// A template is a program from the model's author, so it is untrusted: it sees only its inputs, and
// the work it may do is bounded by the size of those.
//
// Thread safety: const member functions may be called from several threads.
class ChatTemplate {
 public:
  // Errors: kFormat with the line for text that is not Jinja.
  [[nodiscard]] static Result<ChatTemplate> from_source(std::string_view source,
                                                        const std::string& where);

  // The template among a checkpoint's files (name -> contents): chat_template.jinja, else
  // "chat_template" in tokenizer_config.json, a string or a list of {"name", "template"}. Of a list
  // the one named "default" is used, and the one named "tool_use" where tools are given.
  //
  // Errors: kNotFound where there is none, with what to do; kFormat.
  [[nodiscard]] static Result<ChatTemplate> from_files(
      const std::map<std::string, std::string>& files, const std::string& where);

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // The text, not yet tokenized. It holds its own BOS where the model wants one, so encode it
  // without special tokens.
  //
  // Errors: kInvalidArgument with the template's words where it refuses the messages
  // (raise_exception) and where messages is no array of objects; kFormat where it fails on them;
  // kLimit where it wants to do more work than a chat template may.
  [[nodiscard]] Result<std::string> render(const ChatInputs& inputs) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fptq::text
