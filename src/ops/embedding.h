// The token embedding: rows of a dense or quantized matrix as float32.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include "base/result.h"
#include "base/thread_pool.h"
#include "tensor/packed_matrix.h"
#include "tensor/tensor.h"

namespace fptq::ops {

// Shares its matrix with whoever else holds it, a tied classifier for instance.
class Embedding {
 public:
  // weight [V, D], F32, F16 or BF16. Errors: kFormat, kUnsupported.
  [[nodiscard]] static Result<Embedding> dense(Tensor weight);
  // weight [V, D]; row values are (code - zero_point) * scale.
  [[nodiscard]] static Embedding quantized(PackedMatrix weight);

  [[nodiscard]] std::size_t vocabulary() const;  // V
  [[nodiscard]] std::size_t width() const;       // D
  [[nodiscard]] std::uint64_t bytes() const;

  // out[t, :] = weight[ids[t], :].
  //   ids  [T], each in [0, V)
  //   out  [T, D]
  void lookup(std::span<const std::int32_t> ids, float* out) const;

 private:
  explicit Embedding(std::variant<Tensor, PackedMatrix> weight) : weight_(std::move(weight)) {}

  std::variant<Tensor, PackedMatrix> weight_;
};

}  // namespace fptq::ops
