#include "report/table.h"

#include <algorithm>

#include "base/check.h"
#include "base/utf8.h"
#include "report/format.h"

namespace fptq::report {
namespace {

std::string padded(const std::string& text, std::size_t width, Align align) {
  const std::string space(width - count_code_points(text), ' ');
  return align == Align::kRight ? space + text : text + space;
}

void check_shape(const Table& table) {
  for (const auto& row : table.rows) {
    FPTQ_CHECK(row.size() == table.columns.size(), "a cell for every column");
  }
}

// A cell of a terminal's table.
std::string one_line(const std::string& text) {
  std::string line = printable(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return line;
}

const char* html_class(const Column& column) {
  return column.align == Align::kRight ? " class=\"number\"" : "";
}

}  // namespace

Table without_empty_columns(const Table& table) {
  check_shape(table);
  Table kept;
  kept.caption = table.caption;
  kept.rows.resize(table.rows.size());
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const bool has_any = std::any_of(table.rows.begin(), table.rows.end(),
                                     [&](const auto& row) { return !row[i].empty(); });
    if (!has_any) continue;
    kept.columns.push_back(table.columns[i]);
    for (std::size_t r = 0; r < table.rows.size(); ++r) kept.rows[r].push_back(table.rows[r][i]);
  }
  return kept;
}

std::string terminal_text(const Table& table) {
  check_shape(table);
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    std::size_t width = count_code_points(table.columns[i].header);
    for (const auto& row : table.rows) width = std::max(width, count_code_points(one_line(row[i])));
    widths.push_back(width);
  }
  std::string text;
  const auto add_line = [&](const auto& cell) {
    std::string line;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      if (i > 0) line += "  ";
      line += padded(cell(i), widths[i], table.columns[i].align);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  add_line([&](std::size_t i) { return table.columns[i].header; });
  add_line([&](std::size_t i) { return std::string(widths[i], '-'); });
  for (const auto& row : table.rows) add_line([&](std::size_t i) { return one_line(row[i]); });
  return text;
}

std::string markdown_text(const Table& table) {
  check_shape(table);
  std::string text = "|";
  for (const Column& column : table.columns) text += " " + escape_markdown(column.header) + " |";
  text += "\n|";
  for (const Column& column : table.columns) {
    text += column.align == Align::kRight ? "---:|" : "---|";
  }
  for (const auto& row : table.rows) {
    text += "\n|";
    for (const std::string& cell : row) text += " " + escape_markdown(cell) + " |";
  }
  return text + "\n";
}

std::string html_text(const Table& table) {
  check_shape(table);
  std::string text = "<table>\n";
  if (!table.caption.empty())
    text += "<caption><span>" + escape_html(table.caption) + "</span></caption>\n";
  text += "<thead><tr>";
  for (const Column& column : table.columns) {
    text += std::string("<th scope=\"col\"") + html_class(column) + ">" +
            escape_html(column.header) + "</th>";
  }
  text += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    text += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string name = i == 0 ? "th" : "td";
      text += "<" + name + (i == 0 ? " scope=\"row\"" : "") + html_class(table.columns[i]) + ">" +
              escape_html(row[i]) + "</" + name + ">";
    }
    text += "</tr>\n";
  }
  return text + "</tbody>\n</table>\n";
}

}  // namespace fptq::report
