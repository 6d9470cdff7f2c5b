// How far the candidates' predictions are from the baseline's.

#include "report/comparison_parts.h"
#include "report/format.h"
#include "report/page.h"
#include "report/svg.h"

namespace fptq::report {
namespace {

std::string quantile_chart(const Comparison& comparison, const std::vector<std::string>& names) {
  std::vector<Range> ranges;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!comparison.models[i].divergence) continue;
    const DivergenceFigure& d = *comparison.models[i].divergence;
    ranges.push_back(
        {names[i], {{"median", d.median}, {"p90", d.p90}, {"p99", d.p99}, {"max", d.max}}});
  }
  if (ranges.empty()) return "";
  return range_chart("Quantiles of the KL divergence, nats (logarithmic)", ranges);
}

std::string histograms(const Comparison& comparison, const std::vector<std::string>& names) {
  std::vector<Histogram> found;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto& divergence = comparison.models[i].divergence;
    if (!divergence || !divergence->histogram) continue;
    const HistogramFigure& h = *divergence->histogram;
    if (!found.empty() && h.edges != found.front().edges) continue;
    found.push_back({names[i], h.edges, h.counts, h.below, h.above});
  }
  return histogram_chart("Positions by their KL divergence, nats (logarithmic)", found);
}

std::string percent(double share) {
  return fixed(100.0 * share, 0);
}

// One chart for each candidate.
std::string agreement_charts(const Comparison& comparison, const std::vector<std::string>& names) {
  std::string charts;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!comparison.models[i].divergence) continue;
    std::vector<Bar> bars;
    for (const ConfidenceFigure& bin : comparison.models[i].divergence->by_confidence) {
      if (!bin.agreement) continue;
      std::string text = fixed(100.0 * *bin.agreement, 1) + " %";
      if (bin.standard_error) text += " \u00B1 " + fixed(100.0 * *bin.standard_error, 1);
      bars.push_back({"baseline gives it " + percent(bin.from) + " to " + percent(bin.to) + " % (" +
                          std::to_string(bin.tokens) + " positions)",
                      *bin.agreement, bin.standard_error, text, false});
    }
    if (bars.empty()) continue;
    charts +=
        bar_chart(names[i] + ": same most probable token, by the baseline's confidence", bars);
  }
  return charts;
}

Table divergence_table(const Comparison& comparison) {
  Table table;
  table.caption = "KL(baseline \u2016 candidate) of the next token, nats, over all positions";
  table.columns = {{"model", Align::kLeft},
                   {"mean", Align::kRight},
                   {"median", Align::kRight},
                   {"p90", Align::kRight},
                   {"p99", Align::kRight},
                   {"max", Align::kRight},
                   {"top-1 agreement", Align::kRight},
                   {"RMS \u0394p", Align::kRight},
                   {"positions", Align::kRight}};
  for (const ModelFigures& model : comparison.models) {
    if (!model.divergence) continue;
    const DivergenceFigure& d = *model.divergence;
    table.rows.push_back({model.name, with_error(d), significant(d.median, 3),
                          significant(d.p90, 3), significant(d.p99, 3), significant(d.max, 3),
                          fixed(100.0 * d.top1_agreement, 2) + " %",
                          fixed(100.0 * d.rms_delta_p, 2) + " %", std::to_string(d.tokens)});
  }
  return table;
}

}  // namespace

std::string divergence_section(const Comparison& comparison) {
  const Table table = divergence_table(comparison);
  if (table.rows.empty()) return "";
  const std::vector<std::string> names = display_names(comparison);
  return "<h2 id=\"divergence\">Divergence from the baseline</h2>\n" + table_region(table) +
         paragraph(
             "0 nats: the candidate predicts exactly what the baseline does. Top-1 agreement: "
             "share "
             "of positions with the same most probable token. RMS \u0394p: of the probability of "
             "the token that follows.") +
         "<div class=\"charts\">\n" + quantile_chart(comparison, names) +
         histograms(comparison, names) + agreement_charts(comparison, names) + "</div>\n";
}

}  // namespace fptq::report
