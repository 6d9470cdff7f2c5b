#include "ops/exp.h"

#include "kernels/vector_exp/dispatch.h"

namespace fptq::ops {

Exp::Exp(Isa isa) : kernel_(select_variant(kernels::vector_exp_variants(), isa).run) {}

}  // namespace fptq::ops
