#include "quantize/precision_choice.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>

#include "algo/bit_allocation.h"
#include "base/check.h"
#include "quantize/layer_pattern.h"
#include "quantize/recipe_fields.h"

namespace fptq::quantize {
namespace {

using algo::BitOption;
using model::BlockLinear;

std::string decimal(double value, const char* format) {
  std::array<char, 40> text{};
  const int length = std::snprintf(text.data(), text.size(), format, value);
  return {text.data(), static_cast<std::size_t>(length)};
}

double bits_per_weight(std::uint64_t bits, const PrecisionLinear& linear) {
  return static_cast<double>(bits) / static_cast<double>(linear.shape[0] * linear.shape[1]);
}

// The recipe's weights and everything else that a linear may have instead, for K inputs.
std::vector<QuantArgs> candidate_weights(const QuantArgs& own, std::size_t inputs) {
  std::vector<QuantArgs> all = {own};
  const auto width = [&](const QuantArgs& args) {
    return args.strategy == Strategy::kGroup ? std::min(args.group_size, inputs) : inputs;
  };
  const auto add = [&](const QuantArgs& args) {
    const bool known = std::any_of(all.begin(), all.end(), [&](const QuantArgs& other) {
      return other.num_bits == args.num_bits && other.symmetric == args.symmetric &&
             width(other) == width(args);
    });
    if (!known) all.push_back(args);
  };
  for (const std::size_t group : {std::size_t{64}, std::size_t{128}}) {
    if (group > width(own) && group < inputs) {
      add(int_weights(own.num_bits, Strategy::kGroup, group, own.symmetric));
    }
  }
  add(int_weights(own.num_bits, Strategy::kChannel, 0, own.symmetric));
  add(int_weights(8, Strategy::kChannel, 0, true));
  return all;
}

PrecisionLinear make_linear(const TensorPlan& tensor, std::size_t layer, BlockLinear linear) {
  PrecisionLinear made{
      tensor.module, layer, linear, tensor.shape, tensor.quantized->scales.dtype, {}};
  for (const QuantArgs& weights : candidate_weights(*tensor.scheme.weights, tensor.shape[1])) {
    const Scheme scheme{weights, tensor.scheme.activations};
    const StoredModule stored =
        stored_module(tensor.module, scheme, tensor.shape[0], tensor.shape[1], made.scale_dtype);
    made.candidates.push_back({LayerChoice{scheme, std::nullopt}, 8 * stored.bytes()});
  }
  return made;
}

std::vector<std::vector<BitOption>> bit_options(const PrecisionProblem& problem) {
  std::vector<std::vector<BitOption>> items;
  for (const PrecisionLinear& linear : problem.linears) {
    auto& options = items.emplace_back();
    for (const PrecisionCandidate& candidate : linear.candidates) {
      options.push_back({candidate.bits, 0.0});
    }
  }
  return items;
}

Status check_target(const PrecisionProblem& problem) {
  const std::string where = "target_bpw " + decimal(problem.target_bpw, "%g") + ": ";
  if (problem.linears.empty()) {
    return invalid(where +
                   "expected linears whose scheme is to be chosen, and overrides decide "
                   "on all of them");
  }
  const algo::BitRange range = algo::bit_range(bit_options(problem));
  const auto bpw = [&](std::uint64_t bits) {
    return static_cast<double>(problem.fixed_bits + bits) / static_cast<double>(problem.weights);
  };
  if (bpw(range.least) <= problem.target_bpw && problem.target_bpw <= bpw(range.most)) return {};
  // Rounded inwards, so that the numbers in the message are accepted.
  const double least = std::ceil(bpw(range.least) * 1e4) / 1e4;
  const double most = std::floor(bpw(range.most) * 1e4) / 1e4;
  return invalid(where + "expected " + decimal(least, "%.4f") + " to " + decimal(most, "%.4f") +
                 " bits per weight, which the cheapest and the dearest schemes of this model's "
                 "linears take");
}

Json candidates_json(const PrecisionLinear& linear, const LinearSensitivity& known,
                     const KlModel& kl) {
  Json candidates = Json::array();
  for (std::size_t c = 0; c < linear.candidates.size(); ++c) {
    const PrecisionCandidate& candidate = linear.candidates[c];
    Json json;
    json["scheme"] = layer_choice_text(candidate.choice);
    json["bits_per_weight"] = bits_per_weight(candidate.bits, linear);
    json["loss"] = known.losses[c];
    json["kl"] = kl.at(known.losses[c]);
    json["kl_measured"] = known.kl[c] ? Json(*known.kl[c]) : Json();
    candidates.push_back(std::move(json));
  }
  return candidates;
}

// The linears whose inputs lose much on 8 bits, by their place in the problem.
struct MassiveInputs {
  double median = 0;  // KL by 8-bit activations alone, over all linears
  std::vector<std::size_t> linears;
};

MassiveInputs find_massive(std::span<const KlModel> models) {
  std::vector<double> costs;
  for (const KlModel& kl : models) costs.push_back(kl.activations);
  const auto middle = costs.begin() + static_cast<std::ptrdiff_t>(costs.size() / 2);
  std::nth_element(costs.begin(), middle, costs.end());
  MassiveInputs massive{*middle, {}};
  if (!(massive.median > 0)) return massive;
  for (std::size_t i = 0; i < models.size(); ++i) {
    if (models[i].activations > kMassiveTimesMedian * massive.median) massive.linears.push_back(i);
  }
  return massive;
}

std::vector<std::string> massive_warnings(const PrecisionProblem& problem,
                                          std::span<const KlModel> models,
                                          const MassiveInputs& massive) {
  std::string names;
  for (const std::size_t i : massive.linears) {
    names += (names.empty() ? "" : ", ") + problem.linears[i].module + " (" +
             decimal(models[i].activations, "%.2e") + ")";
  }
  if (names.empty()) return {};
  return {
      "8-bit activations alone cost more than " + decimal(kMassiveTimesMedian, "%g") +
      " times the median KL divergence of " + decimal(massive.median, "%.2e") + " at " + names +
      (problem.float_massive
           ? ". Their inputs stay in floating point (massive_inputs: a16)"
           : ". --massive-inputs a16 keeps theirs in floating point, and --rotate-down hadamard "
             "spreads those of down_proj")};
}

Json massive_json(const PrecisionProblem& problem, const MassiveInputs& massive) {
  Json linears = Json::array();
  for (const std::size_t i : massive.linears) linears.push_back(problem.linears[i].module);
  return {{"activations", problem.float_massive ? "a16" : "a8"},
          {"times_median", kMassiveTimesMedian},
          {"median_kl", massive.median},
          {"linears", std::move(linears)}};
}

}  // namespace

std::uint64_t PrecisionProblem::budget_bits() const {
  const double all = std::floor(target_bpw * static_cast<double>(weights));
  const auto bits = static_cast<std::uint64_t>(all);
  return bits > fixed_bits ? bits - fixed_bits : 0;
}

Result<PrecisionProblem> precision_problem(const Recipe& recipe, const Plan& plan,
                                           const model::LlamaConfig& config) {
  if (!has_symmetry(recipe.linears)) {
    return unsupported("target_bpw: expected linears with integer weights, got " +
                       weights_text(recipe.linears));
  }
  std::vector<LayerPattern> overrides;
  for (const LayerOverride& layer : recipe.overrides) {
    FPTQ_TRY(LayerPattern pattern, LayerPattern::compile(layer.pattern));
    overrides.push_back(std::move(pattern));
  }
  std::map<std::string, const TensorPlan*> tensors;
  for (const TensorPlan& tensor : plan.tensors) {
    if (!tensor.module.empty()) tensors.emplace(tensor.module, &tensor);
  }
  PrecisionProblem problem;
  problem.target_bpw = recipe.precision.bits_per_weight;
  problem.float_massive = recipe.precision.float_massive;
  for (std::size_t layer = 0; layer < config.num_layers; ++layer) {
    for (const BlockLinear linear : model::kBlockLinears) {
      const TensorPlan& tensor = *tensors.at(model::block_module_name(layer, linear));
      problem.weights += tensor.shape[0] * tensor.shape[1];
      if (std::any_of(overrides.begin(), overrides.end(), [&](const LayerPattern& pattern) {
            return pattern.found_in(tensor.module);
          })) {
        problem.fixed_bits += 8 * tensor.output_bytes();
      } else {
        problem.linears.push_back(make_linear(tensor, layer, linear));
      }
    }
  }
  FPTQ_TRY_VOID(check_target(problem));
  return problem;
}

KlModel fit_kl(const LinearSensitivity& sensitivity) {
  const std::vector<double>& losses = sensitivity.losses;
  FPTQ_CHECK(!losses.empty() && sensitivity.kl.size() == losses.size() && sensitivity.kl[0],
             "the recipe's own scheme was measured");
  const double first = *sensitivity.kl.front();
  if (losses.size() == 1 || !sensitivity.kl.back()) {
    return {0.0, losses[0] > 0 ? first / losses[0] : 0.0};
  }
  const double last = *sensitivity.kl.back();
  const double span = losses.front() - losses.back();
  if (!(span > 0) || first <= last) return {std::min(first, last), 0.0};
  const double per_loss = (first - last) / span;
  const double activations = last - per_loss * losses.back();
  if (activations >= 0) return {activations, per_loss};
  return {0.0, first / losses.front()};
}

Json sensitivities_json(const PrecisionProblem& problem,
                        std::span<const LinearSensitivity> sensitivities) {
  Json linears = Json::array();
  for (std::size_t i = 0; i < sensitivities.size(); ++i) {
    Json kl = Json::array();
    for (const auto& value : sensitivities[i].kl) kl.push_back(value ? Json(*value) : Json());
    linears.push_back({{"module", problem.linears[i].module},
                       {"losses", sensitivities[i].losses},
                       {"kl", std::move(kl)}});
  }
  return {{"linears", std::move(linears)}};
}

Result<std::vector<LinearSensitivity>> parse_sensitivities(const PrecisionProblem& problem,
                                                           const Json& json,
                                                           const std::string& where) {
  const Error damaged{Error::Kind::kFormat,
                      where +
                          ": expected the sensitivities of this model's linears. Begin again "
                          "with --overwrite"};
  const Json linears = json.is_object() ? json.value("linears", Json()) : Json();
  if (!linears.is_array() || linears.size() > problem.linears.size()) return damaged;
  std::vector<LinearSensitivity> parsed;
  for (const Json& entry : linears) {
    const PrecisionLinear& linear = problem.linears[parsed.size()];
    const auto numbers = [&](const char* key) {
      return entry.is_object() && entry.contains(key) && entry[key].is_array() &&
             entry[key].size() == linear.candidates.size();
    };
    if (!numbers("losses") || !numbers("kl") || entry.value("module", Json()) != linear.module ||
        !entry["kl"][0].is_number()) {
      return damaged;
    }
    LinearSensitivity& sensitivity = parsed.emplace_back();
    for (std::size_t c = 0; c < linear.candidates.size(); ++c) {
      const Json& loss = entry["losses"][c];
      const Json& kl = entry["kl"][c];
      if (!loss.is_number() || !(kl.is_null() || kl.is_number())) return damaged;
      sensitivity.losses.push_back(loss.get<double>());
      sensitivity.kl.push_back(kl.is_null() ? std::nullopt : std::optional(kl.get<double>()));
    }
  }
  // What is saved is saved block by block.
  const std::size_t count = parsed.size();
  const bool whole = count == 0 || count == problem.linears.size() ||
                     problem.linears[count].layer != problem.linears[count - 1].layer;
  if (!whole) return damaged;
  return parsed;
}

PrecisionDecision decide_precision(const PrecisionProblem& problem,
                                   std::span<const LinearSensitivity> sensitivities) {
  FPTQ_CHECK(sensitivities.size() == problem.linears.size(), "one sensitivity per linear");
  std::vector<std::vector<BitOption>> items = bit_options(problem);
  std::vector<KlModel> models;
  for (const LinearSensitivity& one : sensitivities) models.push_back(fit_kl(one));
  const MassiveInputs massive = find_massive(models);
  const auto stays_float = [&](std::size_t i) {
    return problem.float_massive &&
           std::binary_search(massive.linears.begin(), massive.linears.end(), i);
  };
  for (std::size_t i = 0; i < items.size(); ++i) {
    for (std::size_t c = 0; c < items[i].size(); ++c) {
      items[i][c].loss = models[i].at(sensitivities[i].losses[c]);
    }
  }
  const std::vector<std::size_t> choice = algo::allocate_bits(items, problem.budget_bits());
  PrecisionDecision decision;
  Json linears = Json::array();
  double kl_sum = 0;
  std::uint64_t bits = problem.fixed_bits;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const PrecisionLinear& linear = problem.linears[i];
    const PrecisionCandidate& chosen = linear.candidates[choice[i]];
    LayerChoice scheme = chosen.choice;
    kl_sum += items[i][choice[i]].loss;
    if (stays_float(i)) {
      scheme.scheme.activations.reset();
      kl_sum -= models[i].activations;
    }
    decision.schemes.emplace(linear.module, scheme);
    bits += chosen.bits;
    Json json;
    json["module"] = linear.module;
    json["choice"] = layer_choice_text(scheme);
    json["activations_kl"] = models[i].activations;
    json["candidates"] = candidates_json(linear, sensitivities[i], models[i]);
    linears.push_back(std::move(json));
  }
  decision.warnings = massive_warnings(problem, models, massive);
  decision.report["massive_inputs"] = massive_json(problem, massive);
  decision.report["target_bpw"] = problem.target_bpw;
  decision.report["bits_per_weight"] =
      static_cast<double>(bits) / static_cast<double>(problem.weights);
  decision.report["kl_sum"] = kl_sum;
  decision.report["linears"] = std::move(linears);
  return decision;
}

}  // namespace fptq::quantize
