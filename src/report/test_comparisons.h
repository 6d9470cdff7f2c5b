// Comparisons that tests begin with.

#pragma once

#include <limits>

#include "report/comparison.h"

namespace fptq::report::testing {

// A baseline and a candidate with a name that is markup.
inline Comparison sample() {
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

// The same with everything that can be measured.
inline Comparison full_sample() {
  Comparison comparison = sample();
  ModelFigures& base = comparison.models[0];
  ModelFigures& candidate = comparison.models[1];
  base.tasks.push_back({"arc_easy", 0, 500, 0.61, 0.02, 0.55, 0.022, {}, {}});
  candidate.tasks.push_back({"arc_easy", 0, 500, 0.6, 0.02, 0.56, 0.022, {}, {}});
  candidate.verdicts.push_back({"arc_easy acc", -0.01, -0.03, 0.01, 0.4, 500, false, "no loss"});
  candidate.verdicts.push_back({"ppl gptq", 0.5, 0.3, 0.7, 0.001, 20, true, "it rises"});
  candidate.divergence->interval = {0.018, 0.022};
  candidate.divergence->histogram = HistogramFigure{{0.001, 0.01, 0.1}, {300, 190}, 7, 3};
  candidate.divergence->by_confidence = {{0.0, 0.5, 100, 0.8, 0.04}, {0.5, 1.0, 0, {}, {}}};
  base.disk_by_kind = {{"embedding", 3 << 20}, {"decoder linears", 1 << 20}, {"other", 0}};
  candidate.disk_by_kind = {{"embedding", 1 << 19}, {"decoder linears", 1 << 19}, {"other", 0}};
  base.token_s = {0.02, 0.021, 0.03};
  base.token_s_median = 0.021;
  base.token_s_p95 = 0.029;
  candidate.weight_errors = {{0, "self_attn.q_proj", "w4g32-a8t", 0.08},
                             {0, "mlp.down_proj", "w4g32-a8t", 0.09},
                             {1, "self_attn.q_proj", "w4g32-a8t", 0.07}};
  candidate.activations = {{1, "mlp.down_proj", 40.5, 16.0, std::nullopt, "a8t"}};
  comparison.prompts = {"Once upon"};
  base.continuations = {{" a time", "", "", 2, 2, false, ""}};
  candidate.continuations = {{" a", " day", " it rained", 4, 1, true, "day"}};
  return comparison;
}

// The same with a second candidate, and what tells it from the first.
inline Comparison sample_with_pair() {
  Comparison comparison = full_sample();
  comparison.models.push_back(comparison.models[1]);
  comparison.models[2].name = "runs/int8";
  comparison.pairs = {
      {1, 2, {{"KL divergence", -0.015, -0.02, -0.01, 0.002, 20, true, "it is lower"}}}};
  return comparison;
}

}  // namespace fptq::report::testing
