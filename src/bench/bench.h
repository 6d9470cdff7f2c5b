// How fast a model runs, beside what the machine could do at most.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "bench/roofline.h"
#include "model/kv_cache.h"
#include "model/llama_model.h"

namespace fptq::bench {

struct BenchOptions {
  std::vector<std::size_t> prompt_tokens = {512};  // lengths of prompts; empty: no prefill
  std::size_t decode_tokens = 128;                 // tokens generated in one run; 0: no decode
  std::vector<std::size_t> depths = {0};           // positions in the cache before the first token
  std::vector<std::size_t> batches = {1};          // sequences that decode together
  std::size_t repeats = 5;                         // timed runs of each, after one that is not
  model::KvType kv = model::KvType::kF32;
  bool profile = false;                 // whether to say where the time goes
  std::uint64_t seed = 0;               // of the token ids
  std::optional<MachineLimits> limits;  // where they are known already; empty: measured first
};

// Of the timed runs.
struct Spread {
  double median;
  double min;
  double max;
};

struct PrefillSpeed {
  std::size_t tokens;
  Spread tok_s;
  // 1e9 multiplications and additions of linears per second, in the median run.
  double gops;
  // gops / MachineLimits::int8_gops where every decoder linear ran in integers.
  std::optional<double> fraction_of_int8_peak;
  // Of all timed runs, longest first; empty unless BenchOptions::profile.
  std::vector<model::Profile::Entry> profile;
};

struct DecodeSpeed {
  std::size_t depth;
  std::size_t batch;
  Spread tok_s;  // of all sequences together
  // Bytes that a step cannot avoid reading, 1e9 a second in the median run: every weight once
  // (of a separate embedding only the rows looked up) and the caches.
  double gb_s;
  double fraction_of_dram;  // gb_s / MachineLimits::dram_read_gb_s; above 1 caches helped
  std::vector<model::Profile::Entry> profile;  // as of PrefillSpeed
};

struct BenchResult {
  std::string cpu;
  Isa isa = Isa::kScalar;
  std::size_t threads = 1;
  MachineLimits limits{};
  std::vector<PrefillSpeed> prefill;
  std::vector<DecodeSpeed> decode;
  std::vector<model::ReceiptEntry> receipt;
  // Signs that the machine was doing other work: numbers are then lower than they should be.
  std::vector<std::string> warnings;
};

// Measures the machine's limits (unless options.limits has them), then prefill and decode. isa:
// what the model was loaded with. Errors: kInvalidArgument for a count of 0; kLimit where caches do
// not fit; kInterrupted.
[[nodiscard]] Result<BenchResult> run_bench(model::LlamaModel& model, ThreadPool& pool, Isa isa,
                                            const BenchOptions& options,
                                            const ProgressFn& progress = {});

// The object that `fptq bench --json` writes.
[[nodiscard]] Json to_json(const BenchResult& result);

// Middle value, or the mean of the two middle ones; smallest and largest. At least one value.
[[nodiscard]] Spread spread_of(std::vector<double> values);

}  // namespace fptq::bench
