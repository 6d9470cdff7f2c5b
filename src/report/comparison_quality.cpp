// How good the models are: what tests say, and accuracy, perplexity or divergence against size.

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "report/comparison_parts.h"
#include "report/format.h"
#include "report/page.h"
#include "report/svg.h"

namespace fptq::report {
namespace {

constexpr double kMebibyte = 1024.0 * 1024.0;
// Half the width of a 95 percent confidence interval in standard errors, for large samples.
constexpr double kNormal95 = 1.96;

std::optional<std::pair<double, double>> around(double value, std::optional<double> error) {
  if (!error) return std::nullopt;
  return std::pair{value - kNormal95 * *error, value + kNormal95 * *error};
}

// A point for each model of which size and quality are known; `read` gives the quality.
template <typename Read>
std::string against_size(const std::string& title, const std::string& quality,
                         const Comparison& comparison, const Read& read) {
  const std::vector<std::string> names = display_names(comparison);
  std::vector<ScatterPoint> points;
  for (std::size_t i = 0; i < comparison.models.size(); ++i) {
    const ModelFigures& model = comparison.models[i];
    std::optional<ScatterPoint> point = read(model);
    if (!point || !model.disk_bytes) continue;
    point->label = names[i];
    point->x = static_cast<double>(*model.disk_bytes) / kMebibyte;
    point->highlighted = i == 0;
    points.push_back(std::move(*point));
  }
  return points.empty() ? "" : scatter_chart(title, "size on disk, MiB", quality, points);
}

std::string accuracy_charts(const Comparison& comparison) {
  std::string charts;
  for (const TaskFigure& wanted : comparison.models.front().tasks) {
    const bool normalized = wanted.acc_norm.has_value();
    const std::string measure = measure_name(wanted, normalized);
    charts += against_size(
        measure + " against size (95 % intervals)", measure + ", %", comparison,
        [&](const ModelFigures& model) -> std::optional<ScatterPoint> {
          const TaskFigure* task = matching(model, wanted);
          if (task == nullptr || (normalized && !task->acc_norm)) return std::nullopt;
          const double value = 100.0 * (normalized ? *task->acc_norm : task->acc);
          std::optional<double> error = normalized ? task->acc_norm_error : task->acc_error;
          if (error) *error *= 100.0;
          return ScatterPoint{"", 0.0, value, around(value, error), false};
        });
  }
  return charts;
}

std::string perplexity_charts(const Comparison& comparison) {
  std::string charts;
  for (const PerplexityFigure& wanted : comparison.models.front().perplexities) {
    charts += against_size(
        "Perplexity against size, protocol " + wanted.protocol + ", context " +
            std::to_string(wanted.context) + " (95 % intervals)",
        "perplexity per " + wanted.unit, comparison,
        [&](const ModelFigures& model) -> std::optional<ScatterPoint> {
          const PerplexityFigure* figure = matching(model, wanted);
          if (figure == nullptr) return std::nullopt;
          return ScatterPoint{
              "", 0.0, figure->value,
              figure->interval ? figure->interval : around(figure->value, figure->standard_error),
              false};
        });
  }
  return charts;
}

std::string divergence_chart(const Comparison& comparison) {
  return against_size("Divergence against size (95 % intervals)", "mean KL, nats", comparison,
                      [&](const ModelFigures& model) -> std::optional<ScatterPoint> {
                        if (!model.divergence) return std::nullopt;
                        const DivergenceFigure& d = *model.divergence;
                        return ScatterPoint{
                            "", 0.0, d.mean,
                            d.interval ? d.interval : around(d.mean, d.standard_error), false};
                      });
}

Table perplexity_table(const Comparison& comparison) {
  Table table;
  table.caption =
      "Perplexities. Those of different protocols or contexts are not comparable; the standard "
      "error is that of each by itself, with tokens taken as independent.";
  table.columns = {{"model", Align::kLeft},
                   {"protocol", Align::kLeft},
                   {"per", Align::kLeft},
                   {"context", Align::kRight},
                   {"scored tokens", Align::kRight},
                   {"perplexity", Align::kRight},
                   {"standard error", Align::kRight},
                   {"95 % interval over windows", Align::kRight},
                   {"bits per byte", Align::kRight}};
  for (const ModelFigures& model : comparison.models) {
    for (const PerplexityFigure& figure : model.perplexities) {
      table.rows.push_back(
          {model.name, figure.protocol, figure.unit, std::to_string(figure.context),
           std::to_string(figure.tokens), fixed(figure.value, 5),
           figure.standard_error ? fixed(*figure.standard_error, 5) : "",
           figure.interval
               ? fixed(figure.interval->first, 4) + " to " + fixed(figure.interval->second, 4)
               : "",
           figure.bits_per_byte ? fixed(*figure.bits_per_byte, 5) : ""});
    }
  }
  return table;
}

Table task_table(const Comparison& comparison) {
  Table table;
  table.caption = "Tasks: share of documents answered right, \u00B1 standard error";
  table.columns = {{"model", Align::kLeft},      {"task", Align::kLeft},
                   {"examples", Align::kRight},  {"documents", Align::kRight},
                   {"acc", Align::kRight},       {"acc_norm", Align::kRight},
                   {"perplexity", Align::kRight}};
  const auto text = [](std::optional<double> value, std::optional<double> error, double factor,
                       int decimals, const char* unit) -> std::string {
    if (!value) return "";
    return fixed(factor * *value, decimals) +
           (error ? " \u00B1 " + fixed(factor * *error, decimals) : "") + unit;
  };
  for (const ModelFigures& model : comparison.models) {
    for (const TaskFigure& task : model.tasks) {
      table.rows.push_back({model.name, task.name, std::to_string(task.shots),
                            std::to_string(task.documents),
                            text(task.acc, task.acc_error, 100.0, 2, " %"),
                            text(task.acc_norm, task.acc_norm_error, 100.0, 2, " %"),
                            text(task.perplexity, task.perplexity_error, 1.0, 3, "")});
    }
  }
  return table;
}

std::vector<Column> verdict_columns() {
  return {{"measure", Align::kLeft},        {"difference", Align::kRight},
          {"95 % interval", Align::kRight}, {"p", Align::kRight},
          {"pairs", Align::kRight},         {"verdict", Align::kLeft},
          {"in words", Align::kLeft}};
}

// Below what its method can tell, a p is a bound: no p is 0.
std::string p_text(std::optional<double> p) {
  if (!p) return "";
  return *p < 1e-4 ? "< 0.0001" : significant(*p, 2);
}

// Of a task's parts, 57 subjects perhaps, tables show those that differ.
bool is_shown(const VerdictFigure& verdict) {
  return !verdict.part || verdict.distinguishable;
}

// What captions say where a part was tested.
std::string about_parts(bool has_parts) {
  if (!has_parts) return "";
  return ". Subjects share a correction of their own; those that do not differ are left out here "
         "and are in CSV and JSON";
}

bool has_part(const std::vector<VerdictFigure>& verdicts) {
  return std::any_of(verdicts.begin(), verdicts.end(),
                     [](const VerdictFigure& verdict) { return verdict.part; });
}

// A verdict's cells behind the names of what it is about.
std::vector<std::string> verdict_row(std::vector<std::string> row, const VerdictFigure& verdict) {
  row.push_back(verdict.measure);
  row.push_back(significant(verdict.difference, 3));
  row.push_back(verdict.low && verdict.high
                    ? significant(*verdict.low, 3) + " to " + significant(*verdict.high, 3)
                    : "");
  row.push_back(p_text(verdict.p));
  row.push_back(std::to_string(verdict.n));
  row.push_back(verdict.distinguishable ? "\u2260 differs" : "\u2248 not distinguishable");
  row.push_back(verdict.sentence);
  return row;
}

}  // namespace

Table verdict_table(const Comparison& comparison) {
  Table table;
  table.caption =
      "Paired tests of candidate minus baseline, on the same texts and documents. Accuracies: "
      "share "
      "of documents. Perplexities: logarithm of the ratio. p: by Holm, for all comparisons of the "
      "run";
  table.columns = {{"model", Align::kLeft}};
  const std::vector<Column> columns = verdict_columns();
  table.columns.insert(table.columns.end(), columns.begin(), columns.end());
  const std::vector<std::string> names = display_names(comparison);
  bool parts = false;
  for (std::size_t i = 0; i < comparison.models.size(); ++i) {
    parts = parts || has_part(comparison.models[i].verdicts);
    for (const VerdictFigure& verdict : comparison.models[i].verdicts) {
      if (is_shown(verdict)) table.rows.push_back(verdict_row({names[i]}, verdict));
    }
  }
  table.caption += about_parts(parts);
  return table;
}

Table pair_table(const Comparison& comparison) {
  Table table;
  table.caption =
      "Paired tests of two candidates, \"model\" minus \"beside\". KL divergence: the difference "
      "of "
      "their mean divergences from the baseline, in nats. p: by Holm, for all comparisons of the "
      "run";
  table.columns = {{"model", Align::kLeft}, {"beside", Align::kLeft}};
  const std::vector<Column> columns = verdict_columns();
  table.columns.insert(table.columns.end(), columns.begin(), columns.end());
  const std::vector<std::string> names = display_names(comparison);
  bool parts = false;
  for (const PairFigure& pair : comparison.pairs) {
    parts = parts || has_part(pair.verdicts);
    for (const VerdictFigure& verdict : pair.verdicts) {
      if (!is_shown(verdict)) continue;
      table.rows.push_back(verdict_row({names[pair.second], names[pair.first]}, verdict));
    }
  }
  table.caption += about_parts(parts);
  return table;
}

std::string quality_section(const Comparison& comparison) {
  std::string charts = accuracy_charts(comparison) + perplexity_charts(comparison);
  // Where nothing else tells how good a model is, what it is next to does.
  charts += divergence_chart(comparison);
  const std::string tables = table_region(verdict_table(comparison), "verdicts") +
                             table_region(pair_table(comparison), "verdicts") +
                             table_region(task_table(comparison)) +
                             table_region(perplexity_table(comparison));
  if (charts.empty() && tables.empty()) return "";
  return "<h2 id=\"quality\">Quality</h2>\n" +
         (charts.empty() ? "" : "<div class=\"charts\">\n" + charts + "</div>\n") + tables;
}

}  // namespace fptq::report
