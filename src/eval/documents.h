// From a text file to what a perplexity protocol scores.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "eval/windows.h"

namespace fptq::eval {

// What a text is.
//   kWhole     one document, scored as it is
//   kWikitext  a raw file of WikiText: kLmEval scores its articles one by one, detokenized, kGptq
//              its lines joined by blank lines, kLlamaCpp its bytes as they are
//   kAuto      kWikitext where a line is an article's heading (" = Title = "), else kWhole
enum class DocumentMode { kAuto, kWhole, kWikitext };

// "auto", "whole", "wikitext".
[[nodiscard]] std::string_view document_mode_name(DocumentMode mode);
// Errors: kInvalidArgument lists the names.
[[nodiscard]] Result<DocumentMode> parse_document_mode(std::string_view name);

// One text that is tokenized by itself.
struct Document {
  std::string text;
  // Of what the reader sees, before a protocol changed it: the denominators of kLmEval.
  std::size_t words;
  std::size_t bytes;
};

struct DocumentSet {
  DocumentMode mode;  // kWhole or kWikitext
  std::vector<Document> documents;
};

// name: of the text, for messages.
// Errors: kFormat for an empty or blank text and for bytes that are not UTF-8, with their offset.
[[nodiscard]] Result<DocumentSet> make_documents(Protocol protocol, DocumentMode mode,
                                                 std::string_view text, const std::string& name);

}  // namespace fptq::eval
