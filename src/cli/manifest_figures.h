// What a quantized model's manifest says of its layers, as reports take it.

#pragma once

#include <filesystem>

#include "base/result.h"
#include "report/comparison.h"

namespace fptq::cli {

// Adds the weight error of each decoder linear, and the ranges of their inputs where they were
// observed. Adds nothing where there is no manifest beside the weights; entries that are not
// understood are left out.
//
// Errors: kFormat for a manifest that is not JSON, kIo.
[[nodiscard]] Status add_manifest_figures(const std::filesystem::path& model,
                                          report::ModelFigures& figures);

}  // namespace fptq::cli
