// Rounding a linear in several ways, to see what each does to its outputs.

#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "algo/input_factor.h"
#include "algo/input_moments.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "numeric/quantizer.h"
#include "quantize/recipe.h"
#include "tensor/tensor.h"

namespace fptq::quantize {

// The linears that read one input. Codes are chosen as the recipe's rounding will choose them, as
// far as that matters: by GPTQ where it says so, without corrections, refitted scales and
// alternations; else to nearest. GPTQ takes most of the loss away where inputs are correlated and
// little elsewhere, so that linears rank differently than by rounding to nearest.
class CandidateRounder {
 public:
  //   x  [R, K] what the linears read; has to outlive this
  // Errors: kFormat for inputs that are not finite.
  [[nodiscard]] static Result<CandidateRounder> make(const Recipe& recipe, std::span<const float> x,
                                                     std::size_t width, ThreadPool& pool,
                                                     Isa isa = best_isa());

  //   weights  [N, K], finite
  [[nodiscard]] Result<QuantizedMatrix> round(std::span<const float> weights, const Shape& shape,
                                              const QuantArgs& args, DType scale_dtype) const;

  // mean_t |(W^ - W) x_t|^2: tr((W^ - W) H (W^ - W)^T) / R without the K x K matrix H, which costs
  // more than the product where R is below K.
  // Errors: kFormat where it is not finite.
  [[nodiscard]] Result<double> loss(std::span<const float> weights,
                                    const QuantizedMatrix& matrix) const;

 private:
  CandidateRounder(const Recipe& recipe, std::span<const float> x, std::size_t width,
                   ThreadPool& pool, Isa isa)
      : recipe_(&recipe), x_(x), width_(width), pool_(&pool), isa_(isa) {}

  const Recipe* recipe_;
  std::span<const float> x_;
  std::size_t width_;
  ThreadPool* pool_;
  Isa isa_;
  algo::InputMoments moments_;               // damped
  std::optional<algo::InputFactor> factor_;  // where GPTQ rounds
};

}  // namespace fptq::quantize
