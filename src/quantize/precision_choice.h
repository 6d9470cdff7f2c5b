// Mixed precision under a budget: which schemes a linear may have, what each would cost, and the
// choice. What the linears' sensitivities are is measured by precision_search.h.

#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "model/decoder_block.h"
#include "model/llama_config.h"
#include "quantize/plan.h"
#include "quantize/recipe.h"

namespace fptq::quantize {

// A scheme that a linear may have.
struct PrecisionCandidate {
  LayerChoice choice;
  std::uint64_t bits;  // of all that is stored: codes, scales, zero points, shape
};

// A linear whose scheme is to be chosen.
struct PrecisionLinear {
  std::string module;  // "model.layers.0.mlp.up_proj"
  std::size_t layer;
  model::BlockLinear linear;
  Shape shape;  // [N, K]
  DType scale_dtype;
  // The recipe's own scheme, the same with coarser groups (of 64, of 128, one per channel), and
  // 8 bits per channel, symmetric; each once, all with the recipe's activations.
  std::vector<PrecisionCandidate> candidates;
};

struct PrecisionProblem {
  double target_bpw = 0;
  std::vector<PrecisionLinear> linears;  // in the model's order; none that an override decides
  std::uint64_t weights = 0;             // of all linears of the decoder
  std::uint64_t fixed_bits = 0;          // of linears that overrides decide
  bool float_massive = false;            // as in the recipe

  // The most that all of `linears` may take: floor(target_bpw * weights) - fixed_bits.
  [[nodiscard]] std::uint64_t budget_bits() const;
};

// The problem that the recipe's target poses.
//   plan  of that recipe without a choice: its linear_bits_per_weight is counted the same way
// Errors: kUnsupported where the recipe's linears have no integer weights; kInvalidArgument for a
// target below what the cheapest candidates take or above what the dearest do, with both numbers,
// and where overrides leave nothing to choose.
[[nodiscard]] Result<PrecisionProblem> precision_problem(const Recipe& recipe, const Plan& plan,
                                                         const model::LlamaConfig& config);

// What is known of one linear, per candidate. KL: sum_v p(v) log(p(v) / q(v)) of the next token,
// in nats per token, p of the original model and q of the model with that linear changed.
struct LinearSensitivity {
  std::vector<double> losses;             // mean over tokens of |(W^ - W) x|^2, x of the original
  std::vector<std::optional<double>> kl;  // measured ones: at least the first
};

// As JSON, and back. Errors of the latter: kFormat where it is not of this problem.
[[nodiscard]] Json sensitivities_json(const PrecisionProblem& problem,
                                      std::span<const LinearSensitivity> sensitivities);
[[nodiscard]] Result<std::vector<LinearSensitivity>> parse_sensitivities(
    const PrecisionProblem& problem, const Json& json, const std::string& where);

// Each candidate's KL, measured or not:
//   KL[c] = a + b * losses[c]
// KL is quadratic in small errors of outputs, whose direction different groups hardly change, so
// the part that rounding weights causes goes with the output loss; `a` is what 8-bit activations
// alone cost, the same for all candidates. Both follow from the first and the last candidate where
// both were measured, a >= 0 and b >= 0; else a = 0 and b = KL[0] / losses[0].
struct KlModel {
  double activations = 0;  // a, nats per token
  double per_loss = 0;     // b
  [[nodiscard]] double at(double loss) const { return activations + per_loss * loss; }
};
[[nodiscard]] KlModel fit_kl(const LinearSensitivity& sensitivity);

// A linear's inputs are massive where 8-bit activations alone cost (KlModel::activations) more than
// this many times the median of all linears.
inline constexpr double kMassiveTimesMedian = 10;

struct PrecisionDecision {
  ChosenSchemes schemes;              // of all linears of the problem
  std::vector<std::string> warnings;  // linears whose inputs are massive
  // For the manifest: {"target_bpw", "bits_per_weight", "kl_sum", "massive_inputs": {"activations",
  // "times_median", "median_kl", "linears"}, "linears": [{"module", "choice", "activations_kl",
  // "candidates": [{"scheme", "bits_per_weight", "loss", "kl", "kl_measured"}]}]}
  Json report;
};

// The choice with the least sum of fit_kl() within the budget (algo::allocate_bits()). Where the
// problem says so, massive inputs stay in floating point, which costs no bits of weights and leaves
// per_loss of their KL; where it does not, they are warned of.
//   sensitivities  [problem.linears.size()]
[[nodiscard]] PrecisionDecision decide_precision(const PrecisionProblem& problem,
                                                 std::span<const LinearSensitivity> sensitivities);

}  // namespace fptq::quantize
