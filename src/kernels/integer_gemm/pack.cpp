#include "kernels/integer_gemm/pack.h"

#include <cstring>

#include "kernels/integer_gemm/records.h"
#include "kernels/integer_gemm/scalar.h"
#include "numeric/dtype.h"

namespace fptq::kernels {
namespace {

std::size_t slab_bytes(int num_bits) {
  return num_bits == 4 ? kSlabBytes4 : kSlabBytes8;
}

// Groups of a record: their scales and zero points fill cache lines, and records are long enough
// that where they end does not matter.
constexpr std::size_t kRecordGroups = 8;
constexpr std::size_t kLineBytes = 64;

constexpr std::size_t whole_lines(std::size_t bytes) {
  return ceil_div(bytes, kLineBytes) * kLineBytes;
}

std::size_t groups_of_record(const PackedShape& shape, std::size_t groups) {
  if (shape.num_bits != 4 || groups == 0) return groups;
  if (!groups_are_whole_slabs(shape.cols, shape.group_width)) return groups;
  return ceil_div(groups, ceil_div(groups, kRecordGroups));
}

// Pointers into storage that pack_row() writes.
std::uint8_t* writable(const PackedStorage& storage, const void* at) {
  return storage.bytes + (static_cast<const std::uint8_t*>(at) - storage.bytes);
}

void store_scale(void* scales, ElementType type, std::size_t index, float value) {
  if (type == ElementType::kF32) {
    static_cast<float*>(scales)[index] = value;
  } else {
    static_cast<std::uint16_t*>(scales)[index] =
        type == ElementType::kF16 ? f32_to_f16(value) : f32_to_bf16(value);
  }
}

// The 4 codes of a quad, biased: one byte each.
std::uint32_t load_quad(const std::int8_t* codes, std::uint32_t bias_bytes) {
  std::uint32_t quad = 0;
  std::memcpy(&quad, codes, sizeof(quad));
  return quad ^ bias_bytes;
}

// codes [32] -> channel c of a slab. Adding 8 to a code in [-8, 7] flips bit 3 of its low nibble,
// adding 128 to one in [-128, 127] flips bit 7.
void pack_slab(std::uint8_t* slab, int num_bits, std::size_t c, const std::int8_t* codes) {
  const std::size_t quads = slab_bytes(num_bits) / kQuadBytes;
  for (std::size_t j = 0; j < quads; ++j) {
    std::uint32_t bytes = 0;
    if (num_bits == 4) {
      const std::uint32_t low = load_quad(codes + 4 * j, 0x08080808U) & 0x0F0F0F0FU;
      const std::uint32_t high = load_quad(codes + 16 + 4 * j, 0x08080808U) & 0x0F0F0F0FU;
      bytes = low | high << 4;
    } else {
      bytes = load_quad(codes + 4 * j, 0x80808080U);
    }
    std::memcpy(slab + j * kQuadBytes + 4 * c, &bytes, sizeof(bytes));
  }
}

// Four biased codes back, a byte each.
void store_quad(std::int8_t* codes, std::uint32_t bytes) {
  std::memcpy(codes, &bytes, sizeof(bytes));
}

// Channel c of a slab -> codes [32].
void unpack_slab(const std::uint8_t* slab, int num_bits, std::size_t c, std::int8_t* codes) {
  std::uint32_t bytes = 0;
  if (num_bits == 8) {
    for (std::size_t j = 0; j < 8; ++j) {
      std::memcpy(&bytes, slab + j * kQuadBytes + 4 * c, sizeof(bytes));
      store_quad(codes + 4 * j, bytes ^ 0x80808080U);
    }
    return;
  }
  // u - 8 in every byte: setting the top bit first keeps a byte from borrowing from the next.
  const auto unbias = [](std::uint32_t u) {
    return ((u | 0x80808080U) - 0x08080808U) ^ 0x80808080U;
  };
  for (std::size_t j = 0; j < 4; ++j) {
    std::memcpy(&bytes, slab + j * kQuadBytes + 4 * c, sizeof(bytes));
    store_quad(codes + 4 * j, unbias(bytes & 0x0F0F0F0FU));
    store_quad(codes + 16 + 4 * j, unbias(bytes >> 4 & 0x0F0F0F0FU));
  }
}

void store_zero(std::uint8_t* zeros, int num_bits, std::size_t c, std::int32_t zero) {
  if (num_bits == 8) {
    zeros[c] = static_cast<std::uint8_t>(zero + kBias8);
    return;
  }
  const auto nibble = static_cast<unsigned>(zero + kBias4);
  std::uint8_t& byte = zeros[c % 8];
  byte = static_cast<std::uint8_t>(c < 8 ? (byte & 0xF0U) | nibble : (byte & 0x0FU) | nibble << 4);
}

}  // namespace

RecordLayout record_layout(const PackedShape& shape) {
  const std::size_t groups = ceil_div(shape.cols, shape.group_width);
  const std::size_t slabs = slab_count(shape.cols);
  RecordLayout layout{};
  layout.slab_bytes = slab_bytes(shape.num_bits);
  layout.scale_bytes = kBlockRows * (shape.scale_type == ElementType::kF32 ? 4 : 2);
  layout.zero_bytes =
      shape.symmetric ? 0 : kBlockRows * static_cast<std::size_t>(shape.num_bits) / 8;
  // At least 1 of each, so that nothing is divided by 0.
  layout.groups = groups_of_record(shape, groups) + (groups == 0);
  const std::size_t records = ceil_div(groups, layout.groups);
  layout.slabs =
      records <= 1 ? slabs + (slabs == 0) : layout.groups * (shape.group_width / kSlabCols);
  layout.header_bytes = whole_lines(layout.groups * (layout.scale_bytes + layout.zero_bytes));
  layout.record_bytes = layout.header_bytes + layout.slabs * layout.slab_bytes;
  layout.block_bytes = records * layout.header_bytes + slabs * layout.slab_bytes;
  return layout;
}

std::size_t packed_bytes(const PackedShape& shape) {
  return block_count(shape.rows) * record_layout(shape).block_bytes;
}

PackedWeights packed_weights(const PackedShape& shape, const std::uint8_t* bytes) {
  const RecordLayout layout = record_layout(shape);
  return {.codes = bytes + layout.header_bytes,
          .scales = bytes,
          .zeros = shape.symmetric ? nullptr : bytes + layout.groups * layout.scale_bytes,
          .records = layout,
          .scale_type = shape.scale_type,
          .rows = shape.rows,
          .cols = shape.cols,
          .group_width = shape.group_width};
}

void pack_row(const PackedStorage& storage, std::size_t row, const UnpackedRow& values) {
  const auto& [num_bits, rows, cols, group_width, scale_type, symmetric] = storage.shape;
  const PackedWeights w = packed_weights(storage.shape, storage.bytes);
  const std::size_t block = row / kBlockRows;
  const std::size_t c = row % kBlockRows;
  const std::size_t groups = ceil_div(cols, group_width);
  for (std::size_t g = 0; g < groups; ++g) {
    store_scale(writable(storage, group_scales(w, block, g)), scale_type, c, values.scales[g]);
    if (symmetric) continue;
    store_zero(writable(storage, group_zeros(w, block, g)), num_bits, c,
               values.zero_points == nullptr ? 0 : values.zero_points[g]);
  }
  for (std::size_t k = 0; k < cols; k += kSlabCols) {
    std::uint8_t* slab = writable(storage, slab_codes(w, block, k / kSlabCols));
    if (cols - k >= kSlabCols) {
      pack_slab(slab, num_bits, c, values.codes + k);
      continue;
    }
    std::int8_t padded[kSlabCols];
    const std::size_t rest = cols - k;
    const std::int8_t zero =
        values.zero_points == nullptr ? std::int8_t{0} : values.zero_points[groups - 1];
    for (std::size_t i = 0; i < kSlabCols; ++i) padded[i] = i < rest ? values.codes[k + i] : zero;
    pack_slab(slab, num_bits, c, padded);
  }
}

void pack_padding(const PackedStorage& storage) {
  const auto& [num_bits, rows, cols, group_width, scale_type, symmetric] = storage.shape;
  const PackedWeights w = packed_weights(storage.shape, storage.bytes);
  const std::size_t blocks = block_count(rows);
  static constexpr std::int8_t kZeroCodes[kSlabCols] = {};
  for (std::size_t row = rows; row < blocks * kBlockRows; ++row) {
    const std::size_t c = row % kBlockRows;
    for (std::size_t slab = 0; slab < slab_count(cols); ++slab) {
      pack_slab(writable(storage, slab_codes(w, blocks - 1, slab)), num_bits, c, kZeroCodes);
    }
    for (std::size_t g = 0; !symmetric && g < ceil_div(cols, group_width); ++g) {
      store_zero(writable(storage, group_zeros(w, blocks - 1, g)), num_bits, c, 0);
    }
  }
}

void unpack_row(const PackedWeights& weights, int num_bits, std::size_t row, std::int8_t* codes) {
  for (std::size_t k = 0; k < weights.cols; k += kSlabCols) {
    std::int8_t unpacked[kSlabCols];
    unpack_slab(slab_codes(weights, row / kBlockRows, k / kSlabCols), num_bits, row % kBlockRows,
                unpacked);
    const std::size_t count = weights.cols - k < kSlabCols ? weights.cols - k : kSlabCols;
    std::memcpy(codes + k, unpacked, count);
  }
}

void dequantize_row(const PackedWeights& weights, int num_bits, std::size_t row, float* values) {
  const std::size_t width = weights.group_width;
  std::size_t group_end = 0;
  float scale = 0.0f;
  std::int32_t zero = 0;
  for (std::size_t begin = 0; begin < weights.cols; begin += kSlabCols) {
    std::int8_t codes[kSlabCols];
    unpack_slab(slab_codes(weights, row / kBlockRows, begin / kSlabCols), num_bits,
                row % kBlockRows, codes);
    const std::size_t rest = weights.cols - begin;
    const std::size_t slab_end = begin + (rest < kSlabCols ? rest : kSlabCols);
    for (std::size_t k = begin; k < slab_end;) {
      if (k == group_end) {
        scale = unpack_scale(weights, row, k / width);
        zero = unpack_zero(weights, num_bits, row, k / width);
        group_end = weights.cols - k < width ? weights.cols : k + width;
      }
      const std::size_t end = group_end < slab_end ? group_end : slab_end;
      for (; k < end; ++k) values[k] = static_cast<float>(codes[k - begin] - zero) * scale;
    }
  }
}

float unpack_scale(const PackedWeights& weights, std::size_t row, std::size_t group) {
  return load_scale(group_scales(weights, row / kBlockRows, group), weights.scale_type,
                    row % kBlockRows);
}

std::int32_t unpack_zero(const PackedWeights& weights, int num_bits, std::size_t row,
                         std::size_t group) {
  if (weights.zeros == nullptr) return 0;
  const std::uint8_t* zeros = group_zeros(weights, row / kBlockRows, group);
  return num_bits == 4 ? Codes4::zero(zeros, row % kBlockRows)
                       : Codes8::zero(zeros, row % kBlockRows);
}

}  // namespace fptq::kernels
