// What calibration options have to be.

#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "calib/calibration_set.h"

namespace fptq::calib {

// tokens_per_sequence, or the context if that is less, with a warning.
// Errors: kInvalidArgument for options and a context out of range.
[[nodiscard]] Result<std::size_t> usable_length(const CalibrationOptions& options,
                                                std::size_t context,
                                                std::vector<std::string>& warnings);

}  // namespace fptq::calib
