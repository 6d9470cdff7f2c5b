// What the models cost: bytes, memory, time, energy.

#include <algorithm>

#include "report/comparison_parts.h"
#include "report/format.h"
#include "report/page.h"
#include "report/svg.h"

namespace fptq::report {
namespace {

template <typename T, typename Text>
std::string figures_chart(const std::string& title, const Comparison& comparison,
                          std::optional<T> ModelFigures::*member, const Text& text) {
  const std::vector<std::string> names = display_names(comparison);
  std::vector<Bar> bars;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto& value = comparison.models[i].*member;
    if (!value) continue;
    bars.push_back({names[i], static_cast<double>(*value), std::nullopt, text(*value), i == 0});
  }
  return bars.empty() ? "" : bar_chart(title, bars);
}

std::uint64_t bytes_of(const ModelFigures& model, const std::string& kind) {
  std::uint64_t bytes = 0;
  for (const KindBytes& entry : model.disk_by_kind) {
    if (entry.kind == kind) bytes += entry.bytes;
  }
  return bytes;
}

// Kinds that some model has bytes of, in the order in which they come up.
std::vector<std::string> kinds_of(const Comparison& comparison) {
  std::vector<std::string> kinds;
  for (const ModelFigures& model : comparison.models) {
    for (const KindBytes& kind : model.disk_by_kind) {
      if (std::find(kinds.begin(), kinds.end(), kind.kind) == kinds.end()) {
        kinds.push_back(kind.kind);
      }
    }
  }
  std::erase_if(kinds, [&](const std::string& kind) {
    return std::all_of(comparison.models.begin(), comparison.models.end(),
                       [&](const ModelFigures& model) { return bytes_of(model, kind) == 0; });
  });
  return kinds;
}

std::string kinds_chart(const Comparison& comparison, const std::vector<std::string>& kinds) {
  const std::vector<std::string> names = display_names(comparison);
  std::vector<StackedBar> bars;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const ModelFigures& model = comparison.models[i];
    if (model.disk_by_kind.empty()) continue;
    StackedBar bar{names[i], {}, ""};
    std::uint64_t total = 0;
    for (const std::string& kind : kinds) {
      total += bytes_of(model, kind);
      bar.values.push_back(static_cast<double>(bytes_of(model, kind)));
    }
    bar.text = bytes_text(total);
    bars.push_back(std::move(bar));
  }
  return bars.empty() ? "" : stacked_chart("Bytes on disk by kind of tensor", kinds, bars);
}

Table kinds_table(const Comparison& comparison, const std::vector<std::string>& kinds) {
  Table table;
  table.caption = "Bytes on disk by kind of tensor, packed integers with their scales";
  table.columns = {{"model", Align::kLeft}};
  for (const std::string& kind : kinds) table.columns.push_back({kind, Align::kRight});
  for (const ModelFigures& model : comparison.models) {
    if (kinds.empty() || model.disk_by_kind.empty()) continue;
    std::vector<std::string> row = {model.name};
    for (const std::string& kind : kinds) row.push_back(bytes_text(bytes_of(model, kind)));
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::string latency_chart(const Comparison& comparison) {
  const std::vector<std::string> names = display_names(comparison);
  std::vector<Strip> strips;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const ModelFigures& model = comparison.models[i];
    if (model.token_s.empty() || !model.token_s_median || !model.token_s_p95) continue;
    Strip strip{names[i], {}, 1e3 * *model.token_s_median, 1e3 * *model.token_s_p95, i == 0};
    for (const double seconds : model.token_s) strip.values.push_back(1e3 * seconds);
    strips.push_back(std::move(strip));
  }
  return strip_chart("Time of each generated token", "ms", strips);
}

}  // namespace

std::string cost_section(const Comparison& comparison) {
  const auto number = [](double value) { return significant(value, 3); };
  const std::vector<std::string> kinds = kinds_of(comparison);
  const std::string charts =
      kinds_chart(comparison, kinds) +
      figures_chart("Weights in memory", comparison, &ModelFigures::weights_bytes, bytes_text) +
      figures_chart("Peak memory", comparison, &ModelFigures::peak_rss_bytes, bytes_text) +
      figures_chart("Prefill, tokens per second", comparison, &ModelFigures::prefill_tok_s,
                    number) +
      figures_chart("Decode, tokens per second", comparison, &ModelFigures::decode_tok_s, number) +
      latency_chart(comparison) +
      figures_chart("Energy, joules per generated token", comparison,
                    &ModelFigures::energy_j_per_token, number);
  if (charts.empty()) return "";
  return "<h2 id=\"cost\">Size, memory and speed</h2>\n<div class=\"charts\">\n" + charts +
         "</div>\n" + table_region(kinds_table(comparison, kinds));
}

}  // namespace fptq::report
