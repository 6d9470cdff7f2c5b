#include "eval/documents.h"

#include <array>

#include "base/utf8.h"
#include "eval/white_space.h"
#include "eval/wikitext.h"

namespace fptq::eval {
namespace {

constexpr std::array<std::string_view, 3> kModeNames = {"auto", "whole", "wikitext"};

Document as_it_is(std::string_view text) {
  return {std::string(text), count_words(text), text.size()};
}

std::vector<Document> split_wikitext(Protocol protocol, std::string_view text) {
  if (protocol == Protocol::kLlamaCpp) return {as_it_is(text)};
  if (protocol == Protocol::kGptq) {
    return {{wikitext_rows(text), count_words(text), text.size()}};
  }
  std::vector<Document> documents;
  for (const std::string& page : wikitext_pages(text)) {
    documents.push_back({wikitext_detokenize(page), count_words(page), page.size()});
  }
  return documents;
}

}  // namespace

std::string_view document_mode_name(DocumentMode mode) {
  return kModeNames[static_cast<std::size_t>(mode)];
}

Result<DocumentMode> parse_document_mode(std::string_view name) {
  for (const DocumentMode mode :
       {DocumentMode::kAuto, DocumentMode::kWhole, DocumentMode::kWikitext}) {
    if (document_mode_name(mode) == name) return mode;
  }
  return Error{Error::Kind::kInvalidArgument,
               "document: expected auto, whole or wikitext, got \"" + std::string(name) + "\""};
}

Result<DocumentSet> make_documents(Protocol protocol, DocumentMode mode, std::string_view text,
                                   const std::string& name) {
  if (const auto offset = invalid_utf8_at(text)) {
    return Error{Error::Kind::kFormat,
                 name + ": byte " + std::to_string(*offset) + ": expected UTF-8 text, got byte " +
                     std::to_string(static_cast<unsigned char>(text[*offset]))};
  }
  if (strip(text).empty()) {
    return Error{Error::Kind::kFormat,
                 name + ": expected a text to score, got " +
                     (text.empty() ? std::string("an empty file")
                                   : std::to_string(text.size()) + " bytes of white space")};
  }
  if (mode == DocumentMode::kAuto) {
    mode = looks_like_wikitext(text) ? DocumentMode::kWikitext : DocumentMode::kWhole;
  }
  if (mode == DocumentMode::kWhole) return DocumentSet{mode, {as_it_is(text)}};
  return DocumentSet{mode, split_wikitext(protocol, text)};
}

}  // namespace fptq::eval
