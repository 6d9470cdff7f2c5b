// What the manifest of a quantized checkpoint says about the inputs of its linears.

#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "cli/console.h"

namespace fptq::cli {

// The input of one linear over the calibration set, in activation units.
struct InspectedInput {
  double absmax = 0;                       // of the original model
  double p9999_below = 0;                  // a power of two that 99.99% of all |x| stay below
  std::optional<double> equalized_absmax;  // absent: not equalized
  std::string policy;                      // what the layer-wise policy says of absmax
  std::string activations;                 // what became of it by a policy; "": none was asked for
};

// By tensor: "model.layers.0.mlp.up_proj.weight". Nothing where there is no manifest beside the
// weights, or where it has no observation; entries that are not understood are left out.
// Errors: kFormat for a manifest that is not JSON, kIo.
[[nodiscard]] Result<std::map<std::string, InspectedInput>> read_inspected_inputs(
    const std::filesystem::path& model);

[[nodiscard]] Json to_json(const InspectedInput& input);

// One line per linear; prints nothing for no inputs.
void print_inputs(const std::map<std::string, InspectedInput>& inputs, Console& console);

}  // namespace fptq::cli
