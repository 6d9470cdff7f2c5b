#include "eval/resources.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "base/check.h"
#include "eval/statistics.h"

namespace fptq::eval {
namespace {

// Nothing of no values.
std::optional<double> quantile_of(std::vector<double> values, double q) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  return quantile(values, q);
}

// value(round) of the rounds that have one.
template <typename ValueFn>
std::vector<double> collect(const std::vector<ModelCost>& rounds, const ValueFn& value) {
  std::vector<double> found;
  for (const ModelCost& round : rounds) {
    const std::optional<double> of_round = value(round);
    if (of_round) found.push_back(*of_round);
  }
  return found;
}

}  // namespace

void add_costs(std::vector<ModelCost> rounds, Resources& resources) {
  FPTQ_CHECK(!rounds.empty(), "a round");
  const auto over_rounds = [&](double q, const auto& value) {
    return quantile_of(collect(rounds, value), q);
  };
  using Cost = const ModelCost&;
  using Value = std::optional<double>;
  resources.load_s = over_rounds(0.5, [](Cost c) -> Value { return c.load_s; });
  resources.first_token_s = over_rounds(0.5, [](Cost c) -> Value { return c.first_token_s; });
  resources.prefill_tok_s = over_rounds(0.5, [](Cost c) -> Value { return c.prefill_tok_s; });
  resources.decode_tok_s = over_rounds(0.5, [](Cost c) -> Value { return c.decode_tok_s(); });
  resources.energy_j_per_token = over_rounds(0.5, [](Cost c) -> Value {
    if (!c.energy_j) return std::nullopt;
    return *c.energy_j / static_cast<double>(c.token_s.size());
  });
  resources.cpu_idle_before = over_rounds(0.0, [](Cost c) { return c.idle_before; });
  resources.cpu_others_during = over_rounds(1.0, [](Cost c) { return c.others_during; });
  std::vector<double> token_s;
  resources.peak_rss_bytes.reset();
  for (const ModelCost& round : rounds) {
    token_s.insert(token_s.end(), round.token_s.begin(), round.token_s.end());
    resources.peak_rss_bytes = std::max(resources.peak_rss_bytes, round.peak_rss_bytes);
  }
  resources.token_s_median = quantile_of(token_s, 0.5);
  resources.token_s_p95 = quantile_of(token_s, 0.95);
  resources.rounds = std::move(rounds);
}

std::optional<std::uint64_t> peak_rss_bytes() {
  // getrusage() has the same number, but what clear_refs resets is only this one.
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    constexpr std::string_view kKey = "VmHWM:";
    if (!line.starts_with(kKey)) continue;
    return std::strtoull(line.c_str() + kKey.size(), nullptr, 10) * 1024;
  }
  return std::nullopt;
}

bool reset_peak_rss() {
  std::ofstream clear_refs("/proc/self/clear_refs");
  clear_refs << "5" << std::flush;
  return clear_refs.good();
}

std::optional<std::uint64_t> parse_available_memory(std::string_view meminfo) {
  constexpr std::string_view kKey = "MemAvailable:";
  const std::size_t begin = meminfo.find(kKey);
  if (begin == std::string_view::npos) return std::nullopt;
  const std::string rest(meminfo.substr(begin + kKey.size(), 32));
  char* end = nullptr;
  const std::uint64_t kibibytes = std::strtoull(rest.c_str(), &end, 10);
  if (end == rest.c_str()) return std::nullopt;
  return kibibytes * 1024;
}

std::optional<std::uint64_t> available_memory_bytes() {
  std::ifstream meminfo("/proc/meminfo");
  const std::string text((std::istreambuf_iterator<char>(meminfo)),
                         std::istreambuf_iterator<char>());
  return parse_available_memory(text);
}

}  // namespace fptq::eval
