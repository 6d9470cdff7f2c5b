#include "base/check.h"
#include "report/comparison.h"
#include "report/comparison_parts.h"
#include "report/format.h"
#include "report/page.h"

namespace fptq::report {
namespace {

// What it is beside: the names, escaped, after a word.
std::string subtitle(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 1; i < names.size(); ++i) text += (i > 1 ? ", " : "") + names[i];
  return text.empty() ? "" : paragraph(escape_html("beside " + text));
}

// A number and its percent sign stay on one line.
std::string unbroken(std::string html) {
  for (std::size_t at = html.find(" %"); at != std::string::npos; at = html.find(" %", at)) {
    html.replace(at, 1, "&nbsp;");
  }
  return html;
}

std::string list(const std::vector<std::string>& lines, const std::string& css_class) {
  if (lines.empty()) return "";
  std::string html = "<ul class=\"" + css_class + "\">\n";
  for (const std::string& line : lines) html += "<li>" + unbroken(escape_html(line)) + "</li>\n";
  return html + "</ul>\n";
}

// Links to the sections that the page has.
std::string contents(const std::string& body) {
  struct Entry {
    const char* id;
    const char* title;
  };
  std::string html;
  for (const auto& [id, title] :
       {Entry{"quality", "Quality"}, Entry{"divergence", "Divergence"}, Entry{"layers", "Layers"},
        Entry{"cost", "Size and speed"}, Entry{"samples", "Sample texts"},
        Entry{"receipt", "What really ran"}, Entry{"repeat", "How this was measured"}}) {
    if (body.find("<h2 id=\"" + std::string(id) + "\">") == std::string::npos) continue;
    html += "<li><a href=\"#" + std::string(id) + "\">" + title + "</a></li>\n";
  }
  return html.empty()
             ? ""
             : "<nav aria-label=\"Sections\"><ul class=\"contents\">\n" + html + "</ul></nav>\n";
}

std::string summary(const Comparison& comparison) {
  Table table = comparison_table(comparison);
  table.caption = "All models; the first row is the baseline";
  return "<h2>Summary</h2>\n" + list(summary_sentences(comparison), "sentences") +
         table_region(table, "main") + list(comparison_legend(comparison), "legend");
}

}  // namespace

std::string comparison_html(const Comparison& comparison) {
  FPTQ_CHECK(!comparison.models.empty(), "a baseline");
  const std::vector<std::string> names = display_names(comparison);
  std::string page = "<h1>" + escape_html(names.front()) + "</h1>\n" + subtitle(names);
  for (const std::string& warning : comparison.warnings) {
    page += "<p class=\"warning\"><strong>Warning:</strong> " + escape_html(warning) + "</p>\n";
  }
  const std::string sections = quality_section(comparison) + divergence_section(comparison) +
                               layers_section(comparison) + cost_section(comparison) +
                               samples_section(comparison) + receipt_section(comparison) +
                               facts(comparison.provenance);
  return html_page(names.front(), page + contents(sections) + summary(comparison) + sections);
}

}  // namespace fptq::report
