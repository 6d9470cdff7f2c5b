// What running a model costs: time, memory and energy of one process.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/progress.h"
#include "base/result.h"
#include "model/kv_cache.h"
#include "model/llama_model.h"

namespace fptq::eval {

struct CostOptions {
  std::size_t prompt_tokens = 512;    // at least 1
  std::size_t generated_tokens = 64;  // at least 1
  model::KvType kv = model::KvType::kF32;
  std::uint64_t seed = 0;  // of the prompt's ids
};

// Of one process that loaded a model, read a prompt and generated greedily. Absent: the system does
// not tell.
struct ModelCost {
  std::size_t prompt_tokens = 0;
  // From opening the files until the model can run; files may be in the system's cache.
  double load_s = 0.0;
  // From the prompt's ids until the first token is chosen: the first pass after loading, which
  // reads from disk whatever loading has only mapped.
  double first_token_s = 0.0;
  double prefill_tok_s = 0.0;      // prompt tokens per second, once everything has run before
  std::vector<double> token_s;     // of each generated token: one pass and the choice of the token
  std::optional<double> energy_j;  // of the processor packages, while generating
  std::optional<std::uint64_t> peak_rss_bytes;
  std::optional<double> idle_before;    // share of the machine that did nothing before loading
  std::optional<double> others_during;  // share that other processes used from then on

  // Generated tokens per second, all of them together.
  [[nodiscard]] double decode_tok_s() const;
  // Share of the machine that other processes used before or during the measurement, whichever is
  // larger: one that is over in a moment has only the share before.
  [[nodiscard]] std::optional<double> other_work() const;
};

// Loads a model with `load`, whose result has to stay valid, and measures it, in a process that has
// done nothing else before: what it had in memory earlier would count for the peak.
//
// A model made for fewer tokens generates at most a quarter of them, and the prompt is cut to what
// is left. Errors: load's; kInvalidArgument for a count of 0; kLimit where the cache does not fit;
// kInterrupted.
[[nodiscard]] Result<ModelCost> measure_cost(
    const std::function<Result<model::LlamaModel*>()>& load, const CostOptions& options,
    const ProgressFn& progress = {});

[[nodiscard]] Json to_json(const ModelCost& cost);
// The inverse. Errors: kFormat, beginning with `where`.
[[nodiscard]] Result<ModelCost> parse_model_cost(const Json& json, const std::string& where);

}  // namespace fptq::eval
