// A comparison as Markdown, to paste into a model card or an issue.

#include "base/check.h"
#include "report/comparison.h"
#include "report/comparison_parts.h"
#include "report/format.h"

namespace fptq::report {
namespace {

std::string bullets(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += "- " + escape_markdown(line) + "\n";
  return text;
}

Table provenance_table(const Comparison& comparison) {
  Table table;
  table.columns = {{"what", Align::kLeft}, {"value", Align::kLeft}};
  for (const auto& [name, value] : comparison.provenance) table.rows.push_back({name, value});
  return table;
}

// A table whose caption, which says the units, stands above it.
std::string tested_section(const std::string& heading, const Table& table) {
  return "\n## " + heading + "\n\n" + escape_markdown(table.caption) + ".\n\n" +
         markdown_text(table);
}

}  // namespace

std::string comparison_markdown(const Comparison& comparison) {
  FPTQ_CHECK(!comparison.models.empty(), "a baseline");
  std::string text =
      "# " + escape_markdown(display_names(comparison).front()) + " and models made from it\n\n";
  for (const std::string& warning : comparison.warnings) {
    text += "> **Warning:** " + escape_markdown(warning) + "\n\n";
  }
  const std::vector<std::string> sentences = summary_sentences(comparison);
  if (!sentences.empty()) text += bullets(sentences) + "\n";
  text +=
      markdown_text(comparison_table(comparison)) + "\n" + bullets(comparison_legend(comparison));
  const Table verdicts = verdict_table(comparison);
  if (!verdicts.rows.empty()) {
    text += tested_section("Differences from the baseline", verdicts);
  }
  const Table pairs = pair_table(comparison);
  if (!pairs.rows.empty()) {
    text += tested_section("Differences between candidates", pairs);
  }
  if (!comparison.provenance.empty()) {
    text += "\n## How this was measured\n\n" + markdown_text(provenance_table(comparison));
  }
  return text;
}

}  // namespace fptq::report
