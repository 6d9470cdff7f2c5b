#include <functional>

#include "base/check.h"
#include "report/comparison.h"
#include "report/format.h"

namespace fptq::report {
namespace {

// A cell of a model beside its baseline; empty where it was not measured.
using Cell = std::function<std::string(const ModelFigures& model, const ModelFigures& baseline)>;

std::string perplexity_name(const PerplexityFigure& figure) {
  return "ppl " + figure.protocol + (figure.unit == "word" ? " (word)" : "") +
         (figure.interval ? " [95 %]" : "");
}

// The model's perplexity that stands beside the baseline's entry `index`.
const PerplexityFigure* matching(const ModelFigures& model, const ModelFigures& baseline,
                                 std::size_t index) {
  const PerplexityFigure& wanted = baseline.perplexities[index];
  for (const PerplexityFigure& figure : model.perplexities) {
    if (figure.protocol == wanted.protocol && figure.context == wanted.context) return &figure;
  }
  return nullptr;
}

Cell perplexity_cell(std::size_t index) {
  return [index](const ModelFigures& model, const ModelFigures& baseline) -> std::string {
    const PerplexityFigure* figure = matching(model, baseline, index);
    if (figure == nullptr) return "";
    std::string text = fixed(figure->value, 4);
    if (figure->interval) {
      return text + " [" + significant(figure->interval->first, 4) + ", " +
             significant(figure->interval->second, 4) + "]";
    }
    if (figure->standard_error) text += " \u00B1 " + fixed(*figure->standard_error, 4);
    return text;
  };
}

Cell change_cell(std::size_t index) {
  return [index](const ModelFigures& model, const ModelFigures& baseline) -> std::string {
    const PerplexityFigure* figure = matching(model, baseline, index);
    if (figure == nullptr || &model == &baseline) return "";
    return signed_percent(100.0 * (figure->value / baseline.perplexities[index].value - 1.0));
  };
}

// A speed with the factor over the baseline's.
Cell speed_cell(std::optional<double> ModelFigures::*speed) {
  return [speed](const ModelFigures& model, const ModelFigures& baseline) -> std::string {
    if (!(model.*speed)) return "";
    std::string text = significant(*(model.*speed), 3);
    if (&model != &baseline && baseline.*speed && *(baseline.*speed) > 0.0) {
      text += " (" + fixed(*(model.*speed) / *(baseline.*speed), 2) + "x)";
    }
    return text;
  };
}

Cell bytes_cell(std::optional<std::uint64_t> ModelFigures::*bytes) {
  return [bytes](const ModelFigures& model, const ModelFigures& /*baseline*/) {
    return model.*bytes ? bytes_text(*(model.*bytes)) : std::string();
  };
}

Cell number_cell(std::optional<double> ModelFigures::*number, double factor) {
  return [number, factor](const ModelFigures& model, const ModelFigures& /*baseline*/) {
    return model.*number ? significant(factor * *(model.*number), 3) : std::string();
  };
}

// Milliseconds: the median over generated tokens, and what 95 percent of them stay below.
std::string token_cell(const ModelFigures& model, const ModelFigures& /*baseline*/) {
  if (!model.token_s_median || !model.token_s_p95) return "";
  return significant(1e3 * *model.token_s_median, 3) + " (" +
         significant(1e3 * *model.token_s_p95, 3) + ")";
}

std::string divergence_cell(const ModelFigures& model, const ModelFigures& /*baseline*/) {
  if (!model.divergence) return "";
  return with_error(*model.divergence);
}

std::string agreement_cell(const ModelFigures& model, const ModelFigures& /*baseline*/) {
  return model.divergence ? fixed(100.0 * model.divergence->top1_agreement, 2) + " %" : "";
}

std::string ratio_cell(const ModelFigures& model, const ModelFigures& baseline) {
  if (&model == &baseline || !model.disk_bytes || !baseline.disk_bytes || *model.disk_bytes == 0) {
    return "";
  }
  const auto before = static_cast<double>(*baseline.disk_bytes);
  const auto after = static_cast<double>(*model.disk_bytes);
  return after > before ? fixed(after / before, 2) + "x larger"
                        : fixed(before / after, 2) + "x smaller";
}

void add_column(Table& table, const Comparison& comparison, Column column, const Cell& cell) {
  std::vector<std::string> cells;
  bool has_any = false;
  for (const ModelFigures& model : comparison.models) {
    cells.push_back(cell(model, comparison.models.front()));
    has_any = has_any || !cells.back().empty();
  }
  if (!has_any) return;
  table.columns.push_back(std::move(column));
  for (std::size_t i = 0; i < cells.size(); ++i) table.rows[i].push_back(std::move(cells[i]));
}

}  // namespace

std::string with_error(const DivergenceFigure& divergence) {
  std::string text = significant(divergence.mean, 3);
  if (divergence.standard_error) {
    text += " \u00B1 " + significant(*divergence.standard_error, 1);
  }
  return text;
}

Table comparison_table(const Comparison& comparison) {
  FPTQ_CHECK(!comparison.models.empty(), "a baseline");
  const ModelFigures& baseline = comparison.models.front();
  Table table;
  table.rows.resize(comparison.models.size());
  const auto add = [&](std::string header, const Cell& cell, Align align = Align::kRight) {
    add_column(table, comparison, {std::move(header), align}, cell);
  };
  add(
      "model", [](const auto& model, const auto&) { return model.name; }, Align::kLeft);
  add(
      "scheme", [](const auto& model, const auto&) { return model.scheme; }, Align::kLeft);
  for (std::size_t i = 0; i < baseline.perplexities.size(); ++i) {
    add(perplexity_name(baseline.perplexities[i]), perplexity_cell(i));
    add("change", change_cell(i));
  }
  add("KL (nats)", divergence_cell);
  add("top-1", agreement_cell);
  add("size", bytes_cell(&ModelFigures::disk_bytes));
  add("ratio", ratio_cell);
  add("prefill tok/s", speed_cell(&ModelFigures::prefill_tok_s));
  add("decode tok/s", speed_cell(&ModelFigures::decode_tok_s));
  add("first token s", number_cell(&ModelFigures::first_token_s, 1.0));
  add("ms/token (p95)", token_cell);
  add("J/token", number_cell(&ModelFigures::energy_j_per_token, 1.0));
  add("other work %", number_cell(&ModelFigures::other_work, 100.0));
  add("peak memory", bytes_cell(&ModelFigures::peak_rss_bytes));
  return table;
}

}  // namespace fptq::report
