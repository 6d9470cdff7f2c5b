#include "io/ggml_types.h"

#include <array>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace fptq::io {
namespace {

// Block layouts. Sixteen-bit floats stay bits; every member is a byte or a pair of bytes, so the
// structs have no padding and can be copied out of a file.
struct BlockQ40 {
  static constexpr std::size_t kElements = 32;
  std::uint16_t d;
  std::array<std::uint8_t, 16> qs;  // element j: low half of qs[j]; j + 16: high half
};
struct BlockQ41 {
  static constexpr std::size_t kElements = 32;
  std::uint16_t d, m;
  std::array<std::uint8_t, 16> qs;
};
struct BlockQ50 {
  static constexpr std::size_t kElements = 32;
  std::uint16_t d;
  std::array<std::uint8_t, 4> qh;  // bit j: the fifth bit of element j
  std::array<std::uint8_t, 16> qs;
};
struct BlockQ51 {
  static constexpr std::size_t kElements = 32;
  std::uint16_t d, m;
  std::array<std::uint8_t, 4> qh;
  std::array<std::uint8_t, 16> qs;
};
struct BlockQ80 {
  static constexpr std::size_t kElements = 32;
  std::uint16_t d;
  std::array<std::int8_t, 32> qs;
};
struct BlockQ2K {
  static constexpr std::size_t kElements = 256;
  std::array<std::uint8_t, 16> scales;  // per 16 elements: low half scale, high half minimum
  std::array<std::uint8_t, 64> qs;
  std::uint16_t d, dmin;
};
struct BlockQ3K {
  static constexpr std::size_t kElements = 256;
  std::array<std::uint8_t, 32> hmask;
  std::array<std::uint8_t, 64> qs;
  std::array<std::uint8_t, 12> scales;  // 16 of 6 bits
  std::uint16_t d;
};
struct BlockQ4K {
  static constexpr std::size_t kElements = 256;
  std::uint16_t d, dmin;
  std::array<std::uint8_t, 12> scales;  // 8 scales and 8 minimums of 6 bits
  std::array<std::uint8_t, 128> qs;
};
struct BlockQ5K {
  static constexpr std::size_t kElements = 256;
  std::uint16_t d, dmin;
  std::array<std::uint8_t, 12> scales;
  std::array<std::uint8_t, 32> qh;
  std::array<std::uint8_t, 128> qs;
};
struct BlockQ6K {
  static constexpr std::size_t kElements = 256;
  std::array<std::uint8_t, 128> ql;
  std::array<std::uint8_t, 64> qh;
  std::array<std::int8_t, 16> scales;
  std::uint16_t d;
};
struct BlockIq4Nl {
  static constexpr std::size_t kElements = 32;
  std::uint16_t d;
  std::array<std::uint8_t, 16> qs;
};
struct BlockIq4Xs {
  static constexpr std::size_t kElements = 256;
  std::uint16_t d;
  std::uint16_t scales_h;
  std::array<std::uint8_t, 4> scales_l;
  std::array<std::uint8_t, 128> qs;
};

static_assert(sizeof(BlockQ40) == 18 && sizeof(BlockQ41) == 20 && sizeof(BlockQ50) == 22);
static_assert(sizeof(BlockQ51) == 24 && sizeof(BlockQ80) == 34 && sizeof(BlockQ2K) == 84);
static_assert(sizeof(BlockQ3K) == 110 && sizeof(BlockQ4K) == 144 && sizeof(BlockQ5K) == 176);
static_assert(sizeof(BlockQ6K) == 210 && sizeof(BlockIq4Nl) == 18 && sizeof(BlockIq4Xs) == 136);

constexpr std::array<GgmlTypeInfo, 15> kTypes = {{
    {GgmlType::kF32, "F32", 1, 4},
    {GgmlType::kF16, "F16", 1, 2},
    {GgmlType::kQ40, "Q4_0", BlockQ40::kElements, sizeof(BlockQ40)},
    {GgmlType::kQ41, "Q4_1", BlockQ41::kElements, sizeof(BlockQ41)},
    {GgmlType::kQ50, "Q5_0", BlockQ50::kElements, sizeof(BlockQ50)},
    {GgmlType::kQ51, "Q5_1", BlockQ51::kElements, sizeof(BlockQ51)},
    {GgmlType::kQ80, "Q8_0", BlockQ80::kElements, sizeof(BlockQ80)},
    {GgmlType::kQ2K, "Q2_K", BlockQ2K::kElements, sizeof(BlockQ2K)},
    {GgmlType::kQ3K, "Q3_K", BlockQ3K::kElements, sizeof(BlockQ3K)},
    {GgmlType::kQ4K, "Q4_K", BlockQ4K::kElements, sizeof(BlockQ4K)},
    {GgmlType::kQ5K, "Q5_K", BlockQ5K::kElements, sizeof(BlockQ5K)},
    {GgmlType::kQ6K, "Q6_K", BlockQ6K::kElements, sizeof(BlockQ6K)},
    {GgmlType::kIq4Nl, "IQ4_NL", BlockIq4Nl::kElements, sizeof(BlockIq4Nl)},
    {GgmlType::kIq4Xs, "IQ4_XS", BlockIq4Xs::kElements, sizeof(BlockIq4Xs)},
    {GgmlType::kBF16, "BF16", 1, 2},
}};

// Types that exist but are not read; for messages.
constexpr std::array<std::pair<std::uint32_t, std::string_view>, 21> kOtherTypes = {{
    {9, "Q8_1"},      {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"},   {18, "IQ3_XXS"},
    {19, "IQ1_S"},    {21, "IQ3_S"}, {22, "IQ2_S"},   {24, "I8"},       {25, "I16"},
    {26, "I32"},      {27, "I64"},   {28, "F64"},     {29, "IQ1_M"},    {34, "TQ1_0"},
    {35, "TQ2_0"},    {39, "MXFP4"}, {40, "NVFP4"},   {31, "Q4_0_4_4"}, {32, "Q4_0_4_8"},
    {33, "Q4_0_8_8"},
}};

// The sixteen levels of IQ4_NL and IQ4_XS.
constexpr std::array<std::int8_t, 16> kNonLinearLevels = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                          1,    13,   25,  38,  53,  69,  89,  113};

float level(unsigned index) {
  return static_cast<float>(kNonLinearLevels[index]);
}

// The codes of a block of 32. Of element j the low half of qs[j] has four bits, of element j + 16
// the high half; bit j of qh, where a block has one, is the fifth.
template <typename Block>
std::array<int, 32> codes_of(const Block& block) {
  std::array<int, 32> codes{};
  for (std::size_t j = 0; j < 16; ++j) {
    codes[j] = block.qs[j] & 15;
    codes[j + 16] = block.qs[j] >> 4;
  }
  if constexpr (requires { block.qh; }) {
    for (std::size_t j = 0; j < 32; ++j) codes[j] |= (block.qh[j / 8] >> (j % 8) & 1) << 4;
  }
  return codes;
}

// Q4_0 and Q5_0: the code `middle` stands for 0.
template <typename Block>
void dequantize_around(int middle, const Block& block, float* out) {
  const float d = f16_to_f32(block.d);
  const std::array<int, 32> codes = codes_of(block);
  for (std::size_t j = 0; j < 32; ++j) out[j] = static_cast<float>(codes[j] - middle) * d;
}

// Q4_1 and Q5_1: the code 0 stands for the block's minimum.
template <typename Block>
void dequantize_above_minimum(const Block& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float m = f16_to_f32(block.m);
  const std::array<int, 32> codes = codes_of(block);
  for (std::size_t j = 0; j < 32; ++j) out[j] = static_cast<float>(codes[j]) * d + m;
}

void dequantize(const BlockQ40& block, float* out) {
  dequantize_around(8, block, out);
}
void dequantize(const BlockQ41& block, float* out) {
  dequantize_above_minimum(block, out);
}
void dequantize(const BlockQ50& block, float* out) {
  dequantize_around(16, block, out);
}
void dequantize(const BlockQ51& block, float* out) {
  dequantize_above_minimum(block, out);
}

void dequantize(const BlockQ80& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (std::size_t j = 0; j < 32; ++j) out[j] = static_cast<float>(block.qs[j]) * d;
}

// Element 128 h + 32 s + l is bits [2s, 2s + 2) of byte 32 h + l, for halves h, quarters s.
void dequantize(const BlockQ2K& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (std::size_t group = 0; group < 16; ++group) {
    const float scale = d * static_cast<float>(block.scales[group] & 15);
    const float minimum = dmin * static_cast<float>(block.scales[group] >> 4);
    const std::uint8_t* qs = block.qs.data() + group / 8 * 32 + group % 2 * 16;
    const unsigned shift = static_cast<unsigned>(group % 8 / 2 * 2);
    for (std::size_t l = 0; l < 16; ++l) {
      out[group * 16 + l] = scale * static_cast<float>(qs[l] >> shift & 3) - minimum;
    }
  }
}

// As in Q2_K, with a third bit in hmask: bit 4 h + s of byte l. Where it is 0, 4 is subtracted.
void dequantize(const BlockQ3K& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (std::size_t group = 0; group < 16; ++group) {
    const int low = group < 8 ? block.scales[group] & 15 : block.scales[group - 8] >> 4;
    const int high = block.scales[8 + group % 4] >> (group / 4 * 2) & 3;
    const float scale = d * static_cast<float>((low | high << 4) - 32);
    const std::uint8_t* qs = block.qs.data() + group / 8 * 32 + group % 2 * 16;
    const std::uint8_t* hmask = block.hmask.data() + group % 2 * 16;
    const unsigned shift = static_cast<unsigned>(group % 8 / 2 * 2);
    const unsigned bit = static_cast<unsigned>(group / 2);
    for (std::size_t l = 0; l < 16; ++l) {
      const int q = (qs[l] >> shift & 3) + (hmask[l] >> bit & 1) * 4 - 4;
      out[group * 16 + l] = scale * static_cast<float>(q);
    }
  }
}

struct ScaleAndMinimum {
  float scale, minimum;
};

// Group j of 8: the first four in bytes j and j + 4; of the others four bits in byte j + 4, and
// the upper two above the six bits of bytes j - 4 and j.
ScaleAndMinimum scale_and_minimum(const std::array<std::uint8_t, 12>& packed, std::size_t j) {
  if (j < 4) {
    return {static_cast<float>(packed[j] & 63), static_cast<float>(packed[j + 4] & 63)};
  }
  return {static_cast<float>((packed[j + 4] & 15) | packed[j - 4] >> 6 << 4),
          static_cast<float>(packed[j + 4] >> 4 | packed[j] >> 6 << 4)};
}

void dequantize(const BlockQ4K& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (std::size_t group = 0; group < 8; ++group) {
    const ScaleAndMinimum s = scale_and_minimum(block.scales, group);
    const float scale = d * s.scale;
    const float minimum = dmin * s.minimum;
    for (std::size_t l = 0; l < 32; ++l) {
      const int q = block.qs[group / 2 * 32 + l] >> (group % 2 * 4) & 15;
      out[group * 32 + l] = scale * static_cast<float>(q) - minimum;
    }
  }
}

void dequantize(const BlockQ5K& block, float* out) {
  const float d = f16_to_f32(block.d);
  const float dmin = f16_to_f32(block.dmin);
  for (std::size_t group = 0; group < 8; ++group) {
    const ScaleAndMinimum s = scale_and_minimum(block.scales, group);
    const float scale = d * s.scale;
    const float minimum = dmin * s.minimum;
    for (std::size_t l = 0; l < 32; ++l) {
      const int low = block.qs[group / 2 * 32 + l] >> (group % 2 * 4) & 15;
      const int high = (block.qh[l] >> group & 1) << 4;
      out[group * 32 + l] = scale * static_cast<float>(low + high) - minimum;
    }
  }
}

// Element 128 h + 32 s + l: four bits in byte 64 h + 32 (s % 2) + l of ql (low half for s < 2),
// two in byte 32 h + l of qh at bit 2 s.
void dequantize(const BlockQ6K& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (std::size_t group = 0; group < 16; ++group) {
    const std::size_t half = group / 8;
    const std::size_t quarter = group % 8 / 2;
    const std::uint8_t* ql = block.ql.data() + half * 64 + quarter % 2 * 32 + group % 2 * 16;
    const std::uint8_t* qh = block.qh.data() + half * 32 + group % 2 * 16;
    const unsigned low_shift = static_cast<unsigned>(quarter / 2 * 4);
    const unsigned high_shift = static_cast<unsigned>(quarter * 2);
    const float scale = d * static_cast<float>(block.scales[group]);
    for (std::size_t l = 0; l < 16; ++l) {
      const int q = (ql[l] >> low_shift & 15) | (qh[l] >> high_shift & 3) << 4;
      out[group * 16 + l] = scale * static_cast<float>(q - 32);
    }
  }
}

void dequantize(const BlockIq4Nl& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (std::size_t j = 0; j < 16; ++j) {
    out[j] = d * level(block.qs[j] & 15U);
    out[j + 16] = d * level(block.qs[j] >> 4U);
  }
}

void dequantize(const BlockIq4Xs& block, float* out) {
  const float d = f16_to_f32(block.d);
  for (std::size_t group = 0; group < 8; ++group) {
    const int low = block.scales_l[group / 2] >> (group % 2 * 4) & 15;
    const int high = block.scales_h >> (group * 2) & 3;
    const float scale = d * static_cast<float>((low | high << 4) - 32);
    for (std::size_t j = 0; j < 16; ++j) {
      const std::uint8_t pair = block.qs[group * 16 + j];
      out[group * 32 + j] = scale * level(pair & 15U);
      out[group * 32 + j + 16] = scale * level(pair >> 4U);
    }
  }
}

template <typename Block>
void dequantize_all(const std::byte* source, std::size_t blocks, float* out) {
  for (std::size_t i = 0; i < blocks; ++i) {
    Block block;
    std::memcpy(&block, source + i * sizeof block, sizeof block);
    dequantize(block, out + i * Block::kElements);
  }
}

}  // namespace

const GgmlTypeInfo* find_ggml_type(std::uint32_t number) {
  for (const GgmlTypeInfo& info : kTypes) {
    if (static_cast<std::uint32_t>(info.type) == number) return &info;
  }
  return nullptr;
}

const GgmlTypeInfo& ggml_type_info(GgmlType type) {
  const GgmlTypeInfo* info = find_ggml_type(static_cast<std::uint32_t>(type));
  FPTQ_CHECK(info != nullptr, "the table has every type");
  return *info;
}

std::optional<std::string_view> ggml_type_name(std::uint32_t number) {
  if (const GgmlTypeInfo* info = find_ggml_type(number)) return info->name;
  for (const auto& [other, name] : kOtherTypes) {
    if (other == number) return name;
  }
  return std::nullopt;
}

DType ggml_read_dtype(GgmlType type) {
  return type == GgmlType::kF16    ? DType::kF16
         : type == GgmlType::kBF16 ? DType::kBF16
                                   : DType::kF32;
}

void dequantize_ggml_blocks(GgmlType type, const std::byte* source, std::size_t blocks,
                            float* out) {
  switch (type) {
    case GgmlType::kQ40:
      return dequantize_all<BlockQ40>(source, blocks, out);
    case GgmlType::kQ41:
      return dequantize_all<BlockQ41>(source, blocks, out);
    case GgmlType::kQ50:
      return dequantize_all<BlockQ50>(source, blocks, out);
    case GgmlType::kQ51:
      return dequantize_all<BlockQ51>(source, blocks, out);
    case GgmlType::kQ80:
      return dequantize_all<BlockQ80>(source, blocks, out);
    case GgmlType::kQ2K:
      return dequantize_all<BlockQ2K>(source, blocks, out);
    case GgmlType::kQ3K:
      return dequantize_all<BlockQ3K>(source, blocks, out);
    case GgmlType::kQ4K:
      return dequantize_all<BlockQ4K>(source, blocks, out);
    case GgmlType::kQ5K:
      return dequantize_all<BlockQ5K>(source, blocks, out);
    case GgmlType::kQ6K:
      return dequantize_all<BlockQ6K>(source, blocks, out);
    case GgmlType::kIq4Nl:
      return dequantize_all<BlockIq4Nl>(source, blocks, out);
    case GgmlType::kIq4Xs:
      return dequantize_all<BlockIq4Xs>(source, blocks, out);
    case GgmlType::kF32:
    case GgmlType::kF16:
    case GgmlType::kBF16:
      break;
  }
  FPTQ_CHECK(false, "a type of blocks");
}

}  // namespace fptq::io
