#include "tensor/tensor.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/aligned_memory.h"
#include "base/check.h"

namespace fptq {

std::optional<std::size_t> element_count(const Shape& shape) {
  std::size_t count = 1;
  bool overflowed = false;
  for (const std::size_t axis : shape) {
    if (axis == 0) return 0;
    overflowed = __builtin_mul_overflow(count, axis, &count) || overflowed;
  }
  if (overflowed) return std::nullopt;
  return count;
}

std::string shape_text(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i != 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

Result<std::shared_ptr<std::byte>> allocate_aligned(std::size_t size_bytes) {
  return allocate_aligned(size_bytes, nullptr);
}

Result<std::shared_ptr<std::byte>> allocate_aligned(std::size_t size_bytes, HugePageArena* arena) {
  if (size_bytes == 0) return std::shared_ptr<std::byte>();
  std::shared_ptr<std::byte> data =
      arena == nullptr ? allocate_zeroed(size_bytes) : arena->allocate(size_bytes);
  if (data != nullptr) return data;
  return Error{Error::Kind::kLimit,
               "out of memory: " + std::to_string(size_bytes) + " bytes were needed at once"};
}

Tensor::Tensor(DType dtype, Shape shape, std::span<const std::byte> bytes,
               std::shared_ptr<const void> owner)
    : dtype_(dtype), shape_(std::move(shape)), bytes_(bytes), owner_(std::move(owner)) {
  const auto count = element_count(shape_);
  FPTQ_CHECK(count.has_value(), "a tensor's elements fit the address space");
  elements_ = *count;
  FPTQ_CHECK(bytes_.size() == elements_ * dtype_bytes(dtype_), "bytes match shape and dtype");
}

Result<Tensor::Fresh> Tensor::create(DType dtype, Shape shape) {
  const auto count = element_count(shape);
  std::size_t size_bytes = 0;
  if (!count || __builtin_mul_overflow(*count, dtype_bytes(dtype), &size_bytes)) {
    return Error{Error::Kind::kLimit, "a tensor of shape " + shape_text(shape) + " is too large"};
  }
  FPTQ_TRY(std::shared_ptr<std::byte> data, allocate_aligned(size_bytes));
  std::byte* bytes = data.get();
  return Fresh{Tensor(dtype, std::move(shape), {bytes, size_bytes}, std::move(data)), bytes};
}

Result<Tensor> Tensor::from_f32(Shape shape, std::span<const float> values) {
  FPTQ_TRY(Fresh fresh, create(DType::kF32, std::move(shape)));
  FPTQ_CHECK(fresh.tensor.elements() == values.size(), "as many values as elements");
  if (!values.empty()) std::memcpy(fresh.data, values.data(), values.size_bytes());
  return std::move(fresh.tensor);
}

void Tensor::read_f32(std::size_t first_element, std::size_t count, float* out) const {
  FPTQ_CHECK(first_element <= elements_ && count <= elements_ - first_element, "inside the tensor");
  if (count == 0) return;
  const std::byte* source = bytes_.data() + first_element * dtype_bytes(dtype_);
  if (dtype_ == DType::kF32) {
    std::memcpy(out, source, count * sizeof(float));
    return;
  }
  FPTQ_CHECK(dtype_ == DType::kF16 || dtype_ == DType::kBF16, "a float tensor");
  for (std::size_t i = 0; i < count; ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, source + 2 * i, 2);  // a mapped file promises no alignment
    out[i] = dtype_ == DType::kF16 ? f16_to_f32(bits) : bf16_to_f32(bits);
  }
}

std::vector<float> Tensor::to_f32() const {
  std::vector<float> values(elements_);
  read_f32(0, elements_, values.data());
  return values;
}

}  // namespace fptq
