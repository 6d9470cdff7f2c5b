// Where in the models the error is: tables whose cells are shaded like a map.

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "report/comparison_parts.h"
#include "report/format.h"
#include "report/page.h"

namespace fptq::report {
namespace {

constexpr std::size_t kShades = 5;

// One number for each block and kind of linear; NaN and infinite ones have no shade.
struct Map {
  std::map<std::size_t, std::map<std::string, double>> rows;  // block -> kind -> value
  std::set<std::string> kinds;

  void add(std::size_t block, const std::string& kind, double value) {
    rows[block][kind] = value;
    kinds.insert(kind);
  }
};

// The linears of a block in the order in which they run, then whatever else there is.
std::vector<std::string> in_order(const std::set<std::string>& kinds) {
  constexpr std::array<const char*, 7> kOrder = {
      "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
      "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};
  std::vector<std::string> ordered;
  for (const char* kind : kOrder) {
    if (kinds.contains(kind)) ordered.emplace_back(kind);
  }
  for (const std::string& kind : kinds) {
    if (std::find(ordered.begin(), ordered.end(), kind) == ordered.end()) ordered.push_back(kind);
  }
  return ordered;
}

// "self_attn.q_proj" -> "q_proj".
std::string short_kind(const std::string& kind) {
  return kind.substr(kind.rfind('.') + 1);
}

struct ValueRange {
  double low = 1e300;
  double high = -1e300;
};

ValueRange range_of(const Map& map) {
  ValueRange range;
  for (const auto& [block, values] : map.rows) {
    for (const auto& [kind, value] : values) {
      if (!std::isfinite(value) || value <= 0.0) continue;
      range.low = std::min(range.low, value);
      range.high = std::max(range.high, value);
    }
  }
  return range;
}

// By the logarithm, because errors and ranges differ by factors.
std::size_t shade(double value, const ValueRange& range) {
  if (!std::isfinite(value) || value <= range.low || !(range.high > range.low)) return 0;
  const double share = std::log(value / range.low) / std::log(range.high / range.low);
  return std::min(kShades - 1, static_cast<std::size_t>(share * kShades));
}

std::string cell(double value, const ValueRange& range, const std::string& text) {
  const bool is_worst = value == range.high && range.high > range.low;
  return "<td class=\"heat" + std::to_string(shade(value, range)) + (is_worst ? " worst" : "") +
         "\">" + escape_html(text) + (is_worst ? " \u25C0" : "") + "</td>";
}

template <typename Text>
std::string heat_map(const std::string& caption, const Map& map, const Text& text) {
  const std::vector<std::string> kinds = in_order(map.kinds);
  const ValueRange range = range_of(map);
  std::string html = "<table class=\"heat\">\n<caption><span>" + escape_html(caption) +
                     "</span></caption>\n<thead><tr><th scope=\"col\" class=\"number\">block</th>";
  for (const std::string& kind : kinds) {
    html += "<th scope=\"col\" class=\"number\">" + escape_html(short_kind(kind)) + "</th>";
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const auto& [block, values] : map.rows) {
    html += "<tr><th scope=\"row\" class=\"number\">" + std::to_string(block) + "</th>";
    for (const std::string& kind : kinds) {
      const auto found = values.find(kind);
      html += found == values.end() ? "<td></td>" : cell(found->second, range, text(found->second));
    }
    html += "</tr>\n";
  }
  return scroll_region(caption, html + "</tbody>\n</table>\n");
}

std::string weight_map(const std::string& name, const ModelFigures& model) {
  Map map;
  for (const WeightErrorFigure& error : model.weight_errors) {
    map.add(error.block, error.kind, error.relative_error);
  }
  return heat_map(name + ": relative error of the weights by block and linear", map,
                  [](double error) { return significant(100.0 * error, 3) + " %"; });
}

std::string activation_map(const std::string& name, const ModelFigures& model) {
  Map map;
  for (const ActivationFigure& input : model.activations) {
    map.add(input.block, input.kind, input.absmax);
  }
  return heat_map(name + ": largest magnitude of each linear's input over the calibration set", map,
                  [](double absmax) { return significant(absmax, 3); });
}

Table activation_table(const std::string& name, const ModelFigures& model) {
  Table table;
  table.caption = name + ": inputs of the linears over the calibration set";
  table.columns = {{"linear", Align::kLeft},
                   {"largest magnitude", Align::kRight},
                   {"99.99 % below", Align::kRight},
                   {"equalized to", Align::kRight},
                   {"activations", Align::kLeft}};
  for (const ActivationFigure& input : model.activations) {
    table.rows.push_back({std::to_string(input.block) + "." + input.kind,
                          significant(input.absmax, 4), significant(input.p9999_below, 4),
                          input.equalized_absmax ? significant(*input.equalized_absmax, 4) : "",
                          input.policy});
  }
  return table;
}

}  // namespace

std::string layers_section(const Comparison& comparison) {
  const std::vector<std::string> names = display_names(comparison);
  std::string html;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const ModelFigures& model = comparison.models[i];
    if (!model.weight_errors.empty()) html += weight_map(names[i], model);
    if (model.activations.empty()) continue;
    html += activation_map(names[i], model) + "<details open><summary>" + escape_html(names[i]) +
            ": ranges of all inputs</summary>\n" +
            table_region(activation_table(names[i], model), "tall") + "</details>\n";
  }
  if (html.empty()) return "";
  return "<h2 id=\"layers\">Layer by layer</h2>\n" +
         paragraph(
             "As the manifests of the quantized models say. A relative error is the Frobenius norm "
             "of what quantizing changed over that of the weights. More strongly shaded cells are "
             "larger, on a "
             "logarithmic scale of each table by itself; \u25C0 marks the largest.") +
         html;
}

}  // namespace fptq::report
