// The sections of the comparison's page, a file each. All return HTML, or nothing where no model
// has what they show.

#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "report/comparison.h"
#include "report/table.h"

namespace fptq::report {

// What paired tests say of each candidate; no rows where there was none.
[[nodiscard]] Table verdict_table(const Comparison& comparison);
// The same of every pair of candidates; without rows where there is none.
[[nodiscard]] Table pair_table(const Comparison& comparison);

// Accuracy, perplexity or divergence against size; perplexities and divergences.
[[nodiscard]] std::string quality_section(const Comparison& comparison);
// How divergences are spread, and agreement by the baseline's confidence.
[[nodiscard]] std::string divergence_section(const Comparison& comparison);
// Weight errors and activation ranges by block and kind.
[[nodiscard]] std::string layers_section(const Comparison& comparison);
// Size by kind of tensor, memory, speed, latency.
[[nodiscard]] std::string cost_section(const Comparison& comparison);
// Texts side by side.
[[nodiscard]] std::string samples_section(const Comparison& comparison);
// What executed each layer.
[[nodiscard]] std::string receipt_section(const Comparison& comparison);

}  // namespace fptq::report
