// The input of linears: float rows, and the 8-bit forms that quantized linears make of them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

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

  [[nodiscard]] const float* values() const { return values_; }
  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] std::size_t cols() const { return cols_; }

  // The rows as 8-bit codes, made at the first call and kept until assign().
  [[nodiscard]] const kernels::QuantizedActivations& quantized(const kernels::ActivationGrid& grid,
                                                               Isa isa, ThreadPool& pool);

 private:
  struct Form;

  const float* values_ = nullptr;
  std::size_t rows_ = 0;
  std::size_t cols_ = 0;
  std::vector<std::unique_ptr<Form>> forms_;
  std::size_t valid_forms_ = 0;  // the first of forms_ belong to the current values
};

}  // namespace fptq::ops
