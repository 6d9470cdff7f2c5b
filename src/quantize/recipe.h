// A recipe: everything that decides what quantizing does to a checkpoint.

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "algo/activation_policy.h"
#include "algo/gptq.h"
#include "algo/rounding.h"
#include "base/result.h"
#include "numeric/scheme.h"

namespace fptq::quantize {

// What becomes of the weight of one layer: quantized by `scheme`, or kept in floating point.
struct LayerChoice {
  Scheme scheme;              // without weights: kept in floating point
  std::optional<DType> cast;  // kept as this type; absent: as in the source

  bool operator==(const LayerChoice&) const = default;
};

// "w4g32-asym-a8t", "bf16", "keep": what parse_layer_choice() reads.
[[nodiscard]] std::string layer_choice_text(const LayerChoice& choice);

// A scheme's short name (parse_scheme), or bf16, f16, f32, keep. Where the name does not say what
// the activations become, they become `activations`; "-a8t" takes its symmetry from them.
// Errors: kInvalidArgument; kUnsupported for schemes that this version cannot write.
[[nodiscard]] Result<LayerChoice> parse_layer_choice(std::string_view text,
                                                     const std::optional<QuantArgs>& activations);

// Layers whose name matches get a choice of their own.
struct LayerOverride {
  std::string pattern;  // ECMAScript, searched for in "model.layers.0.mlp.down_proj"
  LayerChoice choice;

  bool operator==(const LayerOverride&) const = default;
};

// How coordinates are turned before anything else: the model's (quantize/rotated_checkpoint.h), or
// those of down_proj's inputs.
// kAuto: of the latter only, where it lowers the KL divergence (quantize/rotation_choice.h).
enum class RotationKind : std::uint8_t { kNone, kHadamard, kAuto };

// Which factors move the range of activations into the weights behind a norm.
enum class Equalization : std::uint8_t { kNone, kLae, kSmoothQuant, kAwq };

// "none", "lae", "smoothquant", "awq". Errors: kInvalidArgument lists the names.
[[nodiscard]] std::string_view equalization_name(Equalization equalization);
[[nodiscard]] Result<Equalization> parse_equalization(std::string_view name);

// How rounding makes use of calibration (algo/gptq.h, algo/input_correction.h).
struct CalibratedRounding {
  double damping = 0.1;   // of the Gram matrix, in multiples of its mean diagonal
  bool act_order = true;  // columns by descending diagonal of the Gram matrix
  algo::GridChoice grids = algo::GridChoice::kFactor;
  double correction = 1.0;           // alpha: share of the correction for quantized inputs
  double residual_correction = 1.0;  // beta: of the error that the residual stream has gathered
  std::uint64_t alternations = 2;    // rounds of refitting scales and rounding again
  bool refit = true;                 // scales fitted anew once the codes are known
  std::uint64_t descent_passes = 2;  // of coordinate descent over the codes

  bool operator==(const CalibratedRounding&) const = default;
};

// The text that activations are measured on.
struct CalibrationSource {
  std::string text = "self";  // the model's own samples, or FILE, FILE:text, FILE:jsonl
  std::uint64_t samples = 128;
  std::uint64_t seqlen = 512;  // tokens of each
  // Sequences that the model draws beside those of a file, each going on from the first tokens of
  // one of them: what it says itself is what it has to keep saying.
  std::uint64_t self_samples = 0;

  bool operator==(const CalibrationSource&) const = default;
};

// Bits that are given to the linears where they matter most (quantize/precision_search.h).
struct PrecisionTarget {
  double bits_per_weight = 0;  // of all linears of the decoder with their scales; 0: no target
  // Sequences of the calibration set that sensitivity is measured on, at most
  // kSensitivityTokens of each.
  std::uint64_t samples = 8;
  // Inputs that lose much on 8 bits (PrecisionDecision) stay in floating point; else they are
  // warned of.
  bool float_massive = false;

  bool operator==(const PrecisionTarget&) const = default;
};

inline constexpr std::uint64_t kSensitivityTokens = 256;

struct Recipe {
  std::string name;                                    // "rtn", or what the file says
  LayerChoice linears;                                 // projections of attention and MLP
  LayerChoice embedding;                               // without activations: a lookup has none
  LayerChoice classifier;                              // lm_head
  algo::Rounding rounding = algo::Rounding::kNearest;  // of linears; the others to nearest
  CalibratedRounding calibrated;                       // read where `rounding` is calibrated
  RotationKind rotation = RotationKind::kNone;
  // Of the inputs of every down_proj that is quantized, while the model runs
  // (quantize/down_rotated_checkpoint.h).
  RotationKind down_rotation = RotationKind::kNone;
  // Of inputs behind a norm: of all of them without a policy, of those that it says with one.
  Equalization equalization = Equalization::kNone;
  double smoothquant_alpha = 0.5;
  // The paper's layer-wise policy: symmetric 8-bit activations become static, equalized and static,
  // or dynamic by their range; dynamic, too, where they ought to be equalized and cannot be,
  // because they follow no norm or `equalization` is kNone. Absent: as the schemes say.
  std::optional<algo::ActivationThresholds> activation_policy;
  PrecisionTarget precision;         // where given, linears get schemes of their own
  CalibrationSource calibration;     // read where needs_calibration()
  std::optional<DType> scale_dtype;  // absent: BF16 for BF16 weights, else F16
  std::uint64_t seed = 0;
  std::vector<LayerOverride> overrides;  // the first that matches decides

  bool operator==(const Recipe&) const = default;

  // Whether linears are rounded with knowledge of their inputs.
  [[nodiscard]] bool calibrates_rounding() const;
  // Whether activations are static anywhere, by scheme or by policy.
  [[nodiscard]] bool has_static_activations() const;
  // Whether the model is looked at before anything is decided.
  [[nodiscard]] bool observes_inputs() const;
  // Whether linears are rounded block by block on what the quantized blocks before them compute.
  [[nodiscard]] bool rounds_in_blocks() const;
  // Whether linears get schemes of their own to meet a target.
  [[nodiscard]] bool has_target() const { return precision.bits_per_weight > 0; }
  // Whether quantizing runs the model on text.
  [[nodiscard]] bool needs_calibration() const;
};

// What flags change. Text is as the user typed it; absent means: as in the recipe.
struct RecipeOverrides {
  // w4g32, w4g64, w4g128, w4c, w8c, nf4, ...; with a table embedding and classifier are kept and
  // activations stay in floating point, unless the next ones say otherwise
  std::optional<std::string> weights;
  std::optional<bool> symmetric;           // of the weights of linears
  std::optional<std::string> activations;  // a8t, a8t-asym, a8s, a16; of all but the embedding
  std::optional<std::string> embed;        // w8c, bf16, f16, f32, keep
  std::optional<std::string> head;         // the same, and w4g32 ...
  std::optional<std::string> rounding;     // rtn, search, hqq, gptq
  std::optional<std::string> equalize;     // none, lae, smoothquant, awq
  std::optional<std::string> rotate;       // none, hadamard
  std::optional<std::string> rotate_down;  // none, hadamard, auto
  std::optional<std::string> calib;        // self, FILE, FILE:text, FILE:jsonl
  std::optional<std::string> samples;      // 128: calibration sequences
  std::optional<std::string> seqlen;       // 512: tokens of each
  std::optional<std::string> self_samples;
  std::optional<std::string> target_bpw;      // 4.6: bits per weight of the linears; 0: no target
  std::optional<std::string> massive_inputs;  // a8, a16: what they become under a target
  std::optional<std::string> scale_dtype;     // auto, f16, bf16, f32
  std::optional<std::uint64_t> seed;
  std::vector<std::string> overrides;  // "REGEX=SCHEME", tried before the recipe's own
};

// Names of the recipes that this version offers.
[[nodiscard]] std::span<const std::string_view> builtin_recipe_names();

// fptq  rtn's schemes, rounded by GPTQ with searched grids, corrected for what quantization did to
//       the inputs, scales refitted
// fptq-paper  the paper: W4 in groups of 128 rounded to nearest, LAE, activations by its policy
// rtn   W4 in groups of 32 with zero points, A8 per token, embedding and classifier W8 per
//       channel, rounded to nearest
// int8  W8 per channel everywhere, A8 per token
// nf4   NormalFloat4 in blocks of 64 with quantized constants, activations in floating point,
//       embedding and classifier kept
// Errors: kInvalidArgument for other names.
[[nodiscard]] Result<Recipe> builtin_recipe(std::string_view name);

// Reads a recipe in YAML: one mapping with the keys that print_recipe() writes, of which only
// `weights` is required; the others are rtn's where absent, or nf4's where weights are a table.
// `where` begins every message. Errors: kFormat with line and column: not YAML, unknown or repeated
// keys, anchors and aliases, too long or too deep; and parse_layer_choice()'s.
[[nodiscard]] Result<Recipe> parse_recipe(std::string_view yaml, const std::string& where);

// The recipe as YAML. parse_recipe(print_recipe(r)) == r, and prints the same bytes again.
[[nodiscard]] std::string print_recipe(const Recipe& recipe);

// A built-in recipe's name, or the path of a YAML file.
[[nodiscard]] Result<Recipe> load_recipe(const std::string& name_or_path);

// Errors: those of the parsers above, with the flag's name in front.
[[nodiscard]] Result<Recipe> apply_overrides(Recipe recipe, const RecipeOverrides& overrides);

}  // namespace fptq::quantize
