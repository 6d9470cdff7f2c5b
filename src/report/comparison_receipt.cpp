// What executed each layer while the numbers were taken.

#include <map>
#include <tuple>

#include "report/comparison_parts.h"
#include "report/format.h"
#include "report/page.h"

namespace fptq::report {
namespace {

// How many layers ran which scheme, and each of them.
std::string receipt(const std::string& name, const ModelFigures& model) {
  std::map<std::tuple<std::string, std::string, std::string>, std::size_t> counts;
  for (const LayerFigure& layer : model.receipt) {
    ++counts[{layer.scheme, layer.kernel, layer.isa}];
  }
  std::string summary;
  for (const auto& [what, count] : counts) {
    const auto& [scheme, kernel, isa] = what;
    summary += (summary.empty() ? "" : "; ") + std::to_string(count) + " \u00D7 " + scheme + " (" +
               kernel + ", " + isa + ")";
  }
  Table table;
  table.caption = name + ": each layer";
  table.columns = {{"layer", Align::kLeft},
                   {"scheme", Align::kLeft},
                   {"kernel", Align::kLeft},
                   {"instruction set", Align::kLeft},
                   {"calls", Align::kRight}};
  for (const LayerFigure& layer : model.receipt) {
    table.rows.push_back(
        {layer.layer, layer.scheme, layer.kernel, layer.isa, std::to_string(layer.calls)});
  }
  // Open, because a closed part cannot be printed everywhere.
  return "<details open><summary>" + escape_html(name) + "</summary>\n<p>" + escape_html(summary) +
         "</p>\n" + table_region(table, "tall") + "</details>\n";
}

}  // namespace

std::string receipt_section(const Comparison& comparison) {
  const std::vector<std::string> names = display_names(comparison);
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!comparison.models[i].receipt.empty()) text += receipt(names[i], comparison.models[i]);
  }
  if (text.empty()) return "";
  return "<h2 id=\"receipt\">What really ran</h2>\n" +
         paragraph(
             "The scheme, kernel and instruction set that executed each layer while these "
             "numbers were taken.") +
         text;
}

}  // namespace fptq::report
