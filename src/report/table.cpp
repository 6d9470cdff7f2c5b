#include "report/table.h"

#include <algorithm>

#include "base/check.h"
#include "report/format.h"

namespace fptq::report {
namespace {

// Code points: bytes that do not continue a UTF-8 sequence.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string padded(const std::string& text, std::size_t width, Align align) {
  const std::string space(width - width_of(text), ' ');
  return align == Align::kRight ? space + text : text + space;
}

void check_shape(const Table& table) {
  for (const auto& row : table.rows) {
    FPTQ_CHECK(row.size() == table.columns.size(), "a cell for every column");
  }
}

std::string markdown_cell(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '|' || c == '\\') escaped += '\\';
    escaped += c == '\n' ? ' ' : c;
  }
  return escaped;
}

const char* html_class(const Column& column) {
  return column.align == Align::kRight ? " class=\"number\"" : "";
}

}  // namespace

std::string terminal_text(const Table& table) {
  check_shape(table);
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    std::size_t width = width_of(table.columns[i].header);
    for (const auto& row : table.rows) width = std::max(width, width_of(row[i]));
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
  for (const auto& row : table.rows) add_line([&](std::size_t i) { return row[i]; });
  return text;
}

std::string markdown_text(const Table& table) {
  check_shape(table);
  std::string text = "|";
  for (const Column& column : table.columns) text += " " + markdown_cell(column.header) + " |";
  text += "\n|";
  for (const Column& column : table.columns) {
    text += column.align == Align::kRight ? "---:|" : "---|";
  }
  for (const auto& row : table.rows) {
    text += "\n|";
    for (const std::string& cell : row) text += " " + markdown_cell(cell) + " |";
  }
  return text + "\n";
}

std::string html_text(const Table& table) {
  check_shape(table);
  std::string text = "<table>\n<thead><tr>";
  for (const Column& column : table.columns) {
    text += std::string("<th scope=\"col\"") + html_class(column) + ">" +
            escape_html(column.header) + "</th>";
  }
  text += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    text += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
      text +=
          std::string("<td") + html_class(table.columns[i]) + ">" + escape_html(row[i]) + "</td>";
    }
    text += "</tr>\n";
  }
  return text + "</tbody>\n</table>\n";
}

}  // namespace fptq::report
