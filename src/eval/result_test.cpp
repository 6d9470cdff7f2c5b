#include "eval/result.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "eval/compare.h"

namespace fptq::eval {
namespace {

std::vector<std::string> keys(const Json& object) {
  std::vector<std::string> names;
  for (const auto& [name, value] : object.items()) names.push_back(name);
  return names;
}

EvalResult measured(double perplexity, std::uint64_t disk_bytes) {
  EvalResult result;
  result.model = "models/m";
  result.scheme = "w4g32-a8t";
  Perplexity entry;
  entry.value = perplexity;
  entry.standard_error = 0.25;
  entry.tokens = 100;
  entry.context = 2048;
  result.perplexities.push_back(entry);
  result.resources.disk_bytes = disk_bytes;
  return result;
}

TEST(EvalJson, HasTheKeysThatScriptsRelyOn) {
  EvalResult result = measured(10.0, 1000);
  result.kl = KlDivergence{};
  const Json json = to_json(result);
  EXPECT_EQ(keys(json),
            (std::vector<std::string>{"model", "scheme", "ppl", "tasks", "kl", "resources"}));
  for (const char* key :
       {"protocol", "value", "stderr", "nll", "tokens", "words", "bytes", "ctx", "byte_perplexity",
        "bits_per_byte", "cluster_stderr", "cluster_unit", "clusters", "ci95", "bos", "all_windows",
        "text_sha256", "window_nll", "window_tokens"}) {
    EXPECT_TRUE(json["ppl"][0].contains(key)) << key;
  }
  for (const char* key : {"mean", "stderr", "median", "p90", "p99", "max", "top1_agreement",
                          "rms_delta_p", "tokens"}) {
    EXPECT_TRUE(json["kl"].contains(key)) << key;
  }
  EXPECT_EQ(keys(json["resources"]),
            (std::vector<std::string>{"disk_bytes", "weights_bytes", "peak_rss_bytes", "load_s",
                                      "prefill_tok_s", "decode_tok_s", "gpu_peak_bytes",
                                      "disk_bytes_of", "first_token_s", "token_s_median",
                                      "token_s_p95", "energy_j_per_token", "cpu_idle_before",
                                      "cpu_others_during", "range_of", "rounds"}));
}

TEST(EvalJson, WritesNullForWhatWasNotMeasured) {
  const Json json = to_json(measured(10.0, 1000));
  EXPECT_EQ(json["ppl"][0]["value"], 10.0);
  EXPECT_EQ(json["ppl"][0]["stderr"], 0.25);
  EXPECT_TRUE(json["ppl"][0]["words"].is_null());
  EXPECT_TRUE(json["kl"].is_null());
  EXPECT_EQ(json["resources"]["disk_bytes"], 1000u);
  EXPECT_TRUE(json["resources"]["decode_tok_s"].is_null());
}

TEST(EvalJson, WritesTheIntervalAndTheWindowsOfAPerplexity) {
  EvalResult result = measured(10.0, 1000);
  EXPECT_TRUE(to_json(result)["ppl"][0]["ci95"].is_null());
  EXPECT_TRUE(to_json(result)["ppl"][0]["cluster_stderr"].is_null());
  Perplexity& perplexity = result.perplexities[0];
  perplexity.interval = Interval{9.5, 10.5};
  perplexity.cluster_standard_error = 0.25;
  perplexity.cluster_unit = ClusterUnit::kDocuments;
  perplexity.clusters = 2;
  perplexity.bos = true;
  perplexity.window_nll = {1.5, 2.5};
  perplexity.window_tokens = {3, 4};
  const Json json = to_json(perplexity);
  EXPECT_EQ(json["ci95"], Json({9.5, 10.5}));
  EXPECT_EQ(json["cluster_stderr"], 0.25);
  EXPECT_EQ(json["cluster_unit"], "documents");
  EXPECT_EQ(json["clusters"], 2u);
  EXPECT_EQ(json["bos"], true);
  EXPECT_EQ(json["all_windows"], true);
  EXPECT_EQ(json["window_nll"], Json({1.5, 2.5}));
  EXPECT_EQ(json["window_tokens"], Json({3, 4}));
}

TEST(EvalJson, WritesPublishedFiguresBesideAPerplexity) {
  EvalResult result = measured(10.0, 1000);
  EXPECT_EQ(to_json(result)["ppl"][0]["published"], Json::array());
  result.published = {{{"Llama-X", "bf16", Protocol::kGptq, 2048, 9.75, "a paper"}}};
  EXPECT_EQ(
      to_json(result)["ppl"][0]["published"],
      Json::array(
          {{{"model", "Llama-X"}, {"precision", "bf16"}, {"value", 9.75}, {"source", "a paper"}}}));
}

TEST(EvalJson, WritesTheBytesOfEachKindAndTheRounds) {
  Resources resources;
  EXPECT_TRUE(to_json(resources)["disk_bytes_of"].is_null());
  EXPECT_EQ(to_json(resources)["rounds"], Json::array());
  EXPECT_TRUE(to_json(resources)["range_of"]["load_s"].is_null());
  resources.disk_bytes_of = DiskBytes{1, 2, 3, 4, 5};
  ModelCost round;
  round.token_s = {0.5, 0.25};
  ModelCost slower = round;
  slower.token_s = {1.0, 1.0};
  add_costs({round, slower, round}, resources);
  const Json json = to_json(resources);
  EXPECT_EQ(json["range_of"]["decode_tok_s"], Json({1.0, 2.0 / 0.75}));
  EXPECT_EQ(
      json["disk_bytes_of"],
      Json({{"embedding", 1}, {"linears", 2}, {"classifier", 3}, {"norms", 4}, {"other", 5}}));
  EXPECT_EQ(json["rounds"][0]["token_s"], Json({0.5, 0.25}));
  EXPECT_EQ(json["token_s_median"], 0.5);
  EXPECT_TRUE(json["energy_j_per_token"].is_null());
}

TEST(EvalJson, WritesWhatADivergenceIsMadeOf) {
  DivergenceCollector collector;
  collector.begin_window();
  collector.add({0.02, true, 0.0, 0.95});
  const Json alone = to_json(collector.finish());
  EXPECT_TRUE(alone["stderr"].is_null());
  EXPECT_TRUE(alone["ci95"].is_null());
  EXPECT_TRUE(alone["stderr_of"]["p99"].is_null());
  EXPECT_TRUE(alone["by_confidence"][0]["agreement"].is_null());
  EXPECT_EQ(alone["by_confidence"][4], Json({{"from", 0.9},
                                             {"to", 1.0},
                                             {"tokens", 1},
                                             {"flips", 0},
                                             {"agreement", 1.0},
                                             {"stderr", nullptr},
                                             {"mean_kl", 0.02}}));
  collector.begin_window();
  collector.add({0.04, false, 0.1, 0.95});
  const Json json = to_json(collector.finish());
  EXPECT_EQ(json["flips"], 1u);
  EXPECT_EQ(json["stderr"], json["stderr_of"]["mean"]);
  EXPECT_NEAR(json["stderr"].get<double>(), 0.01, 1e-15);
  EXPECT_EQ(json["window_kl"], Json({0.02, 0.04}));
  EXPECT_EQ(json["window_tokens"], Json({1, 1}));
  const Json& histogram = json["histogram"];
  EXPECT_EQ(histogram["edges"].size(), histogram["counts"].size() + 1);
  EXPECT_EQ(histogram["counts"][17], 1u);  // from 10^-1.75 = 0.0178
  EXPECT_EQ(histogram["counts"][18], 1u);  // from 10^-1.5 = 0.0316
  EXPECT_EQ(histogram["below"], 0u);
  EXPECT_EQ(histogram["above"], 0u);
}

TEST(CompareJson, HoldsTheBaselineAndTheCandidates) {
  const Json json = to_json(Comparison{measured(10.0, 4000), {measured(10.5, 1000)}});
  EXPECT_EQ(keys(json), (std::vector<std::string>{"baseline", "candidates", "between"}));
  EXPECT_EQ(json["between"], Json::array());  // one candidate has no other beside it
  EXPECT_EQ(json["candidates"].size(), 1u);
  EXPECT_EQ(json["candidates"][0]["ppl"][0]["value"], 10.5);
}

TEST(ChangeFrom, ComparesWhatBothSidesMeasured) {
  EvalResult baseline = measured(10.0, 4000);
  EvalResult candidate = measured(10.5, 1000);
  baseline.resources.decode_tok_s = 50.0;
  candidate.resources.decode_tok_s = 125.0;
  candidate.resources.prefill_tok_s = 700.0;
  const Change change = change_from(baseline, candidate);
  EXPECT_NEAR(*change.perplexity_percent, 5.0, 1e-9);
  EXPECT_DOUBLE_EQ(*change.size_ratio, 4.0);
  EXPECT_DOUBLE_EQ(*change.decode_speedup, 2.5);
  EXPECT_FALSE(change.prefill_speedup.has_value());
  EXPECT_FALSE(change.weights_ratio.has_value());
}

TEST(ChangeFrom, DoesNotComparePerplexitiesOfDifferentProtocols) {
  const EvalResult baseline = measured(10.0, 4000);
  EvalResult candidate = measured(10.5, 1000);
  candidate.perplexities[0].context = 512;
  EXPECT_FALSE(change_from(baseline, candidate).perplexity_percent.has_value());
  EXPECT_FALSE(change_from(baseline, candidate, 1).perplexity_percent.has_value());
}

}  // namespace
}  // namespace fptq::eval
