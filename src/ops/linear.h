// A linear layer, y = x W^T + b, with dense or quantized weights behind one face.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/cpu.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "numeric/quantizer.h"
#include "numeric/scheme.h"
#include "ops/activations.h"
#include "tensor/packed_matrix.h"
#include "tensor/table_matrix.h"
#include "tensor/tensor.h"

namespace fptq::ops {

// The kernel of a linear was chosen when it was made; scheme(), kernel(), isa() and calls() say
// what runs, for the receipt.
//
// Bits: row m of y depends on row m of x only, not on the other rows, the number of threads or
// the instruction set.
// Thread safety: several threads may call forward(), each with an input and a pool of its own.
class Linear {
 public:
  // Weights as a checkpoint stores them, products in float32 (kernels/dense_gemm).
  //   weight  [N, K], F32, F16 or BF16; may lie in a mapped file and is not copied
  //   bias    [N], F32, F16 or BF16
  // Errors: kFormat for other shapes, kUnsupported for other types.
  [[nodiscard]] static Result<Linear> dense(Tensor weight, const std::optional<Tensor>& bias,
                                            Isa isa);

  // Float weights rounded to fixed-point numbers of 14 bits, row by row, and inputs likewise, token
  // by token (kernels/fixed_pack); products are exact integers (kernels/fixed_gemm). An output is
  // off by some 1e-4 of what its largest terms make: for calibration, where the float model's
  // stream is wanted fast, not to the last bit.
  // Errors: those of dense().
  [[nodiscard]] static Result<Linear> fixed_point(const Tensor& weight,
                                                  const std::optional<Tensor>& bias, Isa isa);

  // Packed integer weights. With `activations` the inputs are quantized to 8 bits and the
  // products are integers (kernels/w4a8_gemm, w8a8_gemm); without, the weights are dequantized
  // tile by tile, y = sum_k w[n, k] * x[k] in float32, as a dense linear would.
  //   activations  8-bit integers: per token and dynamic, or per tensor and static
  //   static_grid  scale and zero point of static activations
  // Errors: kUnsupported for other activations; kFormat for a static grid that is missing or
  // not usable, and for a bias of another shape.
  [[nodiscard]] static Result<Linear> quantized(PackedMatrix weight,
                                                const std::optional<QuantArgs>& activations,
                                                const std::optional<Grid>& static_grid,
                                                const std::optional<Tensor>& bias, Isa isa);

  // Codes of a table, looked up while they are multiplied (kernels/nf4a16_gemm): inputs and
  // products stay in float32, weights stay as they are stored.
  // Errors: kFormat for a bias of another shape, kUnsupported for one of another type.
  [[nodiscard]] static Result<Linear> table(TableMatrix weight, const std::optional<Tensor>& bias,
                                            Isa isa);

  Linear(Linear&&) noexcept;
  Linear& operator=(Linear&&) noexcept;
  ~Linear();

  // y [M, N] out, where x is [M, K].
  void forward(LinearInput& x, float* y, ThreadPool& pool);

  [[nodiscard]] std::size_t in_features() const;   // K
  [[nodiscard]] std::size_t out_features() const;  // N

  // The short name of what is executed: "w4g32-a8t", "w4g32", "nf4b64-dq", "bf16".
  [[nodiscard]] const std::string& scheme() const;
  // "w4a8_gemm", "w8a8_gemm", "w4a16_gemm", "w8a16_gemm", "nf4a16_gemm", "dense_gemm" or
  // "fixed_gemm".
  [[nodiscard]] std::string_view kernel() const;
  // The family of the kernel, which `isa` includes: scalar where groups have an odd width.
  [[nodiscard]] Isa isa() const;
  // The grid on which the inputs are quantized; none where they stay float.
  [[nodiscard]] std::optional<kernels::ActivationGrid> activation_grid() const;
  // How often forward() ran.
  [[nodiscard]] std::uint64_t calls() const;
  // Bytes of weights and bias.
  [[nodiscard]] std::uint64_t bytes() const;

 private:
  struct Impl;
  explicit Linear(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fptq::ops
