#include "bench/bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/rng.h"
#include "bench/machine_load.h"

namespace fptq::bench {
namespace {

using Clock = std::chrono::steady_clock;

// How often an interruption is listened for, at most.
constexpr double kListeningSeconds = 0.2;
// (max - min) / median of runs on a machine that does nothing else stays below this.
constexpr double kUsualSpread = 0.15;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::vector<model::Profile::Entry> longest_first(const model::Profile& profile) {
  std::vector<model::Profile::Entry> entries = profile.entries();
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return entries;
}

// Multiplications and additions per token in the linears of all blocks.
double block_operations(const model::LlamaConfig& c) {
  const auto d = static_cast<double>(c.hidden_size);
  const auto attention = 2.0 * static_cast<double>(c.q_width() + c.kv_width()) * d;
  const auto mlp = 3.0 * static_cast<double>(c.intermediate_size) * d;
  return 2.0 * static_cast<double>(c.num_layers) * (attention + mlp);
}

double classifier_operations(const model::LlamaConfig& c) {
  return 2.0 * static_cast<double>(c.vocab_size) * static_cast<double>(c.hidden_size);
}

// Whether every linear of the blocks multiplied 8-bit activations.
bool ran_in_integers(const std::vector<model::ReceiptEntry>& receipt) {
  return std::all_of(receipt.begin(), receipt.end(), [](const model::ReceiptEntry& entry) {
    return !entry.layer.starts_with("model.layers.") ||
           entry.scheme.find("-a8") != std::string::npos;
  });
}

class Bench {
 public:
  Bench(model::LlamaModel& model, const BenchOptions& options, const ProgressFn& progress)
      : model_(model), options_(options), progress_(progress), rng_(options.seed) {
    const std::size_t runs = options.repeats + 1;
    total_ = options.prompt_tokens.size() * runs;
    if (options.decode_tokens > 0) {
      total_ += options.depths.size() * options.batches.size() * runs;
    }
  }

  Result<PrefillSpeed> prefill(std::size_t tokens, const MachineLimits& limits) {
    FPTQ_TRY(model::KvCache cache, model_.new_cache(tokens, options_.kv));
    const std::vector<std::int32_t> ids = random_ids(tokens);
    std::vector<float> logits(model_.config().vocab_size);
    std::vector<double> speeds;
    model::Profile profile;
    for (std::size_t run = 0; run <= options_.repeats; ++run) {
      if (run == 1 && options_.profile) model_.set_profile(&profile);
      cache.truncate(0);
      const Clock::time_point start = Clock::now();
      FPTQ_TRY_VOID(read_prompt(ids, cache, logits));
      const double seconds = seconds_since(start);
      if (run > 0) speeds.push_back(static_cast<double>(tokens) / seconds);
      FPTQ_TRY_VOID(report("prefill"));
    }
    model_.set_profile(nullptr);
    PrefillSpeed speed{tokens, spread_of(speeds), 0.0, std::nullopt, longest_first(profile)};
    const double operations = block_operations(model_.config()) * static_cast<double>(tokens) +
                              classifier_operations(model_.config());
    speed.gops = operations * speed.tok_s.median / static_cast<double>(tokens) * 1e-9;
    if (ran_in_integers(model_.receipt())) {
      speed.fraction_of_int8_peak = speed.gops / limits.int8_gops;
    }
    return speed;
  }

  Result<DecodeSpeed> decode(std::size_t depth, std::size_t batch, const MachineLimits& limits) {
    std::vector<model::KvCache> caches;
    for (std::size_t b = 0; b < batch; ++b) {
      FPTQ_TRY(model::KvCache cache, model_.new_cache(depth + options_.decode_tokens, options_.kv));
      FPTQ_TRY_VOID(fill(cache, depth));
      caches.push_back(std::move(cache));
    }
    std::vector<double> speeds;
    model::Profile profile;
    for (std::size_t run = 0; run <= options_.repeats; ++run) {
      if (run == 1 && options_.profile) model_.set_profile(&profile);
      for (model::KvCache& cache : caches) cache.truncate(depth);
      FPTQ_TRY(const double seconds, decode_once(caches));
      if (run > 0) {
        speeds.push_back(static_cast<double>(batch * options_.decode_tokens) / seconds);
      }
      FPTQ_TRY_VOID(report("decode"));
    }
    model_.set_profile(nullptr);
    DecodeSpeed speed{depth, batch, spread_of(speeds), 0.0, 0.0, longest_first(profile)};
    const double steps_per_second = speed.tok_s.median / static_cast<double>(batch);
    speed.gb_s = bytes_per_step(caches, depth) * steps_per_second * 1e-9;
    speed.fraction_of_dram = speed.gb_s / limits.dram_read_gb_s;
    return speed;
  }

 private:
  std::vector<std::int32_t> random_ids(std::size_t count) {
    std::vector<std::int32_t> ids(count);
    for (std::int32_t& id : ids) {
      id = static_cast<std::int32_t>(rng_.below(model_.config().vocab_size));
    }
    return ids;
  }

  Status report(std::string_view stage) {
    ++done_;
    return listen(stage);
  }

  // Hears of an interruption.
  Status listen(std::string_view stage) {
    last_listened_ = Clock::now();
    if (report_progress(progress_, stage, done_, total_)) return {};
    return Error{Error::Kind::kInterrupted, "bench: interrupted"};
  }

  // The same in the middle of what is timed, where asking each time would be timed as well.
  Status listen_seldom(std::string_view stage) {
    return seconds_since(last_listened_) < kListeningSeconds ? Status{} : listen(stage);
  }

  // In the model's own passes, so that a long prompt can be interrupted.
  Status read_prompt(std::span<const std::int32_t> ids, model::KvCache& cache,
                     std::vector<float>& logits) {
    while (!ids.empty()) {
      const auto pass = ids.first(std::min(model::kPassTokens, ids.size()));
      ids = ids.subspan(pass.size());
      const bool last = ids.empty();
      const model::SequenceInput input = {
          pass, &cache, last ? model::LogitsWanted::kLast : model::LogitsWanted::kNone,
          cache.length() + pass.size() + ids.size()};
      FPTQ_TRY_VOID(
          model_.forward({&input, 1}, last ? std::span<float>(logits) : std::span<float>()));
      FPTQ_TRY_VOID(listen_seldom("prefill"));
    }
    return {};
  }

  Status fill(model::KvCache& cache, std::size_t depth) {
    while (cache.length() < depth) {
      const auto ids = random_ids(std::min(model::kPassTokens, depth - cache.length()));
      const model::SequenceInput input = {ids, &cache, model::LogitsWanted::kNone, 0};
      FPTQ_TRY_VOID(model_.forward({&input, 1}, {}));
      FPTQ_TRY_VOID(listen_seldom("decode"));
    }
    return {};
  }

  // Seconds for decode_tokens steps of all sequences. The ids are known beforehand: what choosing
  // a token costs is not the model's.
  Result<double> decode_once(std::vector<model::KvCache>& caches) {
    const std::size_t batch = caches.size();
    const auto ids = random_ids(batch * options_.decode_tokens);
    std::vector<float> logits(batch * model_.config().vocab_size);
    std::vector<model::SequenceInput> inputs(batch);
    const Clock::time_point start = Clock::now();
    for (std::size_t step = 0; step < options_.decode_tokens; ++step) {
      for (std::size_t b = 0; b < batch; ++b) {
        inputs[b] = {{ids.data() + step * batch + b, 1}, &caches[b], model::LogitsWanted::kLast, 0};
      }
      FPTQ_TRY_VOID(model_.forward(inputs, logits));
      FPTQ_TRY_VOID(listen_seldom("decode"));
    }
    return seconds_since(start);
  }

  [[nodiscard]] double bytes_per_step(const std::vector<model::KvCache>& caches,
                                      std::size_t depth) const {
    const model::ModelBytes bytes = model_.bytes();
    const auto batch = static_cast<double>(caches.size());
    const double rows = static_cast<double>(bytes.embedding) /
                        static_cast<double>(model_.config().vocab_size) * batch;
    const double per_position =
        static_cast<double>(caches[0].bytes()) / static_cast<double>(caches[0].capacity());
    const double positions =
        static_cast<double>(depth) + (static_cast<double>(options_.decode_tokens) + 1.0) / 2.0;
    return static_cast<double>(bytes.total() - bytes.embedding) + rows +
           batch * per_position * positions;
  }

  model::LlamaModel& model_;
  const BenchOptions& options_;
  const ProgressFn& progress_;
  Rng rng_;
  std::uint64_t done_ = 0;
  std::uint64_t total_ = 0;
  Clock::time_point last_listened_ = Clock::now();
};

Status check(const BenchOptions& options) {
  const auto has_zero = [](const std::vector<std::size_t>& counts) {
    return std::find(counts.begin(), counts.end(), 0u) != counts.end();
  };
  const char* zero = options.repeats == 0              ? "repeats"
                     : has_zero(options.prompt_tokens) ? "prompt tokens"
                     : has_zero(options.batches)       ? "batch"
                                                       : nullptr;
  if (zero == nullptr) return {};
  return Error{Error::Kind::kInvalidArgument,
               std::string("bench: ") + zero + ": expected at least 1, got 0"};
}

void warn_of_spread(const char* what, const Spread& spread, std::vector<std::string>& warnings) {
  const double width = (spread.max - spread.min) / spread.median;
  if (width <= kUsualSpread) return;
  warnings.push_back(std::string(what) + ": the runs differ by " +
                     std::to_string(std::lround(100.0 * width)) +
                     " percent; close other programs and measure again");
}

Json spread_json(Json json, const Spread& spread) {
  json["tok_s_median"] = spread.median;
  json["tok_s_min"] = spread.min;
  json["tok_s_max"] = spread.max;
  return json;
}

void add_profile(const std::vector<model::Profile::Entry>& profile, Json& entry) {
  if (profile.empty()) return;
  double total = 0.0;
  for (const model::Profile::Entry& operation : profile) total += operation.seconds;
  Json list = Json::array();
  for (const model::Profile::Entry& operation : profile) {
    list.push_back({{"operation", operation.operation},
                    {"seconds", operation.seconds},
                    {"fraction", operation.seconds / total},
                    {"calls", operation.calls}});
  }
  entry["profile"] = std::move(list);
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2.0;
  return {median, values.front(), values.back()};
}

Result<BenchResult> run_bench(model::LlamaModel& model, ThreadPool& pool, Isa isa,
                              const BenchOptions& options, const ProgressFn& progress) {
  FPTQ_TRY_VOID(check(options));
  const MachineLoad load;
  BenchResult result;
  result.cpu = cpu_name();
  result.isa = isa;
  result.threads = pool.threads();
  if (options.limits) {
    result.limits = *options.limits;
  } else {
    FPTQ_TRY(result.limits, measure_limits(pool, isa));
  }

  Bench bench(model, options, progress);
  for (const std::size_t tokens : options.prompt_tokens) {
    FPTQ_TRY(const PrefillSpeed speed, bench.prefill(tokens, result.limits));
    warn_of_spread("prefill", speed.tok_s, result.warnings);
    result.prefill.push_back(speed);
  }
  for (const std::size_t batch : options.batches) {
    for (const std::size_t depth : options.depths) {
      if (options.decode_tokens == 0) break;
      FPTQ_TRY(const DecodeSpeed speed, bench.decode(depth, batch, result.limits));
      warn_of_spread("decode", speed.tok_s, result.warnings);
      result.decode.push_back(speed);
    }
  }
  result.receipt = model.receipt();
  for (std::string& warning : load.warnings(pool.threads())) {
    result.warnings.push_back(std::move(warning));
  }
  return result;
}

Json to_json(const BenchResult& result) {
  Json prefill = Json::array();
  for (const PrefillSpeed& speed : result.prefill) {
    Json entry = spread_json({{"tokens", speed.tokens}}, speed.tok_s);
    entry["gops"] = speed.gops;
    entry["fraction_of_int8_peak"] =
        speed.fraction_of_int8_peak ? Json(*speed.fraction_of_int8_peak) : Json(nullptr);
    add_profile(speed.profile, entry);
    prefill.push_back(std::move(entry));
  }
  Json decode = Json::array();
  for (const DecodeSpeed& speed : result.decode) {
    Json entry = spread_json({{"depth", speed.depth}, {"batch", speed.batch}}, speed.tok_s);
    entry["gb_s"] = speed.gb_s;
    entry["fraction_of_dram"] = speed.fraction_of_dram;
    add_profile(speed.profile, entry);
    decode.push_back(std::move(entry));
  }
  Json receipt = Json::array();
  for (const model::ReceiptEntry& entry : result.receipt) {
    receipt.push_back({{"layer", entry.layer},
                       {"scheme", entry.scheme},
                       {"kernel", entry.kernel},
                       {"isa", entry.isa},
                       {"calls", entry.calls}});
  }
  return {{"machine",
           {{"cpu", result.cpu},
            {"isa", isa_name(result.isa)},
            {"threads", result.threads},
            {"dram_read_gb_s", result.limits.dram_read_gb_s},
            {"int8_gops", result.limits.int8_gops},
            {"f32_gflops", result.limits.f32_gflops}}},
          {"prefill", std::move(prefill)},
          {"decode", std::move(decode)},
          {"receipt", std::move(receipt)},
          {"warnings", result.warnings}};
}

}  // namespace fptq::bench
