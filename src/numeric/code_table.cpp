#include "numeric/code_table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/check.h"

namespace fptq {
namespace {

using Table = std::array<float, kTableEntries>;
using DynamicMap = std::array<float, kDynamicMapEntries>;

constexpr Table kNormalFloat = {-1.0f,
                                -0.6961928009986877f,
                                -0.5250730514526367f,
                                -0.39491748809814453f,
                                -0.28444138169288635f,
                                -0.18477343022823334f,
                                -0.09105003625154495f,
                                0.0f,
                                0.07958029955625534f,
                                0.16093020141124725f,
                                0.24611230194568634f,
                                0.33791524171829224f,
                                0.44070982933044434f,
                                0.5626170039176941f,
                                0.7229568362236023f,
                                1.0f};

constexpr Table kFourBitFloat = {
    0.0f, 0.0625f / 12,  8.0f / 12,  1.0f,  4.0f / 12,  6.0f / 12,  2.0f / 12,  3.0f / 12,
    0.0f, -0.0625f / 12, -8.0f / 12, -1.0f, -4.0f / 12, -6.0f / 12, -2.0f / 12, -3.0f / 12};

// steps + 1 equidistant points of [0.1, 1], counted from the nearer end, each rounded once.
std::vector<float> points(int steps) {
  const float first = 0.1f;
  const float last = 1.0f;
  const float step = (last - first) / static_cast<float>(steps);
  std::vector<float> result;
  for (int k = 0; k <= steps; ++k) {
    result.push_back(k < (steps + 1) / 2 ? std::fma(step, static_cast<float>(k), first)
                                         : std::fma(-step, static_cast<float>(steps - k), last));
  }
  return result;
}

DynamicMap make_dynamic_map() {
  // Literals, because pow() may differ by the last bit between systems.
  constexpr std::array<float, 7> kMagnitudes = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
  DynamicMap map{};
  std::size_t count = 0;
  map[count++] = 0.0f;
  map[count++] = 1.0f;
  for (std::size_t i = 0; i < kMagnitudes.size(); ++i) {
    const std::vector<float> ends = points(1 << i);
    for (std::size_t k = 0; k + 1 < ends.size(); ++k) {
      const float middle = kMagnitudes[i] * ((ends[k] + ends[k + 1]) / 2);
      map[count++] = middle;
      map[count++] = -middle;
    }
  }
  FPTQ_CHECK(count == map.size(), "a value for every code");
  std::sort(map.begin(), map.end());
  return map;
}

}  // namespace

std::string_view code_type_name(CodeType type) {
  switch (type) {
    case CodeType::kInt:
      return "int";
    case CodeType::kNf4:
      return "nf4";
    case CodeType::kFp4:
      return "fp4";
  }
  return "unknown";
}

std::span<const float, kTableEntries> code_table(CodeType type) {
  FPTQ_CHECK(type != CodeType::kInt, "codes of a table");
  return type == CodeType::kNf4 ? kNormalFloat : kFourBitFloat;
}

std::span<const float, kDynamicMapEntries> dynamic_map() {
  static const DynamicMap map = make_dynamic_map();
  return map;
}

std::vector<float> restore_constants(std::span<const std::uint8_t> codes,
                                     std::span<const float> absmax,
                                     std::span<const float, kDynamicMapEntries> map, float offset) {
  FPTQ_CHECK(absmax.size() == (codes.size() + kNestedBlockSize - 1) / kNestedBlockSize,
             "a constant per block of constants");
  std::vector<float> constants(codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i) {
    constants[i] = map[codes[i]] * absmax[i / kNestedBlockSize] + offset;
  }
  return constants;
}

QuantArgs table_weights(CodeType type, std::size_t block_size, bool double_quantized) {
  return QuantArgs{4, type, true, Strategy::kBlock, block_size, false, double_quantized};
}

}  // namespace fptq
