#include <gtest/gtest.h>

#include <limits>

#include "report/comparison.h"
#include "report/test_comparisons.h"

namespace fptq::report {
namespace {

using testing::full_sample;
using testing::sample;
using testing::sample_with_pair;

std::size_t count(const std::string& text, const std::string& wanted) {
  std::size_t found = 0;
  for (std::size_t at = text.find(wanted); at != std::string::npos;
       at = text.find(wanted, at + 1)) {
    ++found;
  }
  return found;
}

bool has(const std::string& page, const std::string& wanted) {
  return page.find(wanted) != std::string::npos;
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

TEST(ComparisonHtml, HasASectionForEverythingThatWasMeasured) {
  const std::string page = comparison_html(full_sample());
  for (const char* id :
       {"quality", "divergence", "layers", "cost", "samples", "receipt", "repeat"}) {
    EXPECT_EQ(count(page, "<h2 id=\"" + std::string(id) + "\">"), 1U) << id;
    EXPECT_EQ(count(page, "<a href=\"#" + std::string(id) + "\">"), 1U) << id;
  }
  for (const char* text :
       {"arc_easy acc_norm against size", "Perplexity against size", "Divergence against size",
        "500 positions, 7 below and 3 above the scale",
        "baseline gives it 0 to 50 % (100 positions)", "80.0 % \u00B1 4.0",
        "relative error of the weights by block and linear", "9.00 % \u25C0",
        "largest magnitude of each linear", "Bytes on disk by kind of tensor",
        "median 21.0 ms, p95 29.0 ms", "\u2248 not distinguishable"}) {
    EXPECT_TRUE(has(page, text)) << text;
  }
}

TEST(ComparisonHtml, SetsCandidatesBesideEachOther) {
  const std::string page = comparison_html(sample_with_pair());
  EXPECT_TRUE(has(page, "Paired tests of two candidates"));
  EXPECT_TRUE(has(page, "it is lower"));
  EXPECT_FALSE(has(comparison_html(full_sample()), "Paired tests of two candidates"));
}

TEST(ComparisonHtml, LeavesOutWhatWasNotMeasured) {
  Comparison comparison;
  comparison.models.emplace_back().name = "alone";
  const std::string page = comparison_html(comparison);
  EXPECT_TRUE(has(page, "<h1>alone</h1>"));
  EXPECT_EQ(count(page, "<h2"), 1U);
  EXPECT_EQ(count(page, "<figure"), 0U);
  EXPECT_FALSE(has(page, "beside"));
}

TEST(ComparisonHtml, IsWholeWithoutADivergence) {
  Comparison comparison = full_sample();
  comparison.models[1].divergence.reset();
  const std::string page = comparison_html(comparison);
  EXPECT_FALSE(has(page, "id=\"divergence\""));
  EXPECT_TRUE(has(page, "id=\"quality\""));
}

TEST(ComparisonHtml, MarksTheFirstTokenThatDiffersInWordsToo) {
  const std::string page = comparison_html(full_sample());
  EXPECT_TRUE(has(page, " a<mark> day</mark> it rained"));
  EXPECT_TRUE(has(page, "1 of 4 tokens agree; the first that differs is \u201Cday\u201D."));
  EXPECT_TRUE(has(page, "Once upon \u2026"));
}

TEST(ComparisonHtml, SaysWhereSampleTextsAreTheSame) {
  Comparison comparison = full_sample();
  comparison.models[1].continuations = comparison.models[0].continuations;
  const std::string page = comparison_html(comparison);
  EXPECT_TRUE(has(page, "The same as the baseline: 2 of 2 tokens agree."));
  EXPECT_FALSE(has(page, "<mark>"));
}

TEST(ComparisonHtml, EscapesTextsOfModelsAndOfEverythingElse) {
  const std::string evil = "</p><script>x</script>\u202Egpj.\x1B[31m\xFF";
  Comparison comparison = full_sample();
  for (ModelFigures& model : comparison.models) {
    model.name = evil + model.name;
    model.scheme = evil;
    model.receipt.push_back({evil, evil, evil, evil, 1});
    model.tasks[0].name = evil;
    model.perplexities[0].protocol = evil;
    model.continuations = {{evil, evil, evil, 3, 1, true, evil}};
    model.weight_errors.push_back({0, evil, evil, 0.1});
    model.activations.push_back({0, evil, 1.0, 1.0, {}, evil});
    model.disk_by_kind.push_back({evil, 5});
    model.verdicts.push_back({evil, 0.0, {}, {}, {}, 0, true, evil});
  }
  comparison.prompts = {evil};
  comparison.warnings = {evil};
  comparison.provenance = {{evil, evil}};
  for (const std::string& text : {comparison_html(comparison), comparison_markdown(comparison)}) {
    EXPECT_FALSE(has(text, "<script"));
    EXPECT_FALSE(has(text, "\u202E"));
    EXPECT_FALSE(has(text, "\x1B"));
    EXPECT_FALSE(has(text, "\xFF"));
    EXPECT_TRUE(has(text, "&lt;script&gt;"));
  }
  EXPECT_FALSE(has(comparison_csv(comparison), "\x1B"));
}

TEST(ComparisonHtml, DrawsNothingThatIsNoNumber) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (const double value : {kInfinity, -kInfinity, kNan}) {
    Comparison comparison = full_sample();
    ModelFigures& model = comparison.models[1];
    model.perplexities[0] = {"gptq", "token", 2048, 1000, value, value, value, {{value, value}}};
    model.divergence->mean = model.divergence->max = value;
    model.divergence->interval = {value, value};
    model.divergence->by_confidence[0].agreement = value;
    model.tasks[0].acc = value;
    model.decode_tok_s = value;
    model.token_s = {value, 0.01};
    model.token_s_median = model.token_s_p95 = value;
    for (WeightErrorFigure& error : model.weight_errors) error.relative_error = value;
    const std::string page = comparison_html(comparison);
    for (const char* attribute :
         {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height", "points", "viewBox"}) {
      for (const char* bad : {"nan", "inf", "-inf", "-nan"}) {
        EXPECT_FALSE(has(page, " " + std::string(attribute) + "=\"" + bad))
            << attribute << " " << value;
      }
    }
  }
}

TEST(ComparisonHtml, CanBeReadByKeyboardByEarAndInPrint) {
  const std::string page = comparison_html(full_sample());
  EXPECT_TRUE(has(page, "<a class=\"skip\" href=\"#main\">"));
  EXPECT_TRUE(has(page, "<main id=\"main\">"));
  EXPECT_TRUE(has(page, "@media print"));
  EXPECT_EQ(count(page, "<h1"), 1U);
  // Every table has a caption, every scrolling part a name, every drawing words.
  EXPECT_EQ(count(page, "<table"), count(page, "<caption>"));
  EXPECT_EQ(count(page, "<div class=\"scroll"), count(page, "role=\"region\" tabindex=\"0\""));
  EXPECT_EQ(count(page, "<svg"), count(page, "role=\"img\" aria-label=\""));
  EXPECT_FALSE(has(page, "aria-label=\"\""));
  EXPECT_EQ(count(page, "<details"), count(page, "<details open>"));
}

}  // namespace
}  // namespace fptq::report
