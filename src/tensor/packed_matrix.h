// The packed quantized matrix: weights in the layout that the integer kernels read.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/aligned_memory.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/integer_gemm/layout.h"
#include "numeric/dtype.h"
#include "numeric/quantizer.h"
#include "numeric/scheme.h"

namespace fptq {

// What a packed matrix represents: w[n, k] = (code[n, k] - zero_point[n, g]) * scale[n, g].
struct PackedMatrixSpec {
  std::size_t rows = 0;  // N, output channels
  std::size_t cols = 0;  // K, inputs
  QuantArgs args;        // integer weights of 4 or 8 bits, per channel or group (any width)
  DType scale_dtype = DType::kF32;  // F32, F16 or BF16: what scales are kept in

  // Scales of a row: ceil(cols / group_width()).
  [[nodiscard]] std::size_t groups() const;
  // Inputs that share a scale: group_size, or cols for a per-channel scale.
  [[nodiscard]] std::size_t group_width() const;
};

// Where a row source writes one row.
struct PackedMatrixRow {
  std::span<std::int8_t> codes;        // [cols], in the range of num_bits
  std::span<float> scales;             // [groups], finite and representable in scale_dtype
  std::span<std::int8_t> zero_points;  // [groups], in the range of codes; empty where symmetric
};

// Writes row `row`. Called once for every row, from several threads at a time.
using PackedRowSource = std::function<Status(std::size_t row, const PackedMatrixRow& out)>;

// Copying shares the bytes, which never change.
class PackedMatrix {
 public:
  PackedMatrix() = default;

  // Packs the rows of `source`, block by block on all threads of the pool; what a source reads
  // from a mapped file never exists in memory a second time as a whole.
  //
  // Errors: kUnsupported where the scheme is not one of PackedMatrixSpec's or where a sum of
  // cols products could leave an int32; kFormat for a code, zero point or scale that breaks
  // PackedMatrixRow's rules, naming row and group; kLimit where memory does not suffice; what the
  // source returns. Of several bad rows the first is reported.
  //   arena  where the bytes come from, that matrices of one model share; null: bytes of its own
  [[nodiscard]] static Result<PackedMatrix> pack(const PackedMatrixSpec& spec,
                                                 const PackedRowSource& source, ThreadPool& pool,
                                                 HugePageArena* arena = nullptr);
  // Packs a rounded matrix.
  [[nodiscard]] static Result<PackedMatrix> pack(const QuantizedMatrix& matrix, ThreadPool& pool);

  // Bytes that pack() will allocate for it, codes, scales and zero points.
  [[nodiscard]] static std::uint64_t packed_bytes(const PackedMatrixSpec& spec);

  [[nodiscard]] std::size_t rows() const { return spec_.rows; }
  [[nodiscard]] std::size_t cols() const { return spec_.cols; }
  [[nodiscard]] std::size_t groups() const { return spec_.groups(); }
  [[nodiscard]] const QuantArgs& args() const { return spec_.args; }
  [[nodiscard]] DType scale_dtype() const { return spec_.scale_dtype; }
  [[nodiscard]] const PackedMatrixSpec& spec() const { return spec_; }
  // Bytes held, codes, scales and zero points, padding included.
  [[nodiscard]] std::uint64_t bytes() const { return packed_bytes(spec_); }

  // What the kernels read.
  [[nodiscard]] const kernels::PackedWeights& view() const { return view_; }

  // Scale and zero point of one group.
  [[nodiscard]] Grid grid(std::size_t row, std::size_t group) const;
  // codes [cols]: one row, a byte per code.
  void read_codes(std::size_t row, std::span<std::int8_t> codes) const;
  // values [cols]: one row, (code - zero_point) * scale, one rounding each.
  void read_row(std::size_t row, std::span<float> values) const;
  // The matrix as algorithms hold it.
  [[nodiscard]] QuantizedMatrix unpack() const;

 private:
  PackedMatrixSpec spec_;
  std::shared_ptr<const std::byte> bytes_;
  kernels::PackedWeights view_{};
};

}  // namespace fptq
