// What every page has in common: it needs nothing else, no script and no other file, is light or
// dark as the reader's system, and can be printed and read by keyboard.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "report/table.h"

namespace fptq::report {

// A whole page. title: text; body: HTML, which begins with <h1>.
[[nodiscard]] std::string html_page(const std::string& title, const std::string& body);

// A paragraph beside the matter. html: HTML.
[[nodiscard]] std::string paragraph(const std::string& html);

// A part that scrolls by itself, with the keyboard too, where it is wider than the page.
//   label    text: what readers of the page by ear are told it is
//   classes  more of them, separated by spaces
[[nodiscard]] std::string scroll_region(const std::string& label, const std::string& html,
                                        const std::string& classes = "");

// A table with its caption in a region of its own; without columns that have no cell;
// nothing for a table without rows.
[[nodiscard]] std::string table_region(const Table& table, const std::string& classes = "");

// "How this was measured", names and values as text; nothing where there are none.
[[nodiscard]] std::string facts(const std::vector<std::pair<std::string, std::string>>& lines);

}  // namespace fptq::report
