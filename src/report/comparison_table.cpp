#include <algorithm>
#include <functional>

#include "base/check.h"
#include "report/comparison.h"
#include "report/format.h"

namespace fptq::report {
namespace {

// A cell of a model beside its baseline; empty where it was not measured.
using Cell = std::function<std::string(const ModelFigures& model, const ModelFigures& baseline)>;

// The model's perplexity that stands beside the baseline's entry `index`.
const PerplexityFigure* beside(const ModelFigures& model, const ModelFigures& baseline,
                               std::size_t index) {
  return matching(model, baseline.perplexities[index]);
}

// " \u2260" where a test tells the candidate from the baseline, " \u2248" where it does not,
// nothing where there was none.
std::string mark(const ModelFigures& model, const std::string& measure) {
  const VerdictFigure* verdict = verdict_of(model, measure);
  if (verdict == nullptr) return "";
  return verdict->distinguishable ? " \u2260" : " \u2248";
}

Cell perplexity_cell(std::size_t index) {
  return [index](const ModelFigures& model, const ModelFigures& baseline) -> std::string {
    const PerplexityFigure* figure = beside(model, baseline, index);
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
    const PerplexityFigure* figure = beside(model, baseline, index);
    if (figure == nullptr || &model == &baseline) return "";
    const double change = 100.0 * (figure->value / baseline.perplexities[index].value - 1.0);
    return signed_percent(change) + mark(model, measure_name(*figure));
  };
}

// One of the two accuracies of a task, in percent.
struct Accuracy {
  std::optional<double> value;
  std::optional<double> error;
};

Accuracy accuracy(const TaskFigure& task, bool normalized) {
  if (normalized) return {task.acc_norm, task.acc_norm_error};
  return {task.acc, task.acc_error};
}

Cell accuracy_cell(std::size_t index, bool normalized) {
  return [=](const ModelFigures& model, const ModelFigures& baseline) -> std::string {
    const TaskFigure* task = matching(model, baseline.tasks[index]);
    if (task == nullptr) return "";
    const auto [value, error] = accuracy(*task, normalized);
    if (!value) return "";
    std::string text = fixed(100.0 * *value, 2);
    if (error) text += " \u00B1 " + fixed(100.0 * *error, 2);
    return text + " %";
  };
}

Cell accuracy_change_cell(std::size_t index, bool normalized) {
  return [=](const ModelFigures& model, const ModelFigures& baseline) -> std::string {
    const TaskFigure* task = matching(model, baseline.tasks[index]);
    if (task == nullptr || &model == &baseline) return "";
    const auto before = accuracy(baseline.tasks[index], normalized).value;
    const auto after = accuracy(*task, normalized).value;
    if (!before || !after) return "";
    const double points = 100.0 * (*after - *before);
    return (points < 0.0 ? "" : "+") + fixed(points, 2) +
           mark(model, measure_name(*task, normalized));
  };
}

Cell task_perplexity_cell(std::size_t index) {
  return [=](const ModelFigures& model, const ModelFigures& baseline) -> std::string {
    const TaskFigure* task = matching(model, baseline.tasks[index]);
    if (task == nullptr || !task->perplexity) return "";
    std::string text = significant(*task->perplexity, 5);
    if (task->perplexity_error) text += " \u00B1 " + significant(*task->perplexity_error, 2);
    return text;
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
  return with_error(*model.divergence) + mark(model, "KL");
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

template <typename Has>
bool has(const Comparison& comparison, const Has& of_model) {
  return std::any_of(comparison.models.begin(), comparison.models.end(), of_model);
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
  for (std::size_t i = 0; i < baseline.tasks.size(); ++i) {
    for (const bool normalized : {false, true}) {
      add(measure_name(baseline.tasks[i], normalized), accuracy_cell(i, normalized));
      add("points", accuracy_change_cell(i, normalized));
    }
    add(baseline.tasks[i].name + " ppl", task_perplexity_cell(i));
  }
  for (std::size_t i = 0; i < baseline.perplexities.size(); ++i) {
    const PerplexityFigure& figure = baseline.perplexities[i];
    add(measure_name(figure) + (figure.interval ? " [95 %]" : ""), perplexity_cell(i));
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
  add("other work %", [](const ModelFigures& model, const ModelFigures&) {
    return model.other_work ? fixed(100.0 * *model.other_work, 1) : std::string();
  });
  add("peak memory", bytes_cell(&ModelFigures::peak_rss_bytes));
  return table;
}

std::vector<std::string> comparison_legend(const Comparison& comparison) {
  const ModelFigures& baseline = comparison.models.front();
  std::vector<std::string> lines = {
      "The first row is the baseline; an empty cell was not measured."};
  const bool tested =
      has(comparison, [](const ModelFigures& model) { return !model.verdicts.empty(); });
  bool errors = has(comparison, [](const ModelFigures& model) {
    return model.divergence && model.divergence->standard_error;
  });
  if (!baseline.tasks.empty()) {
    lines.push_back(
        "acc, acc_norm: share of right answers; points: difference from the baseline in "
        "percentage points.");
    errors = true;
  }
  if (!baseline.perplexities.empty()) {
    lines.push_back("ppl: perplexity, smaller is better; change: beside the baseline's.");
    bool interval = false;
    for (const PerplexityFigure& figure : baseline.perplexities) {
      (figure.interval ? interval : errors) = true;
    }
    if (interval) lines.push_back("[95 %]: confidence interval of each value by itself.");
  }
  if (has(comparison, [](const ModelFigures& m) { return m.divergence.has_value(); })) {
    lines.push_back(
        "KL: mean divergence of the next token's probabilities from the baseline's; top-1: share "
        "of "
        "positions with the same most probable token.");
  }
  if (has(comparison, [](const ModelFigures& m) { return m.decode_tok_s.has_value(); })) {
    lines.push_back(
        "tok/s: median over rounds, in brackets times the baseline's; ms/token: median over "
        "tokens, "
        "in brackets what 95 % of them stay below.");
  }
  if (has(comparison, [](const ModelFigures& m) { return m.other_work.has_value(); })) {
    lines.push_back("other work: share of the processors that other programs used meanwhile.");
  }
  if (errors) lines.push_back("\u00B1: standard error.");
  if (tested) {
    lines.push_back(
        "\u2260: a paired test tells it from the baseline; \u2248: no difference is "
        "distinguishable from chance; neither mark: not tested.");
  } else if (comparison.models.size() > 1 &&
             !(baseline.tasks.empty() && baseline.perplexities.empty())) {
    lines.push_back(
        "No paired test was made: a difference alone does not say that it is not chance.");
  }
  return lines;
}

}  // namespace fptq::report
