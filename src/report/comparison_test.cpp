#include "report/comparison.h"

#include <gtest/gtest.h>

#include <limits>

#include "report/test_comparisons.h"

namespace fptq::report {
namespace {

using testing::full_sample;
using testing::sample;
using testing::sample_with_pair;

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

TEST(ComparisonTable, SetsTasksAndTheirDifferencesFirst) {
  const Table table = comparison_table(full_sample());
  std::vector<std::string> found;
  for (std::size_t i = 2; i < 8; ++i) {
    found.push_back(table.columns[i].header + ": " + table.rows[1][i]);
  }
  EXPECT_EQ(found, (std::vector<std::string>{
                       "arc_easy acc: 60.00 \u00B1 2.00 %", "points: -1.00 \u2248",
                       "arc_easy acc_norm: 56.00 \u00B1 2.20 %", "points: +1.00",
                       "ppl gptq: 10.5000 \u00B1 0.1000", "change: +5.00 % \u2260"}));
}

TEST(ComparisonTable, ComparesNoTasksOfOtherDocumentsOrExamples) {
  for (const bool other_shots : {false, true}) {
    Comparison comparison = full_sample();
    TaskFigure& task = comparison.models[1].tasks[0];
    (other_shots ? task.shots : task.documents) = 5;
    EXPECT_EQ(comparison_table(comparison).rows[1][2], "");
    EXPECT_EQ(comparison_table(comparison).rows[0][2], "61.00 \u00B1 2.00 %");
  }
}

TEST(ComparisonLegend, ExplainsMarksWhereATestWasMadeAndSaysWhereNone) {
  const auto text = [](const Comparison& comparison) {
    std::string all;
    for (const std::string& line : comparison_legend(comparison)) all += line + "\n";
    return all;
  };
  EXPECT_NE(text(full_sample()).find("\u2248: no difference is distinguishable"),
            std::string::npos);
  EXPECT_EQ(text(full_sample()).find("No paired test was made"), std::string::npos);
  EXPECT_EQ(text(sample()).find("\u2248"), std::string::npos);
  EXPECT_NE(text(sample()).find("No paired test was made"), std::string::npos);
  Comparison alone = sample();
  alone.models.resize(1);
  EXPECT_EQ(text(alone).find("No paired test was made"), std::string::npos);
}

TEST(DisplayNames, AreTheEndsOfPathsWhereThoseDiffer) {
  Comparison comparison;
  for (const char* name : {"models/a/", "out/b", "", "/", "x/same", "y/same"}) {
    comparison.models.emplace_back().name = name;
  }
  EXPECT_EQ(display_names(comparison),
            (std::vector<std::string>{"a", "b", "model 3", "/", "x/same", "y/same"}));
}

TEST(SummarySentences, SayWhatIsGainedAndLost) {
  EXPECT_EQ(summary_sentences(full_sample()),
            (std::vector<std::string>{
                "i> (w4g32-a8t) is 4.0 times smaller and 2.5 times faster at decoding; perplexity "
                "rises by 5.0 % (more than chance); 95.0 % of the most probable tokens agree; "
                "accuracy on arc_easy is not distinguishable from the baseline's."}));
}

TEST(SummarySentences, ClaimNothingThatWasNotMeasuredOrTested) {
  Comparison comparison = full_sample();
  ModelFigures& candidate = comparison.models[1];
  candidate.verdicts.clear();
  candidate.divergence.reset();
  candidate.decode_tok_s.reset();
  candidate.disk_bytes = std::uint64_t{5} << 20;
  EXPECT_EQ(summary_sentences(comparison)[0],
            "i> (w4g32-a8t) is 1.25 times larger; perplexity rises by 5.0 %; accuracy on arc_easy "
            "falls by 1.00 points (not tested).");
  comparison.models[1] = {};
  comparison.models[1].name = "x";
  EXPECT_EQ(summary_sentences(comparison)[0],
            "x: nothing was measured that compares with the baseline.");
  comparison.models.resize(1);
  EXPECT_TRUE(summary_sentences(comparison).empty());
}

TEST(SummarySentences, NameValuesThatAreNoNumbers) {
  Comparison comparison = sample();
  comparison.models[1].perplexities[0].value = std::numeric_limits<double>::infinity();
  comparison.models[1].decode_tok_s = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(summary_sentences(comparison)[0],
            "i> (w4g32-a8t) is 4.0 times smaller; perplexity is inf; 95.0 % of the most probable "
            "tokens agree.");
}

TEST(ComparisonCsv, HasEveryDigitAndNoEmptyColumns) {
  Comparison comparison = sample();
  comparison.models[0].name = "a,\"b\"";
  comparison.models[1].perplexities[0].value = 10.0 + 1.0 / 3.0;
  comparison.models[1].divergence.reset();
  EXPECT_EQ(comparison_csv(comparison),
            "model,scheme,ppl_gptq_ctx2048,ppl_gptq_ctx2048_stderr,disk_bytes,decode_tok_s\n"
            "\"a,\"\"b\"\"\",bf16,10,0.1,4194304,50\n"
            "<i>out</i>,w4g32-a8t,10.333333333333334,0.1,1048576,125\n");
}

TEST(ComparisonCsv, GuardsNamesThatSpreadsheetsTakeForFormulas) {
  Comparison comparison = sample();
  comparison.models[0].name = "=cmd|'/C calc'!A0";
  comparison.models[0].scheme = "@sum";
  comparison.models[1].name = "-1+2";
  comparison.models[1].decode_tok_s = -125.0;  // a number keeps its sign
  const std::string csv = comparison_csv(comparison);
  EXPECT_NE(csv.find("\n'=cmd|'/C calc'!A0,'@sum,"), std::string::npos) << csv;
  EXPECT_NE(csv.find("\n'-1+2,"), std::string::npos) << csv;
  EXPECT_NE(csv.find(",-125\n"), std::string::npos) << csv;
}

TEST(ComparisonCsv, HasTasksAndVerdicts) {
  const std::string csv = comparison_csv(full_sample());
  const std::string header = csv.substr(0, csv.find('\n'));
  EXPECT_NE(header.find("arc_easy_n,arc_easy_acc,arc_easy_acc_stderr,arc_easy_acc_norm,"),
            std::string::npos);
  EXPECT_NE(header.find("arc_easy acc difference,arc_easy acc difference low"), std::string::npos);
  EXPECT_NE(csv.find(",-0.01,-0.03,0.01,0.4,no,0.5,0.3,0.7,0.001,yes\n"), std::string::npos);
}

TEST(ComparisonCsv, SetsAPairInTheLineOfItsSecondCandidate) {
  const std::string csv = comparison_csv(sample_with_pair());
  const std::string header = csv.substr(0, csv.find('\n'));
  EXPECT_TRUE(header.ends_with(
      ",KL divergence difference beside <i>out</i>,KL divergence difference low beside <i>out</i>,"
      "KL divergence difference high beside <i>out</i>,KL divergence p beside <i>out</i>,"
      "KL divergence distinguishable beside <i>out</i>"))
      << header;
  EXPECT_TRUE(csv.ends_with(",yes,-0.015,-0.02,-0.01,0.002,yes\n")) << csv;
  EXPECT_NE(csv.find(",yes,,,,,\n"), std::string::npos) << csv;  // the first candidate's line
}

TEST(ComparisonMarkdown, SetsCandidatesBesideEachOther) {
  const std::string text = comparison_markdown(sample_with_pair());
  EXPECT_NE(text.find("## Differences between candidates"), std::string::npos);
  EXPECT_NE(
      text.find("| int8 | i&gt; | KL divergence | -0.0150 | -0.0200 to -0.0100 | 0.0020 | 20 | "
                "\u2260 differs | it is lower |"),
      std::string::npos)
      << text;
  EXPECT_EQ(comparison_markdown(full_sample()).find("between candidates"), std::string::npos);
}

TEST(ComparisonMarkdown, ShowsPartsThatDiffer) {
  Comparison comparison = full_sample();
  comparison.models[1].verdicts.push_back(
      {"mmlu_a acc", -0.1, {}, {}, 0.5, 9, false, "alike", true});
  comparison.models[1].verdicts.push_back(
      {"mmlu_b acc", -0.9, {}, {}, 0.01, 9, true, "worse", true});
  const std::string text = comparison_markdown(comparison);
  EXPECT_EQ(text.find("alike"), std::string::npos);
  EXPECT_NE(text.find("| mmlu\\_b acc | -0.900 |"), std::string::npos) << text;
  EXPECT_NE(comparison_csv(comparison).find("mmlu_a acc difference"), std::string::npos);
}

TEST(ComparisonMarkdown, BoundsATinyP) {
  Comparison comparison = sample_with_pair();
  comparison.pairs[0].verdicts[0].p = 0.0;
  EXPECT_NE(comparison_markdown(comparison).find("| &lt; 0.0001 | 20 |"), std::string::npos);
}

TEST(ComparisonMarkdown, HasSummaryTableVerdictsAndProvenance) {
  const std::string text = comparison_markdown(full_sample());
  EXPECT_TRUE(text.starts_with("# base and models made from it\n\n> **Warning:** busy &amp; slow"));
  EXPECT_NE(text.find("\n- i&gt; (w4g32-a8t) is 4.0 times smaller"), std::string::npos);
  EXPECT_NE(text.find("\n| &lt;i&gt;out&lt;/i&gt; | w4g32-a8t | 60.00 \u00B1 2.00 % |"),
            std::string::npos);
  EXPECT_NE(
      text.find("## Differences from the baseline\n\nPaired tests of candidate minus baseline, "),
      std::string::npos);
  EXPECT_NE(text.find("| \u2260 differs | it rises |"), std::string::npos);
  EXPECT_NE(text.find("| command | fptq compare base '&lt;i&gt;out&lt;/i&gt;' |"),
            std::string::npos);
}

}  // namespace
}  // namespace fptq::report
