#include "ops/norm.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/rms_norm/dispatch.h"

namespace fptq::ops {
namespace {

// Values below which a piece is not worth handing to another thread: a few microseconds.
constexpr std::size_t kSmallestPiece = std::size_t{1} << 14;

}  // namespace

Result<RmsNorm> RmsNorm::create(const Tensor& weight, float eps, Isa isa) {
  if (!is_float_weight_dtype(weight.dtype())) {
    return Error{Error::Kind::kUnsupported, "norm weight: expected F32, F16 or BF16, got " +
                                                std::string(dtype_name(weight.dtype()))};
  }
  if (weight.shape().size() != 1 || weight.elements() == 0) {
    return Error{Error::Kind::kFormat,
                 "norm weight: expected one axis, got shape " + shape_text(weight.shape())};
  }
  if (!(eps > 0.0f) || !std::isfinite(eps)) {
    return Error{Error::Kind::kFormat,
                 "norm epsilon: expected a positive number, got " + std::to_string(eps)};
  }
  return RmsNorm(weight.to_f32(), eps, select_variant(kernels::rms_norm_variants(), isa).run);
}

void RmsNorm::normalize(const float* x, std::size_t rows, float* y) const {
  kernel_({.x = x,
           .x_stride = width(),
           .w = weight_.data(),
           .y = y,
           .y_stride = width(),
           .rows = rows,
           .dim = width(),
           .eps = eps_});
}

void RmsNorm::forward(const float* x, std::size_t rows, float* y, ThreadPool& pool) const {
  const std::size_t dim = width();
  const std::size_t grain = std::max<std::size_t>(1, kSmallestPiece / dim);
  pool.parallel_for(rows, grain, [&](std::size_t begin, std::size_t end) {
    normalize(x + begin * dim, end - begin, y + begin * dim);
  });
}

}  // namespace fptq::ops
