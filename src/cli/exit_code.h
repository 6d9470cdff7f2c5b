// What the program tells the shell: docs of the numbers are in README.md, "Exit codes".

#pragma once

#include "base/result.h"

namespace fptq::cli {

inline constexpr int kExitDone = 0;
inline constexpr int kExitCheckFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitBadInput = 3;
inline constexpr int kExitLimit = 4;
inline constexpr int kExitInterrupted = 130;

// The exit code for a failure of that kind.
[[nodiscard]] int exit_code(Error::Kind kind);

}  // namespace fptq::cli
