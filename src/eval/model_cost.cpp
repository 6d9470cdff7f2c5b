#include "eval/model_cost.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <span>
#include <thread>

#include "base/rng.h"
#include "eval/energy_meter.h"
#include "eval/machine_noise.h"
#include "eval/resources.h"
#include "eval/softmax.h"

namespace fptq::eval {
namespace {

using Clock = std::chrono::steady_clock;

// Long enough for a clock that ticks a hundred times a second.
constexpr std::chrono::milliseconds kIdleSample{250};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// One sequence that reads a prompt and generates greedily.
class Generation {
 public:
  Generation(model::LlamaModel& model, model::KvCache& cache, const ProgressFn& progress,
             std::uint64_t passes)
      : model_(model),
        cache_(cache),
        progress_(progress),
        passes_(passes),
        logits_(model.config().vocab_size) {}

  // The token that follows `ids`, in passes of the model's own size so that a long prompt can be
  // interrupted.
  Result<std::int32_t> next(std::span<const std::int32_t> ids) {
    const std::size_t total = cache_.length() + ids.size();
    while (!ids.empty()) {
      const auto pass = ids.first(std::min(model::kPassTokens, ids.size()));
      ids = ids.subspan(pass.size());
      const bool last = ids.empty();
      const model::SequenceInput input = {
          pass, &cache_, last ? model::LogitsWanted::kLast : model::LogitsWanted::kNone, total};
      FPTQ_TRY_VOID(
          model_.forward({&input, 1}, last ? std::span<float>(logits_) : std::span<float>()));
      done_ = std::min(done_ + 1, passes_);
      if (!report_progress(progress_, "resources", done_, passes_)) {
        return Error{Error::Kind::kInterrupted, "resources: interrupted"};
      }
    }
    return most_probable(logits_);
  }

 private:
  model::LlamaModel& model_;
  model::KvCache& cache_;
  const ProgressFn& progress_;
  std::uint64_t passes_;
  std::uint64_t done_ = 0;
  std::vector<float> logits_;
};

std::vector<std::int32_t> random_ids(std::size_t count, std::size_t vocabulary,
                                     std::uint64_t seed) {
  Rng rng(seed);
  std::vector<std::int32_t> ids(count);
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(rng.below(vocabulary));
  return ids;
}

// Reads the prompt twice and generates; fills what depends on it.
Status run(model::LlamaModel& model, const CostOptions& options, const ProgressFn& progress,
           ModelCost& cost) {
  const std::size_t positions = model.config().max_positions;
  const std::size_t generated =
      std::min(options.generated_tokens, std::max<std::size_t>(1, positions / 4));
  cost.prompt_tokens =
      std::min(options.prompt_tokens, std::max(positions, generated + 1) - generated);
  FPTQ_TRY(model::KvCache cache, model.new_cache(cost.prompt_tokens + generated, options.kv));
  const std::vector<std::int32_t> prompt =
      random_ids(cost.prompt_tokens, model.config().vocab_size, options.seed);
  const std::size_t prompt_passes = (prompt.size() + model::kPassTokens - 1) / model::kPassTokens;
  Generation generation(model, cache, progress, 2 * prompt_passes + generated);

  Clock::time_point start = Clock::now();
  FPTQ_TRY(std::int32_t token, generation.next(prompt));
  cost.first_token_s = seconds_since(start);

  cache.truncate(0);
  start = Clock::now();
  FPTQ_TRY(token, generation.next(prompt));
  cost.prefill_tok_s = static_cast<double>(prompt.size()) / seconds_since(start);

  EnergyMeter energy;
  energy.start();
  for (std::size_t i = 0; i < generated; ++i) {
    start = Clock::now();
    FPTQ_TRY(token, generation.next({&token, 1}));
    cost.token_s.push_back(seconds_since(start));
  }
  cost.energy_j = energy.joules();
  return {};
}

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

template <typename T>
std::optional<T> optional_at(const Json& json, const char* key) {
  const Json& value = json.at(key);
  return value.is_null() ? std::nullopt : std::optional<T>(value.get<T>());
}

}  // namespace

double ModelCost::decode_tok_s() const {
  double sum_s = 0.0;
  for (const double each_s : token_s) sum_s += each_s;
  return static_cast<double>(token_s.size()) / sum_s;
}

std::optional<double> ModelCost::other_work() const {
  std::optional<double> work = others_during;
  if (idle_before) work = std::max(work.value_or(0.0), 1.0 - *idle_before);
  return work;
}

Result<ModelCost> measure_cost(const std::function<Result<model::LlamaModel*>()>& load,
                               const CostOptions& options, const ProgressFn& progress) {
  if (options.prompt_tokens == 0 || options.generated_tokens == 0) {
    return Error{Error::Kind::kInvalidArgument,
                 "resources: expected at least 1 token to read and 1 to generate, got " +
                     std::to_string(options.prompt_tokens) + " and " +
                     std::to_string(options.generated_tokens)};
  }
  ModelCost cost;
  const std::optional<CpuTimes> before = cpu_times();
  std::this_thread::sleep_for(kIdleSample);
  const std::optional<CpuTimes> begin = cpu_times();
  cost.idle_before = idle_share(before, begin);

  const Clock::time_point start = Clock::now();
  FPTQ_TRY(model::LlamaModel* const model, load());
  cost.load_s = seconds_since(start);
  FPTQ_TRY_VOID(run(*model, options, progress, cost));
  cost.others_during = others_share(begin, cpu_times());
  cost.peak_rss_bytes = peak_rss_bytes();
  return cost;
}

Json to_json(const ModelCost& cost) {
  return {{"prompt_tokens", cost.prompt_tokens},
          {"load_s", cost.load_s},
          {"first_token_s", cost.first_token_s},
          {"prefill_tok_s", cost.prefill_tok_s},
          {"decode_tok_s", cost.decode_tok_s()},
          {"token_s", cost.token_s},
          {"energy_j", or_null(cost.energy_j)},
          {"peak_rss_bytes", or_null(cost.peak_rss_bytes)},
          {"cpu_idle_before", or_null(cost.idle_before)},
          {"cpu_others_during", or_null(cost.others_during)}};
}

Result<ModelCost> parse_model_cost(const Json& json, const std::string& where) {
  // The library throws for a key that is absent or of another type.
  try {
    ModelCost cost;
    cost.prompt_tokens = json.at("prompt_tokens").get<std::size_t>();
    cost.load_s = json.at("load_s").get<double>();
    cost.first_token_s = json.at("first_token_s").get<double>();
    cost.prefill_tok_s = json.at("prefill_tok_s").get<double>();
    cost.token_s = json.at("token_s").get<std::vector<double>>();
    cost.energy_j = optional_at<double>(json, "energy_j");
    cost.peak_rss_bytes = optional_at<std::uint64_t>(json, "peak_rss_bytes");
    cost.idle_before = optional_at<double>(json, "cpu_idle_before");
    cost.others_during = optional_at<double>(json, "cpu_others_during");
    if (!cost.token_s.empty()) return cost;
  } catch (const Json::exception&) {
    // Told below.
  }
  return Error{Error::Kind::kFormat,
               where + ": expected what `fptq measure --json` writes, got something else"};
}

}  // namespace fptq::eval
