#include "tensor/finite.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

namespace fptq {
namespace {

// Elements looked at between two decisions; a multiple of every vector length.
constexpr std::size_t kChunk = 4096;

// Elements that one thread looks through at a time: enough to be worth the handing out.
constexpr std::size_t kPartElements = std::size_t{1} << 19;

// Infinity and NaN are the bit patterns, less the sign, from `infinity` on.
template <typename Bits>
std::optional<std::size_t> find_from(std::span<const std::byte> bytes, Bits magnitude_mask,
                                     Bits infinity) {
  std::array<Bits, kChunk> chunk;  // NOLINT: filled below
  const std::size_t count = bytes.size() / sizeof(Bits);
  for (std::size_t begin = 0; begin < count; begin += kChunk) {
    const std::size_t length = std::min(kChunk, count - begin);
    // Copied, because a mapped file promises no alignment.
    std::memcpy(chunk.data(), bytes.data() + begin * sizeof(Bits), length * sizeof(Bits));
    // Adding what lies between infinity and the sign bit sets that bit exactly from infinity on.
    // A sum and an or, unlike a maximum, are vector instructions on every CPU.
    const auto to_sign_bit = static_cast<Bits>(magnitude_mask + 1U - infinity);
    Bits signs = 0;
    for (std::size_t i = 0; i < length; ++i) {
      const auto magnitude = static_cast<Bits>(chunk[i] & magnitude_mask);
      signs = static_cast<Bits>(signs | static_cast<Bits>(magnitude + to_sign_bit));
    }
    if (signs <= magnitude_mask) continue;
    for (std::size_t i = 0; i < length; ++i) {
      if (static_cast<Bits>(chunk[i] & magnitude_mask) >= infinity) return begin + i;
    }
  }
  return std::nullopt;
}

std::optional<std::size_t> find_in(DType dtype, std::span<const std::byte> bytes) {
  switch (dtype) {
    case DType::kF32:
      return find_from<std::uint32_t>(bytes, 0x7FFFFFFFU, 0x7F800000U);
    case DType::kF16:
      return find_from<std::uint16_t>(bytes, 0x7FFFU, 0x7C00U);
    case DType::kBF16:
      return find_from<std::uint16_t>(bytes, 0x7FFFU, 0x7F80U);
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<std::size_t> find_non_finite(const Tensor& tensor, ThreadPool& pool) {
  if (!is_float_weight_dtype(tensor.dtype())) return std::nullopt;
  const std::span<const std::byte> bytes = tensor.bytes();
  const std::size_t part_bytes = kPartElements * dtype_bytes(tensor.dtype());
  std::vector<std::optional<std::size_t>> found((bytes.size() + part_bytes - 1) / part_bytes);
  pool.parallel_for(found.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t part = begin; part < end; ++part) {
      const std::span<const std::byte> rest = bytes.subspan(part * part_bytes);
      found[part] = find_in(tensor.dtype(), rest.first(std::min(part_bytes, rest.size())));
    }
  });
  for (std::size_t part = 0; part < found.size(); ++part) {
    if (found[part]) return part * kPartElements + *found[part];
  }
  return std::nullopt;
}

}  // namespace fptq
