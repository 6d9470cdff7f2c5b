// FPTQ_CHECK: invariants of this program. Never for user input, which gets a Result.

#pragma once

namespace fptq {

// Prints `file:line: check failed: condition: detail` to stderr and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const char* detail);

}  // namespace fptq

#define FPTQ_CHECK(condition, detail) \
  ((condition) ? void(0) : ::fptq::check_failed(__FILE__, __LINE__, #condition, detail))
