// What was measured, as reports take it.

#pragma once

#include <span>
#include <vector>

#include "cli/evaluation.h"
#include "eval/verdicts.h"
#include "report/comparison.h"

namespace fptq::cli {

[[nodiscard]] report::ModelFigures figures(const Evaluation& evaluation);

// What was tested; verdicts without a p are none. Perplexities differ by the logarithm of their
// ratio, and every p is adjusted for all comparisons of the run.
[[nodiscard]] std::vector<report::VerdictFigure> figures(std::span<const eval::Verdict> verdicts);

}  // namespace fptq::cli
