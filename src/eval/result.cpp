#include "eval/result.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace fptq::eval {
namespace {

template <typename T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json interval_json(const std::optional<Interval>& interval) {
  return interval ? Json{interval->low, interval->high} : Json(nullptr);
}

Json confidence_json(const std::vector<ConfidenceBin>& bins) {
  Json list = Json::array();
  for (const ConfidenceBin& bin : bins) {
    list.push_back({{"from", bin.from},
                    {"to", bin.to},
                    {"tokens", bin.tokens},
                    {"flips", bin.flips},
                    {"agreement", or_null(bin.agreement)},
                    {"stderr", or_null(bin.standard_error)},
                    {"mean_kl", or_null(bin.mean_kl)}});
  }
  return list;
}

// [smallest, largest] over rounds; null without rounds.
template <typename ValueFn>
Json range_json(const std::vector<ModelCost>& rounds, const ValueFn& value) {
  if (rounds.empty()) return nullptr;
  const auto [low, high] =
      std::minmax_element(rounds.begin(), rounds.end(),
                          [&](const auto& a, const auto& b) { return value(a) < value(b); });
  return Json{value(*low), value(*high)};
}

Json ranges_json(const std::vector<ModelCost>& rounds) {
  using Cost = const ModelCost&;
  return {{"load_s", range_json(rounds, [](Cost c) { return c.load_s; })},
          {"first_token_s", range_json(rounds, [](Cost c) { return c.first_token_s; })},
          {"prefill_tok_s", range_json(rounds, [](Cost c) { return c.prefill_tok_s; })},
          {"decode_tok_s", range_json(rounds, [](Cost c) { return c.decode_tok_s(); })}};
}

Json disk_json(const std::optional<DiskBytes>& bytes) {
  if (!bytes) return nullptr;
  return {{"embedding", bytes->embedding},
          {"linears", bytes->linears},
          {"classifier", bytes->classifier},
          {"norms", bytes->norms},
          {"other", bytes->other}};
}

Json published_json(const std::vector<PublishedPerplexity>& figures) {
  Json list = Json::array();
  for (const PublishedPerplexity& figure : figures) {
    list.push_back({{"model", figure.model},
                    {"precision", figure.precision},
                    {"value", figure.value},
                    {"source", figure.source}});
  }
  return list;
}

Json histogram_json(const DivergenceHistogram& histogram) {
  Json edges = Json::array();
  for (std::size_t b = 0; b <= DivergenceHistogram::kBins; ++b) {
    edges.push_back(DivergenceHistogram::edge(b));
  }
  return {{"edges", std::move(edges)},
          {"counts", std::vector(histogram.counts().begin(), histogram.counts().end())},
          {"below", histogram.below()},
          {"above", histogram.above()}};
}

}  // namespace

Json to_json(const Perplexity& perplexity) {
  return {{"protocol", protocol_name(perplexity.protocol)},
          {"value", perplexity.value},
          {"stderr", or_null(perplexity.standard_error)},
          {"nll", perplexity.nll},
          {"tokens", perplexity.tokens},
          {"words", or_null(perplexity.words)},
          {"bytes", or_null(perplexity.bytes)},
          {"ctx", perplexity.context},
          {"byte_perplexity", or_null(perplexity.byte_perplexity)},
          {"bits_per_byte", or_null(perplexity.bits_per_byte)},
          {"document", document_mode_name(perplexity.documents)},
          {"windows", perplexity.window_nll.size()},
          {"cluster_stderr", or_null(perplexity.cluster_standard_error)},
          {"cluster_unit", cluster_unit_name(perplexity.cluster_unit)},
          {"clusters", perplexity.clusters},
          {"ci95", interval_json(perplexity.interval)},
          {"bos", perplexity.bos},
          {"all_windows", perplexity.all_windows},
          {"text_sha256", perplexity.text_sha256},
          {"window_nll", perplexity.window_nll},
          {"window_tokens", perplexity.window_tokens}};
}

Json to_json(const KlDivergence& kl) {
  const DivergenceErrors& errors = kl.standard_errors;
  return {{"mean", kl.mean},
          {"stderr", or_null(errors.mean)},
          {"median", kl.median},
          {"p90", kl.p90},
          {"p99", kl.p99},
          {"max", kl.max},
          {"top1_agreement", kl.top1_agreement},
          {"rms_delta_p", kl.rms_delta_p},
          {"tokens", kl.tokens},
          {"ctx", kl.context},
          {"windows", kl.window_kl.size()},
          {"ci95", interval_json(kl.interval)},
          {"stderr_of",
           {{"mean", or_null(errors.mean)},
            {"median", or_null(errors.median)},
            {"p90", or_null(errors.p90)},
            {"p99", or_null(errors.p99)},
            {"top1_agreement", or_null(errors.top1_agreement)},
            {"rms_delta_p", or_null(errors.rms_delta_p)}}},
          {"flips", kl.flips},
          {"by_confidence", confidence_json(kl.by_confidence)},
          {"histogram", histogram_json(kl.histogram)},
          {"window_kl", kl.window_kl},
          {"window_tokens", kl.window_tokens}};
}

Json to_json(const Resources& resources) {
  Json rounds = Json::array();
  for (const ModelCost& round : resources.rounds) rounds.push_back(to_json(round));
  return {{"disk_bytes", or_null(resources.disk_bytes)},
          {"weights_bytes", or_null(resources.weights_bytes)},
          {"peak_rss_bytes", or_null(resources.peak_rss_bytes)},
          {"load_s", or_null(resources.load_s)},
          {"prefill_tok_s", or_null(resources.prefill_tok_s)},
          {"decode_tok_s", or_null(resources.decode_tok_s)},
          {"gpu_peak_bytes", or_null(resources.gpu_peak_bytes)},
          {"disk_bytes_of", disk_json(resources.disk_bytes_of)},
          {"first_token_s", or_null(resources.first_token_s)},
          {"token_s_median", or_null(resources.token_s_median)},
          {"token_s_p95", or_null(resources.token_s_p95)},
          {"energy_j_per_token", or_null(resources.energy_j_per_token)},
          {"cpu_idle_before", or_null(resources.cpu_idle_before)},
          {"cpu_others_during", or_null(resources.cpu_others_during)},
          {"range_of", ranges_json(resources.rounds)},
          {"rounds", std::move(rounds)}};
}

Json to_json(const TaskResult& task) {
  Json json = {{"acc", task.acc}, {"acc_stderr", or_null(task.acc_standard_error)}};
  if (task.acc_norm) {
    json["acc_norm"] = *task.acc_norm;
    json["acc_norm_stderr"] = or_null(task.acc_norm_standard_error);
  }
  if (task.perplexity) {
    json["perplexity"] = *task.perplexity;
    json["perplexity_stderr"] = or_null(task.perplexity_standard_error);
  }
  json["n"] = task.documents.size();
  json["shots"] = task.shots;
  json["cut"] = task.cut;
  json["data"] = task.data;
  json["data_sha256"] = task.data_sha256;
  if (task.parts.empty()) return json;
  for (const TaskResult::Part& part : task.parts) {
    json["parts"][part.name] = {{"acc", part.acc},
                                {"acc_stderr", or_null(part.acc_standard_error)},
                                {"n", part.end - part.begin}};
  }
  return json;
}

Json to_json(const EvalResult& result) {
  Json tasks = Json::object();
  for (const TaskResult& task : result.tasks) tasks[task.name] = to_json(task);
  Json perplexities = Json::array();
  for (std::size_t i = 0; i < result.perplexities.size(); ++i) {
    perplexities.push_back(to_json(result.perplexities[i]));
    perplexities.back()["published"] =
        i < result.published.size() ? published_json(result.published[i]) : Json::array();
  }
  return {{"model", result.model},
          {"scheme", result.scheme},
          {"ppl", std::move(perplexities)},
          {"tasks", std::move(tasks)},
          {"kl", result.kl ? to_json(*result.kl) : Json(nullptr)},
          {"resources", to_json(result.resources)}};
}

}  // namespace fptq::eval
