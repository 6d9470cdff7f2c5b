// One implementation of an operation, for the lists that dispatch, tests and benchmarks share.

#pragma once

#include "base/cpu.h"

namespace fptq::kernels {

// `isa` is the least capable family that can run `run`; select_variant() (base/cpu.h) chooses.
template <typename Function>
struct Variant {
  Isa isa;
  Function run;
};

}  // namespace fptq::kernels
