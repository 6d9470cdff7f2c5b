// Shapes, and tensors that either own their bytes or keep a mapping alive.

#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/aligned_memory.h"
#include "base/result.h"
#include "numeric/dtype.h"

namespace fptq {

using Shape = std::vector<std::size_t>;

// Product of the axes; 1 for a scalar. Nothing where it does not fit a size_t.
[[nodiscard]] std::optional<std::size_t> element_count(const Shape& shape);

// "[4096, 11008]".
[[nodiscard]] std::string shape_text(const Shape& shape);

// Memory aligned to 64 bytes, zero-filled.
// size_bytes 0 gives a null pointer. Errors: kLimit where the system has not so much memory.
[[nodiscard]] Result<std::shared_ptr<std::byte>> allocate_aligned(std::size_t size_bytes);
// The same, from an arena unless it is null.
[[nodiscard]] Result<std::shared_ptr<std::byte>> allocate_aligned(std::size_t size_bytes,
                                                                  HugePageArena* arena);

// A dense row-major array. Copying shares the bytes, which never change once it is handed out.
// The bytes may lie in a memory-mapped file and are then not necessarily aligned to the element.
class Tensor {
 public:
  Tensor() = default;
  // `owner` keeps `bytes` alive. bytes.size() has to be element_count(shape) * dtype_bytes(dtype).
  Tensor(DType dtype, Shape shape, std::span<const std::byte> bytes,
         std::shared_ptr<const void> owner);

  // A tensor with bytes of its own, and where to write them.
  struct Fresh;
  [[nodiscard]] static Result<Fresh> create(DType dtype, Shape shape);
  // A float32 tensor holding a copy of `values`.
  [[nodiscard]] static Result<Tensor> from_f32(Shape shape, std::span<const float> values);

  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
  [[nodiscard]] std::size_t elements() const { return elements_; }
  // Rows and columns of a matrix; a vector is one row.
  [[nodiscard]] std::size_t rows() const { return shape_.size() < 2 ? 1 : shape_[0]; }
  [[nodiscard]] std::size_t cols() const { return shape_.empty() ? 1 : shape_.back(); }

  // Element values widened to float32. dtype: F32, F16, BF16. Writes out[0, count).
  void read_f32(std::size_t first_element, std::size_t count, float* out) const;
  [[nodiscard]] std::vector<float> to_f32() const;

 private:
  DType dtype_ = DType::kF32;
  Shape shape_;
  std::size_t elements_ = 0;
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
};

struct Tensor::Fresh {
  Tensor tensor;
  std::byte* data;
};

}  // namespace fptq
