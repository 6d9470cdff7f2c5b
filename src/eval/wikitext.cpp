#include "eval/wikitext.h"

#include <array>
#include <utility>

#include "eval/white_space.h"

namespace fptq::eval {
namespace {

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t begin = 0;;) {
    const std::size_t found = text.find(from, begin);
    result += text.substr(begin, found - begin);
    if (found == std::string_view::npos) return result;
    result += to;
    begin = found + from.size();
  }
}

// Python's str.split("\n").
std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find('\n', begin);
    lines.push_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return lines;
    begin = end + 1;
  }
}

bool is_page_heading(std::string_view line) {
  // Only lines with a sign at either end can be headings, and replacing is slow.
  const std::string_view stripped = strip(line);
  if (!stripped.starts_with('=') || !stripped.ends_with('=')) return false;
  const std::string key = replace_all(replace_all(line, "= = =", "==="), "= =", "==");
  const std::string_view heading = strip(key);
  return heading.starts_with("= ") && heading.ends_with(" =");
}

// re.sub(OPEN \s* ([^CLOSE]*?) \s* CLOSE): white space inside the shortest spans removed.
std::string tighten(std::string_view text, char open, char close) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t begin = 0;;) {
    const std::size_t first = text.find(open, begin);
    const std::size_t last = first == std::string_view::npos ? first : text.find(close, first + 1);
    if (last == std::string_view::npos) return result += text.substr(begin);
    result += text.substr(begin, first + 1 - begin);
    result += strip(text.substr(first + 1, last - first - 1));
    result += close;
    begin = last + 1;
  }
}

// re.sub(r"/' [0-9]/", r"/'[0-9]/"): the harness took the slashes of another language for
// delimiters, so that the pattern matches only text with slashes, and writes itself.
std::string replace_slashed_year(std::string_view text) {
  constexpr std::string_view kBefore = "/' ";
  std::string result;
  result.reserve(text.size());
  for (std::size_t begin = 0;;) {
    const std::size_t found = text.find(kBefore, begin);
    if (found == std::string_view::npos) return result += text.substr(begin);
    const std::size_t digit = found + kBefore.size();
    const bool matches = digit + 1 < text.size() && text[digit] >= '0' && text[digit] <= '9' &&
                         text[digit + 1] == '/';
    result += text.substr(begin, found - begin);
    result += matches ? "/'[0-9]/" : kBefore;
    begin = matches ? digit + 2 : digit;
  }
}

using Replacement = std::pair<std::string_view, std::string_view>;

constexpr std::array<Replacement, 9> kPunctuation = {{{" @-@ ", "-"},
                                                      {" @,@ ", ","},
                                                      {" @.@ ", "."},
                                                      {" : ", ": "},
                                                      {" ; ", "; "},
                                                      {" . ", ". "},
                                                      {" ! ", "! "},
                                                      {" ? ", "? "},
                                                      {" , ", ", "}}};
constexpr std::array<std::pair<char, char>, 5> kSpans = {
    {{'(', ')'}, {'[', ']'}, {'{', '}'}, {'"', '"'}, {'\'', '\''}}};
constexpr std::array<Replacement, 8> kRest = {{{"= = = =", "===="},
                                               {"= = =", "==="},
                                               {"= =", "=="},
                                               {" \u00B0 ", "\u00B0"},
                                               {" \n", "\n"},
                                               {"\n ", "\n"},
                                               {" N ", " 1 "},
                                               {" 's", "'s"}}};

}  // namespace

bool looks_like_wikitext(std::string_view text) {
  for (const std::string_view line : split_lines(text)) {
    if (line.starts_with(" = ") && is_page_heading(line)) return true;
  }
  return false;
}

std::vector<std::string> wikitext_pages(std::string_view text) {
  std::vector<std::string> pages;
  std::size_t page_begin = 0;
  std::size_t line_begin = 0;
  for (const std::string_view line : split_lines(text)) {
    if (line_begin > page_begin && is_page_heading(line)) {
      const std::string_view page = text.substr(page_begin, line_begin - 1 - page_begin);
      if (!strip(page).empty()) pages.emplace_back(page);
      page_begin = line_begin;
    }
    line_begin += line.size() + 1;
  }
  pages.emplace_back(text.substr(page_begin));
  return pages;
}

std::string wikitext_detokenize(std::string_view page) {
  std::string text = replace_slashed_year(replace_all(page, "s '", "s'"));
  for (const auto& [from, to] : kPunctuation) text = replace_all(text, from, to);
  for (const auto& [open, close] : kSpans) text = tighten(text, open, close);
  for (const auto& [from, to] : kRest) text = replace_all(text, from, to);
  return text;
}

std::string wikitext_rows(std::string_view text) {
  std::vector<std::string_view> lines = split_lines(text);
  if (lines.back().empty()) lines.pop_back();
  std::string rows;
  rows.reserve(text.size() + 2 * lines.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) rows += "\n\n";
    if (!strip(lines[i]).empty()) (rows += lines[i]) += '\n';
  }
  return rows;
}

}  // namespace fptq::eval
