// WikiText raw files: what two perplexity protocols make of them before they tokenize.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fptq::eval {

// Whether a line of `text` is an article's heading as wiki.*.raw writes it: " = Title = ".
[[nodiscard]] bool looks_like_wikitext(std::string_view text);

// The articles, cut before every heading of the first level; what precedes the first heading is
// an article too unless it is blank. The result is never empty and its parts, joined by "\n", are
// `text` again but for the blank part. Source: lm-evaluation-harness, its loader for wiki.*.raw.
[[nodiscard]] std::vector<std::string> wikitext_pages(std::string_view text);

// The text that is scored for an article: spaces around punctuation, inside brackets and quotes
// and in "@-@" undone. Source: lm-evaluation-harness, wikitext_detokenizer; the order of the
// replacements matters.
[[nodiscard]] std::string wikitext_detokenize(std::string_view page);

// The lines joined by blank lines, as code in the style of GPTQ joins the rows of the data set
// wikitext-2-raw-v1: blank lines are empty rows, the others keep their line feed.
[[nodiscard]] std::string wikitext_rows(std::string_view text);

}  // namespace fptq::eval
