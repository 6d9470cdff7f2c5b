#include <map>
#include <tuple>

#include "base/check.h"
#include "report/comparison.h"
#include "report/format.h"
#include "report/page.h"
#include "report/svg.h"

namespace fptq::report {
namespace {

// One chart for every protocol of the baseline.
std::string perplexity_charts(const Comparison& comparison) {
  std::string charts;
  for (const PerplexityFigure& wanted : comparison.models.front().perplexities) {
    std::vector<Bar> bars;
    for (const ModelFigures& model : comparison.models) {
      for (const PerplexityFigure& figure : model.perplexities) {
        if (figure.protocol != wanted.protocol || figure.context != wanted.context) continue;
        bars.push_back({model.name, figure.value, figure.standard_error,
                        significant(figure.value, 5), &model == &comparison.models.front()});
      }
    }
    charts += bar_chart("Perplexity per " + wanted.unit + ", protocol " + wanted.protocol +
                            ", context " + std::to_string(wanted.context),
                        bars);
  }
  return charts;
}

std::string divergence_chart(const Comparison& comparison) {
  std::vector<Range> ranges;
  for (const ModelFigures& model : comparison.models) {
    if (!model.divergence) continue;
    const DivergenceFigure& d = *model.divergence;
    ranges.push_back(
        {model.name, {{"median", d.median}, {"p90", d.p90}, {"p99", d.p99}, {"max", d.max}}});
  }
  if (ranges.empty()) return "";
  return range_chart("KL divergence from the baseline by position, nats (logarithmic)", ranges);
}

template <typename T, typename Text>
std::string figures_chart(const std::string& title, const Comparison& comparison,
                          std::optional<T> ModelFigures::*member, const Text& text) {
  std::vector<Bar> bars;
  for (const ModelFigures& model : comparison.models) {
    if (!(model.*member)) continue;
    bars.push_back({model.name, static_cast<double>(*(model.*member)), std::nullopt,
                    text(*(model.*member)), &model == &comparison.models.front()});
  }
  return bars.empty() ? "" : bar_chart(title, bars);
}

std::string charts(const Comparison& comparison) {
  const auto speed = [](double value) { return significant(value, 3); };
  return "<div class=\"charts\">\n" + perplexity_charts(comparison) + divergence_chart(comparison) +
         figures_chart("Weights on disk", comparison, &ModelFigures::disk_bytes, bytes_text) +
         figures_chart("Peak memory", comparison, &ModelFigures::peak_rss_bytes, bytes_text) +
         figures_chart("Prefill, tokens per second", comparison, &ModelFigures::prefill_tok_s,
                       speed) +
         figures_chart("Decode, tokens per second", comparison, &ModelFigures::decode_tok_s,
                       speed) +
         "</div>\n";
}

std::string divergence_table(const Comparison& comparison) {
  Table table;
  table.columns = {{"model", Align::kLeft},
                   {"mean", {}},
                   {"median", {}},
                   {"p90", {}},
                   {"p99", {}},
                   {"max", {}},
                   {"top-1 agreement", {}},
                   {"RMS \u0394p", {}},
                   {"positions", {}}};
  for (Column& column : table.columns) {
    column.align = &column == &table.columns.front() ? Align::kLeft : Align::kRight;
  }
  for (const ModelFigures& model : comparison.models) {
    if (!model.divergence) continue;
    const DivergenceFigure& d = *model.divergence;
    table.rows.push_back({model.name, with_error(d), significant(d.median, 3),
                          significant(d.p90, 3), significant(d.p99, 3), significant(d.max, 3),
                          fixed(100.0 * d.top1_agreement, 2) + " %",
                          fixed(100.0 * d.rms_delta_p, 2) + " %", std::to_string(d.tokens)});
  }
  if (table.rows.empty()) return "";
  return "<h2>Divergence from the baseline</h2>\n<div class=\"scroll\">" + html_text(table) +
         "</div>\n";
}

std::string perplexity_table(const Comparison& comparison) {
  Table table;
  table.columns = {{"model", Align::kLeft},
                   {"protocol", Align::kLeft},
                   {"per", Align::kLeft},
                   {"context", Align::kRight},
                   {"scored tokens", Align::kRight},
                   {"perplexity", Align::kRight},
                   {"standard error", Align::kRight},
                   {"bits per byte", Align::kRight}};
  for (const ModelFigures& model : comparison.models) {
    for (const PerplexityFigure& figure : model.perplexities) {
      table.rows.push_back({model.name, figure.protocol, figure.unit,
                            std::to_string(figure.context), std::to_string(figure.tokens),
                            fixed(figure.value, 5),
                            figure.standard_error ? fixed(*figure.standard_error, 5) : "",
                            figure.bits_per_byte ? fixed(*figure.bits_per_byte, 5) : ""});
    }
  }
  if (table.rows.empty()) return "";
  return "<h2>Perplexity</h2>\n<div class=\"scroll\">" + html_text(table) + "</div>\n" +
         paragraph(
             "Numbers of different protocols or contexts are not comparable. The standard error is "
             "that of each perplexity by itself, tokens taken as independent; the models read the "
             "same text, so differences between them are known better than it suggests.");
}

// How many layers ran which scheme, and each of them.
std::string receipt(const ModelFigures& model) {
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
  table.columns = {{"layer", Align::kLeft},
                   {"scheme", Align::kLeft},
                   {"kernel", Align::kLeft},
                   {"instruction set", Align::kLeft},
                   {"calls", Align::kRight}};
  for (const LayerFigure& layer : model.receipt) {
    table.rows.push_back(
        {layer.layer, layer.scheme, layer.kernel, layer.isa, std::to_string(layer.calls)});
  }
  return "<details><summary>" + escape_html(model.name) + "</summary>\n<p>" + escape_html(summary) +
         "</p>\n<div class=\"scroll\">" + html_text(table) + "</div></details>\n";
}

std::string receipts(const Comparison& comparison) {
  std::string text;
  for (const ModelFigures& model : comparison.models) {
    if (!model.receipt.empty()) text += receipt(model);
  }
  if (text.empty()) return "";
  return "<h2>What really ran</h2>\n" +
         paragraph(
             "The scheme, kernel and instruction set that executed each layer while these "
             "numbers were taken.") +
         text;
}

std::string subtitle(const Comparison& comparison) {
  std::string text;
  for (std::size_t i = 1; i < comparison.models.size(); ++i) {
    text += (i > 1 ? ", " : "") + comparison.models[i].name;
  }
  return text.empty() ? "" : "beside " + text;
}

}  // namespace

std::string comparison_html(const Comparison& comparison) {
  FPTQ_CHECK(!comparison.models.empty(), "a baseline");
  const std::string title = escape_html(comparison.models.front().name);
  std::string page = "<h1>" + title + "</h1>\n" + paragraph(escape_html(subtitle(comparison)));
  for (const std::string& warning : comparison.warnings) {
    page += "<p class=\"warning\">" + escape_html(warning) + "</p>\n";
  }
  page += "<h2>Summary</h2>\n<div class=\"scroll main\">" +
          html_text(comparison_table(comparison)) + "</div>\n" +
          paragraph("The first row is the baseline. An empty cell was not measured.") +
          charts(comparison) + perplexity_table(comparison) + divergence_table(comparison) +
          receipts(comparison) + facts(comparison.provenance);
  return html_page(comparison.models.front().name, page);
}

}  // namespace fptq::report
