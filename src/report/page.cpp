#include "report/page.h"

#include "report/format.h"
#include "report/page_style.h"

namespace fptq::report {

std::string html_page(const std::string& title, const std::string& body) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<meta name=\"color-scheme\" content=\"light dark\">\n"
         "<meta name=\"generator\" content=\"fptq\">\n<title>fptq: " +
         escape_html(title) + "</title>\n<style>" + kPageStyle +
         "</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to the content</a>\n"
         "<main id=\"main\">\n" +
         body + "</main>\n</body>\n</html>\n";
}

std::string paragraph(const std::string& html) {
  return "<p class=\"soft\">" + html + "</p>\n";
}

std::string scroll_region(const std::string& label, const std::string& html,
                          const std::string& classes) {
  return "<div class=\"scroll" + (classes.empty() ? "" : " " + classes) +
         "\" role=\"region\" tabindex=\"0\" aria-label=\"" + escape_html(label) + "\">\n" + html +
         "</div>\n";
}

std::string table_region(const Table& table, const std::string& classes) {
  if (table.rows.empty()) return "";
  return scroll_region(table.caption, html_text(without_empty_columns(table)), classes);
}

std::string facts(const std::vector<std::pair<std::string, std::string>>& lines) {
  if (lines.empty()) return "";
  std::string text =
      "<h2 id=\"repeat\">How this was measured</h2>\n<table class=\"facts\">\n<caption>What "
      "repeats the "
      "measurement</caption>\n<tbody>\n";
  for (const auto& [name, value] : lines) {
    text += "<tr><th scope=\"row\">" + escape_html(name) + "</th><td>" + escape_html(value) +
            "</td></tr>\n";
  }
  return text + "</tbody></table>\n";
}

}  // namespace fptq::report
