// What was measured, as reports take it.

#pragma once

#include "cli/evaluation.h"
#include "report/comparison.h"

namespace fptq::cli {

[[nodiscard]] report::ModelFigures figures(const Evaluation& evaluation);

}  // namespace fptq::cli
