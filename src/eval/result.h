// Everything that was measured of one model, and its JSON.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/kl.h"
#include "eval/perplexity.h"
#include "eval/published.h"
#include "eval/resources.h"
#include "eval/task_result.h"

namespace fptq::eval {

struct EvalResult {
  std::string model;   // as the user named it
  std::string scheme;  // of its decoder linears: "w4g32-a8t", "bf16"
  std::vector<Perplexity> perplexities;
  std::vector<std::vector<PublishedPerplexity>> published;  // beside each of them; or empty
  std::vector<TaskResult> tasks;
  std::optional<KlDivergence> kl;  // from the baseline
  Resources resources;
};

// The object that `fptq eval --json` writes. What was not measured is null, never 0.
[[nodiscard]] Json to_json(const EvalResult& result);
[[nodiscard]] Json to_json(const Perplexity& perplexity);
[[nodiscard]] Json to_json(const TaskResult& task);
[[nodiscard]] Json to_json(const KlDivergence& kl);
[[nodiscard]] Json to_json(const Resources& resources);

}  // namespace fptq::eval
