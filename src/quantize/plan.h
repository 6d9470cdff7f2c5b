// What a recipe means for one checkpoint: a decision per tensor, and what the output will be.

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "io/checkpoint.h"
#include "quantize/bitsandbytes.h"
#include "quantize/compressed_tensors.h"
#include "quantize/recipe.h"

namespace fptq::quantize {

// What becomes of one tensor of the source. Exactly one of `stored`, `quantized` and
// `table` is set.
struct TensorPlan {
  std::string source;  // its name in the checkpoint
  Shape shape;
  std::string module;                     // of weights of linears and embeddings, else empty
  std::optional<io::TensorSpec> stored;   // written in floating point, cast where types differ
  std::optional<StoredModule> quantized;  // rounded to integers
  std::optional<StoredTable> table;       // rounded to entries of a table
  Scheme scheme;                          // of a rounded one
  // A tied classifier: the codes lie in the file once, under the embedding's name, and its scales
  // and zero points a second time under the classifier's, because loaders look for them there.
  std::optional<StoredModule> twin;

  [[nodiscard]] bool rounded() const { return quantized || table; }
  // The tensors that are written for it, in the order in which their bytes come.
  [[nodiscard]] std::vector<io::TensorSpec> outputs() const;
  [[nodiscard]] std::uint64_t output_bytes() const;
};

struct Plan {
  std::vector<TensorPlan> tensors;    // in the checkpoint's order
  std::vector<ModuleScheme> modules;  // every linear and embedding, in the model's order
  bool tied = false;                  // whether the output's classifier is its embedding
  std::vector<std::string> warnings;

  std::uint64_t parameters = 0;       // weights in the output, tied ones once
  std::uint64_t output_bytes = 0;     // of all tensors
  double bits_per_weight = 0;         // 8 * output_bytes / parameters
  double linear_bits_per_weight = 0;  // the same of the decoder's linears
  std::uint64_t working_bytes = 0;    // memory that quantizing takes, mapped files not counted

  // The tensors of the output in the order of `tensors`.
  [[nodiscard]] std::vector<io::TensorSpec> output_tensors() const;
};

// What symmetric 8-bit activations of single modules become instead, by module.
using ActivationChoices = std::map<std::string, QuantArgs>;
// Linears of the decoder that get another scheme than recipe.linears, by module. Where one of the
// recipe's overrides matches too, the override decides.
using ChosenSchemes = std::map<std::string, LayerChoice>;

// Decides for every tensor of the checkpoint.
//
//   activations  of modules whose choice has symmetric 8-bit activations; of others they are not
//                looked at
//
// Errors: kInvalidArgument for an override that no layer's name matches; kUnsupported for a
// checkpoint that is quantized already, and check_table_modules()'s; kFormat for a tensor that
// config.json asks for and that is missing or has another shape or type; those of
// parse_llama_config().
[[nodiscard]] Result<Plan> make_plan(const Recipe& recipe, const io::Checkpoint& checkpoint,
                                     const ActivationChoices& activations = {},
                                     const ChosenSchemes& chosen = {});

// The source's config.json as the output has it: with quantization_config, and with the
// plan's tie_word_embeddings where that differs.
[[nodiscard]] Json output_config(const Plan& plan, const io::Checkpoint& checkpoint);

// Whether `bytes_needed` fit on the disk that `directory` lies on.
// Errors: kLimit with needed and free; nothing is said where the system does not tell.
[[nodiscard]] Status check_disk_space(const std::filesystem::path& directory,
                                      std::uint64_t bytes_needed);

}  // namespace fptq::quantize
