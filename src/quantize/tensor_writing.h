// Turns one tensor of the source into bytes of the output, in blocks of rows, so that memory does
// not grow with the model.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "algo/rounding.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "quantize/plan.h"
#include "quantize/rounded_block.h"
#include "tensor/tensor.h"

namespace fptq::quantize {

// Takes the next bytes of one tensor of the output. The tensors of one TensorPlan come one after
// the other in the order of Plan::output_tensors(), and the bytes of each in theirs.
using ByteSink =
    std::function<Status(const io::TensorSpec& tensor, std::span<const std::byte> bytes)>;

// What became of a tensor.
struct TensorOutcome {
  std::string source_sha256;  // of the values as the checkpoint gives them
  // Of rounded tensors; of kept ones what the cast lost.
  algo::RoundingError error;
};

// Whether no value is NaN or infinite.
[[nodiscard]] bool all_finite(std::span<const float> values);

// The error that names the first value that is not finite; values begin at that element of the
// tensor.
[[nodiscard]] Error not_finite(const TensorPlan& plan, std::span<const float> values,
                               std::size_t first_element);

// Rows that are rounded together: a multiple of 8, which zero points are packed in, and about
// a million weights.
[[nodiscard]] std::size_t block_rows(std::size_t rows, std::size_t cols);

// Memory that write_tensor() takes for that tensor.
[[nodiscard]] std::uint64_t block_working_bytes(const TensorPlan& plan);

// How write_tensor() comes by the codes of a matrix.
struct TensorRounding {
  // Chooses them row by row: kNearest, or kHqq, which is kNearest for symmetric grids.
  algo::Rounding method = algo::Rounding::kNearest;
  // They have been chosen already; null: they have not.
  const RoundedModule* rounded = nullptr;
};

// How a tensor is rounded by a recipe that needs no calibration: the recipe's method is that of
// linears in the decoder, everything else is rounded to nearest.
[[nodiscard]] TensorRounding data_free_rounding(const Recipe& recipe, const TensorPlan& plan);

// Writes the tensor as planned. The bytes do not depend on the number of threads.
//
//   weights     what plan.source names, of plan.shape
//   after_block called after every block, with the elements done so far
// Errors: kFormat for a NaN or an infinity, with its index; kUnsupported for a value that a
// cast cannot hold; those of the sink and of after_block.
[[nodiscard]] Result<TensorOutcome> write_tensor(
    const TensorPlan& plan, const Tensor& weights, const TensorRounding& rounding, ThreadPool& pool,
    const ByteSink& sink, const std::function<Status(std::uint64_t elements_done)>& after_block);

}  // namespace fptq::quantize
