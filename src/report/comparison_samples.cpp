// The same prompts continued by all models, side by side.

#include "report/comparison_parts.h"
#include "report/format.h"
#include "report/page.h"

namespace fptq::report {
namespace {

std::string agreement(const ContinuationFigure& text) {
  const std::string of =
      std::to_string(text.agreeing) + " of " + std::to_string(text.tokens) + " tokens agree";
  if (!text.differs) return "The same as the baseline: " + of + ".";
  return of + "; the first that differs is " +
         (text.diverging_name.empty() ? "no visible text"
                                      : "\u201C" + text.diverging_name + "\u201D") +
         ".";
}

// A continuation with the first token that differs marked. What is no visible text is marked too.
std::string continuation(const ContinuationFigure& text) {
  std::string html = escape_html(text.same);
  if (text.differs) {
    html += "<mark>" + (text.diverging.empty() ? "\u2038" : escape_html(text.diverging)) +
            "</mark>" + escape_html(text.rest);
  }
  return html;
}

std::string card(const std::string& name, const ContinuationFigure& text, bool is_baseline) {
  return "<article class=\"text\"><h4>" + escape_html(name) + (is_baseline ? " (baseline)" : "") +
         "</h4>\n<p dir=\"auto\">" + continuation(text) + "</p>\n<p class=\"soft\">" +
         (is_baseline ? std::to_string(text.tokens) + " tokens" : escape_html(agreement(text))) +
         "</p></article>\n";
}

Table agreement_table(const Comparison& comparison, const std::vector<std::string>& names) {
  Table table;
  table.caption = "Tokens that agree with the baseline before the first that differs";
  table.columns = {{"model", Align::kLeft}};
  for (std::size_t p = 0; p < comparison.prompts.size(); ++p) {
    table.columns.push_back({"text " + std::to_string(p + 1), Align::kRight});
  }
  for (std::size_t i = 1; i < names.size(); ++i) {
    const auto& texts = comparison.models[i].continuations;
    if (texts.size() != comparison.prompts.size()) continue;
    std::vector<std::string> row = {names[i]};
    for (const ContinuationFigure& text : texts) {
      row.push_back(std::to_string(text.agreeing) + " of " + std::to_string(text.tokens));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

std::string samples_section(const Comparison& comparison) {
  if (comparison.prompts.empty()) return "";
  const std::vector<std::string> names = display_names(comparison);
  std::string html;
  for (std::size_t p = 0; p < comparison.prompts.size(); ++p) {
    html += "<h3>Text " + std::to_string(p + 1) + "</h3>\n<blockquote dir=\"auto\">" +
            escape_html(comparison.prompts[p]) + " \u2026</blockquote>\n<div class=\"texts\">\n";
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto& texts = comparison.models[i].continuations;
      if (p < texts.size()) html += card(names[i], texts[p], i == 0);
    }
    html += "</div>\n";
  }
  return "<h2 id=\"samples\">Sample texts</h2>\n" +
         paragraph(
             "Each model goes on with its most probable token (greedy). The first token that "
             "differs from the baseline's is bold and underlined with a wave; from there on the "
             "models read different texts, so that later differences say little. \u2038 stands "
             "for a token without visible text.") +
         table_region(agreement_table(comparison, names)) + html;
}

}  // namespace fptq::report
