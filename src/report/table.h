// Tables for terminals, Markdown and HTML.

#pragma once

#include <string>
#include <vector>

namespace fptq::report {

enum class Align { kLeft, kRight };

struct Column {
  std::string header;
  Align align = Align::kRight;
};

// Every row has as many cells as there are columns.
struct Table {
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;
  std::string caption = {};  // of HTML tables; may be empty
};

// The table without the columns in which every cell is empty.
[[nodiscard]] Table without_empty_columns(const Table& table);

// Columns padded to their widest cell and two spaces apart, a line under the headers. Characters
// outside ASCII count as one column wide. Cells are printable() and on one line.
[[nodiscard]] std::string terminal_text(const Table& table);

// A GitHub-flavoured Markdown table; cells are text, not Markdown: escape_markdown().
[[nodiscard]] std::string markdown_text(const Table& table);

// A <table>, its text escaped. The first cell of a row is its header.
[[nodiscard]] std::string html_text(const Table& table);

}  // namespace fptq::report
