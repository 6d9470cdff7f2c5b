// The input of linears: float rows, and the integers that linears make of them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/cpu.h"
#include "base/thread_pool.h"
#include "kernels/quantize_activations/contract.h"

namespace fptq::ops {

// Rows of activations. Linears that read the same input (query, key and value; gate and up) share
// one LinearInput, so that it is quantized once. Keep it between forward passes: assign() keeps
// the memory.
//
// Thread safety: none.
class LinearInput {
 public:
  LinearInput();
  // values [rows, cols], row-major without gaps; has to outlive its use by linears.
  LinearInput(const float* values, std::size_t rows, std::size_t cols);
  LinearInput(LinearInput&&) noexcept;
  LinearInput& operator=(LinearInput&&) noexcept;
  ~LinearInput();

  // Forgets what was quantized before. Call it again where the values changed in place.
  void assign(const float* values, std::size_t rows, std::size_t cols);

  // The same where the rows do not exist yet: produce(begin, end, to) writes rows [begin, end) to
  // `to`, which are those rows of `values`, and with `grid` they are quantized at once, while they
  // are in cache. Without `values` they are lost then: only linears that quantize on `grid` may
  // read the input. Called for disjoint ranges on several threads at the same time.
  template <typename Produce>
  void assign(float* values, std::size_t rows, std::size_t cols,
              const std::optional<kernels::ActivationGrid>& grid, Isa isa, ThreadPool& pool,
              const Produce& produce) {
    FPTQ_CHECK(values != nullptr || grid, "rows that are kept in one form at least");
    assign(values, rows, cols);
    Form* form = grid ? &add_form(*grid) : nullptr;
    pool.parallel_for(rows, row_grain(), [&](std::size_t begin, std::size_t end) {
      const std::size_t kept = values == nullptr ? 0 : (end - begin) * cols;
      const auto lost = std::make_unique_for_overwrite<float[]>((end - begin) * cols - kept);
      float* to = values == nullptr ? lost.get() : values + begin * cols;
      produce(begin, end, to);
      if (form != nullptr) quantize_rows(*form, isa, to, begin, end);
    });
  }

  // Null where only codes were kept.
  [[nodiscard]] const float* values() const { return values_; }
  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t cols() const { return cols_; }

  // The rows as 8-bit codes, made at the first call and kept until assign().
  [[nodiscard]] const kernels::QuantizedActivations& quantized(const kernels::ActivationGrid& grid,
                                                               Isa isa, ThreadPool& pool);

  // The rows as fixed-point numbers (kernels/fixed_pack), neighbours in a row in one word.
  struct FixedRows {
    const std::int32_t* words;  // [rows, stride]
    std::size_t stride;         // fixed_words(cols)
    const float* scales;        // [rows]
  };
  // Made at the first call and kept until assign().
  [[nodiscard]] const FixedRows& fixed_point(Isa isa, ThreadPool& pool);

 private:
  struct Form;

  Form& add_form(const kernels::ActivationGrid& grid);
  // x: rows [begin, end).
  void quantize_rows(Form& form, Isa isa, const float* x, std::size_t begin, std::size_t end);
  [[nodiscard]] std::size_t row_grain() const;

  const float* values_ = nullptr;
  std::size_t rows_ = 0;
  std::size_t cols_ = 0;
  std::vector<std::unique_ptr<Form>> forms_;
  std::size_t valid_forms_ = 0;  // the first of forms_ belong to the current values
  std::vector<std::int32_t> fixed_words_;
  std::vector<float> fixed_scales_;
  std::optional<FixedRows> fixed_rows_;  // of the current values
};

// out <- what a linear that quantizes its inputs on `grid` multiplies with: (q - zero_point) *
// scale, row by row.
//   x    [rows, cols]
//   out  [rows, cols]; may be x
void fake_quantize(const float* x, std::size_t rows, std::size_t cols,
                   const kernels::ActivationGrid& grid, Isa isa, ThreadPool& pool, float* out);

}  // namespace fptq::ops
