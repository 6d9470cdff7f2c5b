// Turns one tensor of the source into table codes of the output, in pieces.

#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"
#include "base/thread_pool.h"
#include "quantize/plan.h"
#include "quantize/tensor_writing.h"
#include "tensor/tensor.h"

namespace fptq::quantize {

// Memory that write_table() takes for that tensor.
[[nodiscard]] std::uint64_t table_working_bytes(const TensorPlan& plan);

// write_tensor() for a plan with `table`. The source is read twice: the constants of all blocks,
// and what double quantization makes of them, come before the first code. The bytes and the error
// do not depend on the number of threads.
[[nodiscard]] Result<TensorOutcome> write_table(
    const TensorPlan& plan, const Tensor& weights, ThreadPool& pool, const ByteSink& sink,
    const std::function<Status(std::uint64_t elements_done)>& after_block);

}  // namespace fptq::quantize
