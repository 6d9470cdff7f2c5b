// Templates of evaluation tasks: from a document of a data set to what a model is asked.

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace fptq::text {

// A Jinja template, set up as lm-evaluation-harness does it: an undefined name is an error, line
// feeds at the end stay, there are the methods of Python's types and the filter
// regex_replace(pattern, replacement, count=0). Where the harness renders a value to text and
// reads it back as Python, a template that is one expression, "{{...}}" and nothing else, gives
// the value itself.
//
// Templates may come from others, so the work of one rendering is bounded by the document's size.
//
// Thread safety: const member functions may be called from several threads.
class TaskTemplate {
 public:
  // where: begins every message. Errors: kFormat with the line for text that is not Jinja.
  [[nodiscard]] static Result<TaskTemplate> from_source(std::string_view source,
                                                        const std::string& where);

  TaskTemplate(TaskTemplate&&) noexcept;
  TaskTemplate& operator=(TaskTemplate&&) noexcept;
  ~TaskTemplate();

  // One value for each document, whose fields are the template's variables.
  //   documents  objects
  //   first      index of documents[0] in its data set, for messages
  // Errors: kFormat where it fails on a document, which is named with its fields; kLimit where it
  // wants to do more work than a document may cost.
  [[nodiscard]] Result<std::vector<Json>> render(std::span<const Json> documents,
                                                 std::size_t first = 0) const;

 private:
  struct Impl;
  explicit TaskTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fptq::text
