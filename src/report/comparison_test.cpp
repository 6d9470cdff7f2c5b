#include "report/comparison.h"

#include <gtest/gtest.h>

namespace fptq::report {
namespace {

Comparison sample() {
  ModelFigures base;
  base.name = "base";
  base.scheme = "bf16";
  base.perplexities.push_back({"gptq", "token", 2048, 1000, 10.0, 0.1, std::nullopt});
  base.disk_bytes = 4 << 20;
  base.decode_tok_s = 50.0;
  ModelFigures candidate;
  candidate.name = "<i>out</i>";
  candidate.scheme = "w4g32-a8t";
  candidate.perplexities.push_back({"gptq", "token", 2048, 1000, 10.5, 0.1, std::nullopt});
  candidate.divergence = DivergenceFigure{0.02, 0.001, 0.01, 0.04, 0.2, 1.5, 0.95, 0.03, 500};
  candidate.disk_bytes = 1 << 20;
  candidate.decode_tok_s = 125.0;
  candidate.receipt.push_back({"model.layers.0.mlp.up_proj", "w4g32-a8t", "w4a8_gemm", "avx2", 12});
  return {{base, candidate}, {{"command", "fptq compare base '<i>out</i>'"}}, {"busy & slow"}};
}

TEST(ComparisonTable, SetsCandidatesBesideTheBaseline) {
  const Table table = comparison_table(sample());
  std::vector<std::string> headers;
  for (const Column& column : table.columns) headers.push_back(column.header);
  EXPECT_EQ(headers, (std::vector<std::string>{"model", "scheme", "ppl gptq", "change", "KL (nats)",
                                               "top-1", "size", "ratio", "decode tok/s"}));
  EXPECT_EQ(table.rows[0], (std::vector<std::string>{"base", "bf16", "10.0000 \u00B1 0.1000", "",
                                                     "", "", "4.00 MiB", "", "50.0"}));
  EXPECT_EQ(table.rows[1],
            (std::vector<std::string>{"<i>out</i>", "w4g32-a8t", "10.5000 \u00B1 0.1000", "+5.00 %",
                                      "0.0200 \u00B1 0.001", "95.00 %", "1.00 MiB", "4.00x smaller",
                                      "125 (2.50x)"}));
}

TEST(ComparisonTable, ShowsTheIntervalOfAPerplexityWhereThereIsOne) {
  Comparison comparison = sample();
  comparison.models[0].perplexities[0].interval = {9.80392, 10.2};
  const Table table = comparison_table(comparison);
  EXPECT_EQ(table.columns[2].header, "ppl gptq [95 %]");
  EXPECT_EQ(table.rows[0][2], "10.0000 [9.804, 10.20]");
  EXPECT_EQ(table.rows[1][2], "10.5000 \u00B1 0.1000");
}

TEST(ComparisonTable, ShowsTimesEnergyAndOtherWork) {
  Comparison comparison = sample();
  ModelFigures& base = comparison.models[0];
  base.first_token_s = 0.5;
  base.token_s_median = 0.0125;
  base.token_s_p95 = 0.02;
  base.energy_j_per_token = 1.5;
  base.other_work = 0.25;
  const Table table = comparison_table(comparison);
  std::vector<std::string> found;
  for (std::size_t i = 9; i < table.columns.size(); ++i) {
    found.push_back(table.columns[i].header + ": " + table.rows[0][i]);
    EXPECT_EQ(table.rows[1][i], "");
  }
  EXPECT_EQ(found, (std::vector<std::string>{"first token s: 0.500", "ms/token (p95): 12.5 (20.0)",
                                             "J/token: 1.50", "other work %: 25.0"}));
}

TEST(ComparisonTable, SaysWhenACandidateIsLarger) {
  Comparison comparison = sample();
  comparison.models[1].disk_bytes = std::uint64_t{5} << 20;
  EXPECT_EQ(comparison_table(comparison).rows[1][7], "1.25x larger");
}

TEST(ComparisonTable, LeavesOutWhatNobodyMeasured) {
  const Table table = comparison_table(sample());
  for (const Column& column : table.columns) {
    EXPECT_NE(column.header, "prefill tok/s");
    EXPECT_NE(column.header, "peak memory");
  }
}

TEST(ComparisonTable, DoesNotMixContexts) {
  Comparison comparison = sample();
  comparison.models[1].perplexities[0].context = 512;
  const Table table = comparison_table(comparison);
  EXPECT_EQ(table.rows[1][2], "");
}

TEST(ComparisonHtml, IsOnePageWithoutScriptOrOtherFiles) {
  const std::string page = comparison_html(sample());
  for (const char* forbidden : {"<script", "http://", "https://", "src=", "@import", "url("}) {
    EXPECT_EQ(page.find(forbidden), std::string::npos) << forbidden;
  }
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>"));
  EXPECT_NE(page.find("prefers-color-scheme: dark"), std::string::npos);
}

TEST(ComparisonHtml, EscapesWhatItIsGiven) {
  const std::string page = comparison_html(sample());
  EXPECT_EQ(page.find("<i>"), std::string::npos);
  EXPECT_NE(page.find("&lt;i&gt;out&lt;/i&gt;"), std::string::npos);
  EXPECT_NE(page.find("busy &amp; slow"), std::string::npos);
}

TEST(ComparisonHtml, SaysWhatRanAndHowItWasMeasured) {
  const std::string page = comparison_html(sample());
  EXPECT_NE(page.find("1 \u00D7 w4g32-a8t (w4a8_gemm, avx2)"), std::string::npos);
  EXPECT_NE(page.find("model.layers.0.mlp.up_proj"), std::string::npos);
  EXPECT_NE(page.find("fptq compare base"), std::string::npos);
}

}  // namespace
}  // namespace fptq::report
