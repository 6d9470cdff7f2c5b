#include "report/explanation.h"

#include <algorithm>
#include <cmath>

#include "report/format.h"
#include "report/page.h"
#include "report/svg.h"

namespace fptq::report {
namespace {

constexpr std::size_t kMostBars = 40;

std::string nats_text(double nats) {
  if (nats == 0.0) return "0";
  return (nats < 0 ? "-" : "") + significant(std::abs(nats), 3);
}

std::string share_text(double nats, double total) {
  return total > 0.0 ? fixed(100.0 * nats / total, 1) + " %" : "";
}

std::string signed_bytes(std::int64_t bytes) {
  const std::string text = bytes_text(static_cast<std::uint64_t>(std::abs(bytes)));
  return (bytes < 0 ? "-" : "+") + text;
}

std::vector<std::string> part_row(const PartFigure& part, double total) {
  return {part.name,
          part.scheme,
          nats_text(part.nats) + " \u00B1 " + nats_text(part.standard_error),
          share_text(part.nats, total),
          part.bytes_to_w8c ? bytes_text(part.bytes) : "",
          part.bytes_to_w8c ? signed_bytes(*part.bytes_to_w8c) : "",
          part.nats_per_mb ? nats_text(*part.nats_per_mb) : ""};
}

// A bar's length is not negative; its text says what the value is.
Bar bar(const std::string& label, double nats, std::optional<double> error,
        const std::string& text) {
  return {label, std::max(0.0, nats), error, text, false};
}

std::string charts(const ExplanationFigures& figures) {
  std::vector<Bar> groups;
  for (const ShareFigure& share : figures.budget) {
    groups.push_back(
        bar(share.group, share.mean, std::abs(share.forward - share.reverse) / 2,
            nats_text(share.mean) + " (" + share_text(share.mean, figures.total) + ")"));
  }
  std::string text =
      "<div class=\"charts\">\n" +
      bar_chart("Shares of the groups, nats; bars from one order to the other", groups);
  std::vector<const PartFigure*> worst;
  for (const PartFigure& part : figures.parts) worst.push_back(&part);
  std::stable_sort(worst.begin(), worst.end(),
                   [](const auto* a, const auto* b) { return a->nats > b->nats; });
  if (worst.size() > kMostBars) worst.resize(kMostBars);
  std::vector<Bar> bars;
  for (const PartFigure* part : worst) {
    bars.push_back(bar(part->name, part->nats, part->standard_error, nats_text(part->nats)));
  }
  if (!bars.empty()) text += bar_chart("Each part alone, nats", bars);
  return text + "</div>\n";
}

}  // namespace

Table budget_table(const ExplanationFigures& figures) {
  Table table;
  table.columns = {{"group", Align::kLeft},
                   {"nats", {}},
                   {"share", {}},
                   {"in order", {}},
                   {"in reverse order", {}}};
  for (std::size_t i = 1; i < table.columns.size(); ++i) table.columns[i].align = Align::kRight;
  for (const ShareFigure& share : figures.budget) {
    table.rows.push_back({share.group, nats_text(share.mean), share_text(share.mean, figures.total),
                          nats_text(share.forward), nats_text(share.reverse)});
  }
  table.rows.push_back({"total",
                        nats_text(figures.total) + " \u00B1 " + nats_text(figures.standard_error),
                        share_text(figures.total, figures.total), nats_text(figures.total),
                        nats_text(figures.total)});
  return table;
}

Table parts_table(const ExplanationFigures& figures, std::size_t most) {
  Table table;
  table.columns = {{"alone", Align::kLeft},       {"scheme", Align::kLeft},
                   {"nats", Align::kRight},       {"share", Align::kRight},
                   {"bytes", Align::kRight},      {"to 8 bits", Align::kRight},
                   {"nats per MB", Align::kRight}};
  const std::size_t count = figures.parts.size();
  const std::size_t shown = most == 0 ? count : std::min(most, count);
  for (std::size_t i = 0; i < shown; ++i) {
    table.rows.push_back(part_row(figures.parts[i], figures.total));
  }
  const auto add = [&](const std::string& name, double nats) {
    table.rows.push_back({name, "", nats_text(nats), share_text(nats, figures.total), "", "", ""});
  };
  double others = 0.0;
  for (std::size_t i = shown; i < count; ++i) others += figures.parts[i].nats;
  if (shown < count) add(std::to_string(count - shown) + " others", others);
  add("interaction", figures.interaction);
  add("total", figures.total);
  return table;
}

std::string explanation_html(const ExplanationFigures& figures) {
  const std::string title = figures.candidate + " explained";
  std::string body =
      "<h1>" + escape_html(title) + "</h1>\n" +
      paragraph("KL(" + escape_html(figures.base) + " || " + escape_html(figures.candidate) +
                ") is " + nats_text(figures.total) + " \u00B1 " +
                nats_text(figures.standard_error) + " nats per token, over " +
                std::to_string(figures.tokens) + " positions in " +
                std::to_string(figures.windows) + " windows of " + std::to_string(figures.context) +
                " tokens. With nothing of the candidate in the base it is " +
                nats_text(figures.noise_floor) + ".");
  for (const std::string& note : figures.notes) {
    body += "<p class=\"warning\">" + escape_html(note) + "</p>\n";
  }
  Table groups = budget_table(figures);
  groups.caption = "Shares of the groups";
  body += charts(figures) + "<h2>Groups</h2>\n" + table_region(groups) +
          paragraph(
              "What each group adds when the groups are switched on one after the other, in this "
              "order and in the reverse one, in which activations still come behind the weights. "
              "The means add up to the total.");
  if (!figures.parts.empty()) {
    Table parts = parts_table(figures);
    parts.caption = "Each part alone";
    body += "<h2>Parts alone</h2>\n" + table_region(parts) +
            paragraph(
                "The divergence with one part of the candidate, all else the base's; the standard "
                "error is over windows. Parts do not add up by themselves: the interaction is what "
                "is left of the total. \"To 8 bits\": what 8-bit codes with a scale per row would "
                "take more; nats per MB is the most that this could save, and the rows are sorted "
                "by it.");
  }
  return html_page(title, body + facts(figures.provenance));
}

}  // namespace fptq::report
