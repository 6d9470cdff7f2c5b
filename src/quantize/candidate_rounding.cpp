#include "quantize/candidate_rounding.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "algo/gptq.h"
#include "algo/output_loss.h"
#include "algo/rounding.h"
#include "ops/linear.h"

namespace fptq::quantize {
namespace {

constexpr std::size_t kBatchRows = 512;

}  // namespace

Result<CandidateRounder> CandidateRounder::make(const Recipe& recipe, std::span<const float> x,
                                                std::size_t width, ThreadPool& pool, Isa isa) {
  CandidateRounder rounder(recipe, x, width, pool, isa);
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!std::all_of(x.begin(), x.end(), finite)) {
    return Error{Error::Kind::kFormat, "expected finite activations, got NaN or infinity"};
  }
  if (recipe.rounding != algo::Rounding::kGptq) return rounder;
  algo::MomentAccumulator sums(width, /*with_shift=*/false, isa);
  sums.add(x.data(), nullptr, x.size() / width, pool);
  rounder.moments_ = sums.finish(pool);
  FPTQ_TRY(rounder.factor_, algo::InputFactor::make(rounder.moments_,
                                                    {.damping = recipe.calibrated.damping,
                                                     .act_order = recipe.calibrated.act_order,
                                                     .isa = isa},
                                                    pool));
  algo::damp(rounder.factor_->damping().lambda, rounder.moments_);
  return rounder;
}

Result<QuantizedMatrix> CandidateRounder::round(std::span<const float> weights, const Shape& shape,
                                                const QuantArgs& args, DType scale_dtype) const {
  QuantizedMatrix matrix = algo::make_quantized_matrix(shape[0], width_, args, scale_dtype);
  if (factor_) {
    const auto outcome = algo::round_gptq(weights, moments_, *factor_,
                                          {.grids = recipe_->calibrated.grids,
                                           .alternations = 0,
                                           .refit = false,
                                           .descent_passes = 0,
                                           .isa = isa_},
                                          *pool_, matrix);
    if (!outcome) return outcome.error();
    return matrix;
  }
  pool_->parallel_for(matrix.rows, 8, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      algo::round_row_to_nearest(weights.subspan(row * width_, width_), row, matrix);
    }
  });
  return matrix;
}

Result<double> CandidateRounder::loss(std::span<const float> weights,
                                      const QuantizedMatrix& matrix) const {
  const std::size_t outputs = matrix.rows;
  std::vector<float> difference(outputs * width_);
  algo::weight_difference(weights, matrix, 0, outputs, difference.data(), width_);
  FPTQ_TRY(Tensor tensor, Tensor::from_f32({outputs, width_}, difference));
  difference = {};
  FPTQ_TRY(ops::Linear error, ops::Linear::dense(std::move(tensor), std::nullopt, isa_));
  const std::size_t tokens = x_.size() / width_;
  std::vector<double> squares(tokens);
  std::vector<float> y;
  for (std::size_t first = 0; first < tokens; first += kBatchRows) {
    const std::size_t rows = std::min(kBatchRows, tokens - first);
    y.resize(rows * outputs);
    ops::LinearInput input(x_.data() + first * width_, rows, width_);
    error.forward(input, y.data(), *pool_);
    pool_->parallel_for(rows, 8, [&](std::size_t begin, std::size_t end) {
      for (std::size_t row = begin; row < end; ++row) {
        double sum = 0;
        for (std::size_t n = 0; n < outputs; ++n) {
          const auto value = static_cast<double>(y[row * outputs + n]);
          sum += value * value;
        }
        squares[first + row] = sum;
      }
    });
  }
  double total = 0;
  for (const double square : squares) total += square;
  if (std::isfinite(total)) return total / static_cast<double>(tokens);
  return Error{Error::Kind::kFormat, "expected finite outputs, got NaN or infinity"};
}

}  // namespace fptq::quantize
