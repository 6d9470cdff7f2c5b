// From a task's documents to what is asked of a model.

#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "eval/task_definition.h"
#include "eval/task_documents.h"

namespace fptq::eval {

// The requests of one document: each a context and a continuation whose log-likelihood is wanted.
// Either all share the one context, or all share the one continuation (then the choices are
// contexts, as in winogrande).
struct DocumentRequests {
  std::vector<std::string> contexts;
  std::vector<std::string> continuations;  // with the delimiter in front
  // Unicode code points of each choice, without the delimiter: what acc_norm divides by.
  std::vector<std::size_t> choice_lengths;
  // The index of the right choice, or the text that is the right continuation.
  std::variant<std::size_t, std::string> target;

  [[nodiscard]] std::size_t size() const {
    return contexts.size() > continuations.size() ? contexts.size() : continuations.size();
  }
  [[nodiscard]] const std::string& context(std::size_t i) const {
    return contexts[contexts.size() == 1 ? 0 : i];
  }
  [[nodiscard]] const std::string& continuation(std::size_t i) const {
    return continuations[continuations.size() == 1 ? 0 : i];
  }
};

// The requests of the first documents of a part, as lm-evaluation-harness builds them:
//
//   context       description + shots examples, each "text answer\n\n" + the document's text
//   continuation  target_delimiter + choice
//
// Examples come from part.examples where there are some, else from the documents themselves
// without the one that is asked. FewshotSampler::kRandom draws others for each document, with the
// generator and the seed of the harness, so that contexts are the same to the byte.
//
//   limit  documents at most; 0: all
//   where  begins every message
// Errors: kFormat where a template fails or gives what is no text, no list of texts, no index of a
// choice; kInvalidArgument where there are fewer examples than shots.
[[nodiscard]] Result<std::vector<DocumentRequests>> build_requests(const TaskDefinition& task,
                                                                   const TaskPart& part,
                                                                   std::size_t shots,
                                                                   std::size_t limit,
                                                                   const std::string& where);

}  // namespace fptq::eval
