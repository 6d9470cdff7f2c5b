#include "kernels/integer_gemm/pack.h"

#include <cstring>

#include "kernels/integer_gemm/scalar.h"
#include "numeric/dtype.h"

namespace fptq::kernels {
namespace {

std::size_t slab_bytes(int num_bits) {
  return num_bits == 4 ? kSlabBytes4 : kSlabBytes8;
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

std::size_t packed_block_bytes(std::size_t cols, int num_bits) {
  return slab_count(cols) * slab_bytes(num_bits);
}

std::size_t packed_zero_bytes(int num_bits) {
  return num_bits == 4 ? 8 : 16;
}

void pack_row(const PackedStorage& storage, std::size_t row, const UnpackedRow& values) {
  const std::size_t block = row / kBlockRows;
  const std::size_t c = row % kBlockRows;
  const std::size_t groups = ceil_div(storage.cols, storage.group_width);
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t at = block * groups + g;
    store_scale(storage.scales, storage.scale_type, at * kBlockRows + c, values.scales[g]);
    if (storage.zeros != nullptr) {
      store_zero(storage.zeros + at * packed_zero_bytes(storage.num_bits), storage.num_bits, c,
                 values.zero_points == nullptr ? 0 : values.zero_points[g]);
    }
  }
  std::uint8_t* slab = storage.codes + block * packed_block_bytes(storage.cols, storage.num_bits);
  for (std::size_t k = 0; k < storage.cols; k += kSlabCols, slab += slab_bytes(storage.num_bits)) {
    if (storage.cols - k >= kSlabCols) {
      pack_slab(slab, storage.num_bits, c, values.codes + k);
      continue;
    }
    std::int8_t padded[kSlabCols];
    const std::size_t rest = storage.cols - k;
    const std::int8_t zero =
        values.zero_points == nullptr ? std::int8_t{0} : values.zero_points[groups - 1];
    for (std::size_t i = 0; i < kSlabCols; ++i) padded[i] = i < rest ? values.codes[k + i] : zero;
    pack_slab(slab, storage.num_bits, c, padded);
  }
}

void pack_padding(const PackedStorage& storage) {
  const std::size_t blocks = block_count(storage.rows);
  const std::size_t groups = ceil_div(storage.cols, storage.group_width);
  static constexpr std::int8_t kZeroCodes[kSlabCols] = {};
  for (std::size_t row = storage.rows; row < blocks * kBlockRows; ++row) {
    const std::size_t c = row % kBlockRows;
    std::uint8_t* slab =
        storage.codes + (blocks - 1) * packed_block_bytes(storage.cols, storage.num_bits);
    for (std::size_t k = 0; k < storage.cols; k += kSlabCols) {
      pack_slab(slab, storage.num_bits, c, kZeroCodes);
      slab += slab_bytes(storage.num_bits);
    }
    for (std::size_t g = 0; storage.zeros != nullptr && g < groups; ++g) {
      const std::size_t at = (blocks - 1) * groups + g;
      store_zero(storage.zeros + at * packed_zero_bytes(storage.num_bits), storage.num_bits, c, 0);
    }
  }
}

void unpack_row(const PackedWeights& weights, int num_bits, std::size_t row, std::int8_t* codes) {
  const std::size_t c = row % kBlockRows;
  const std::uint8_t* slab =
      weights.codes + row / kBlockRows * packed_block_bytes(weights.cols, num_bits);
  for (std::size_t k = 0; k < weights.cols; k += kSlabCols, slab += slab_bytes(num_bits)) {
    std::int8_t slab_codes[kSlabCols];
    unpack_slab(slab, num_bits, c, slab_codes);
    const std::size_t count = weights.cols - k < kSlabCols ? weights.cols - k : kSlabCols;
    std::memcpy(codes + k, slab_codes, count);
  }
}

void dequantize_row(const PackedWeights& weights, int num_bits, std::size_t row, float* values) {
  const std::size_t width = weights.group_width;
  const std::uint8_t* slab =
      weights.codes + row / kBlockRows * packed_block_bytes(weights.cols, num_bits);
  std::size_t group_end = 0;
  float scale = 0.0f;
  std::int32_t zero = 0;
  for (std::size_t begin = 0; begin < weights.cols; begin += kSlabCols) {
    std::int8_t codes[kSlabCols];
    unpack_slab(slab, num_bits, row % kBlockRows, codes);
    slab += slab_bytes(num_bits);
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
  const std::size_t groups = ceil_div(weights.cols, weights.group_width);
  const std::size_t at = row / kBlockRows * groups + group;
  return load_scale(weights.scales, weights.scale_type, at * kBlockRows + row % kBlockRows);
}

std::int32_t unpack_zero(const PackedWeights& weights, int num_bits, std::size_t row,
                         std::size_t group) {
  if (weights.zeros == nullptr) return 0;
  const std::size_t groups = ceil_div(weights.cols, weights.group_width);
  const std::uint8_t* zeros =
      weights.zeros + (row / kBlockRows * groups + group) * packed_zero_bytes(num_bits);
  return num_bits == 4 ? Codes4::zero(zeros, row % kBlockRows)
                       : Codes8::zero(zeros, row % kBlockRows);
}

}  // namespace fptq::kernels
