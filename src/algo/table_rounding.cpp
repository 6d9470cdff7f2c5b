#include "algo/table_rounding.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "numeric/code_table.h"

namespace fptq::algo {
namespace {

constexpr std::size_t kThresholds = kTableEntries - 1;
constexpr std::size_t kLargestBlock = 4096;
// Equidistant positions that constants are rounded to before their nearest code is looked up.
constexpr std::size_t kPositions = 65536;

// The table in ascending order: its codes, and the middles between neighbours.
struct SortedTable {
  std::array<std::uint8_t, kTableEntries> codes;
  std::array<float, kThresholds> middles;
};

SortedTable sort_table(CodeType type) {
  const auto table = code_table(type);
  SortedTable sorted{};
  std::iota(sorted.codes.begin(), sorted.codes.end(), std::uint8_t{0});
  // FP4 has two zeros; 0 comes before 8.
  std::stable_sort(sorted.codes.begin(), sorted.codes.end(),
                   [&](std::uint8_t a, std::uint8_t b) { return table[a] < table[b]; });
  for (std::size_t i = 0; i < kThresholds; ++i) {
    sorted.middles[i] = (table[sorted.codes[i]] + table[sorted.codes[i + 1]]) / 2;
  }
  return sorted;
}

const SortedTable& sorted_table(CodeType type) {
  static const SortedTable nf4 = sort_table(CodeType::kNf4);
  static const SortedTable fp4 = sort_table(CodeType::kFp4);
  return type == CodeType::kNf4 ? nf4 : fp4;
}

float largest_magnitude(std::span<const float> values) {
  float largest = 0.0f;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// Where each weight of a block lies in the sorted table. The loops run over weights inside, so
// that they map to vector instructions.
void find_ranks(std::span<const float> values, std::size_t block_size, float absmax,
                const SortedTable& table, std::int32_t* ranks) {
  std::array<float, kLargestBlock> positions;
  const std::size_t count = values.size();
  if (count == block_size) {
    const float inverse = 1.0f / std::max(absmax, kLeastPartialConstant);
    for (std::size_t i = 0; i < count; ++i) positions[i] = values[i] * inverse;
  } else {
    for (std::size_t i = 0; i < count; ++i) positions[i] = values[i] / absmax;
  }
  // Clamping to [-1, 1] changes no rank: every middle lies within.
  std::fill_n(ranks, count, 0);
  for (const float middle : table.middles) {
    for (std::size_t i = 0; i < count; ++i) ranks[i] += positions[i] > middle ? 1 : 0;
  }
}

// The nearest code of dynamic_map() to each position.
std::array<std::uint8_t, kPositions> make_position_codes() {
  const auto map = dynamic_map();
  std::array<std::uint8_t, kPositions> codes{};
  std::size_t code = 0;
  for (std::size_t i = 0; i < kPositions; ++i) {
    const double position = static_cast<double>(i) / (kPositions - 1) * 2 - 1;
    while (code + 1 < map.size() &&
           position > static_cast<double>((map[code] + map[code + 1]) / 2)) {
      ++code;
    }
    codes[i] = static_cast<std::uint8_t>(code);
  }
  return codes;
}

}  // namespace

void block_constants(std::span<const float> values, std::size_t block_size,
                     std::span<float> absmax) {
  FPTQ_CHECK(absmax.size() == (values.size() + block_size - 1) / block_size,
             "a constant per block");
  for (std::size_t block = 0; block < absmax.size(); ++block) {
    const std::size_t begin = block * block_size;
    const std::size_t count = std::min(block_size, values.size() - begin);
    const float largest = largest_magnitude(values.subspan(begin, count));
    absmax[block] = count == block_size ? largest : std::max(largest, kLeastPartialConstant);
  }
}

RoundingError round_to_table(std::span<const float> values, const QuantArgs& weights,
                             std::span<const float> absmax, std::span<const float> restored,
                             std::span<std::uint8_t> codes) {
  const std::size_t block_size = weights.group_size;
  FPTQ_CHECK(is_table_block_size(block_size), "a block size that the format has");
  FPTQ_CHECK(absmax.size() == (values.size() + block_size - 1) / block_size &&
                 restored.size() == absmax.size() && codes.size() == (values.size() + 1) / 2,
             "a constant per block, and two codes to a byte");
  const SortedTable& sorted = sorted_table(weights.type);
  const auto table = code_table(weights.type);
  RoundingError error;
  std::array<std::int32_t, kLargestBlock> ranks;
  for (std::size_t block = 0; block < absmax.size(); ++block) {
    const std::size_t begin = block * block_size;
    const std::size_t count = std::min(block_size, values.size() - begin);
    find_ranks(values.subspan(begin, count), block_size, absmax[block], sorted, ranks.data());
    RoundingError of_block;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint8_t code = sorted.codes[static_cast<std::size_t>(ranks[i])];
      // Blocks begin at even weights, so that the first of a pair comes first.
      std::uint8_t& byte = codes[(begin + i) / 2];
      byte = static_cast<std::uint8_t>(i % 2 == 0 ? code << 4 : byte | code);
      const auto weight = static_cast<double>(values[begin + i]);
      const double difference = weight - static_cast<double>(table[code] * restored[block]);
      of_block.add({difference * difference, weight * weight, std::abs(difference)});
    }
    error.add(of_block);
  }
  if (values.size() % 2 != 0) {
    // What the format appends is a weight of 0.
    const auto rank = std::count_if(sorted.middles.begin(), sorted.middles.end(),
                                    [](float middle) { return 0.0f > middle; });
    codes.back() |= sorted.codes[static_cast<std::size_t>(rank)];
  }
  return error;
}

QuantizedConstants quantize_constants(std::span<const float> constants) {
  static const std::array<std::uint8_t, kPositions> position_codes = make_position_codes();
  QuantizedConstants result;
  if (constants.empty()) return result;
  double sum = 0;
  for (const float constant : constants) sum += static_cast<double>(constant);
  result.offset = static_cast<float>(sum / static_cast<double>(constants.size()));
  result.codes.resize(constants.size());
  std::vector<float> block;
  for (std::size_t begin = 0; begin < constants.size(); begin += kNestedBlockSize) {
    const std::size_t count = std::min(kNestedBlockSize, constants.size() - begin);
    block.assign(constants.begin() + static_cast<std::ptrdiff_t>(begin),
                 constants.begin() + static_cast<std::ptrdiff_t>(begin + count));
    for (float& value : block) value -= result.offset;
    const float absmax = largest_magnitude(block);
    result.absmax.push_back(absmax);
    // Equal constants leave nothing to code: every code stands for 0 then.
    if (absmax == 0.0f) continue;
    const float inverse = 1.0f / absmax;
    for (std::size_t i = 0; i < count; ++i) {
      // Infinite for constants below 2^-128, where only signs are told apart.
      const float position = block[i] * inverse;
      if (std::isnan(position)) continue;
      const float clamped = std::clamp(position, -1.0f, 1.0f);
      // NOLINTNEXTLINE(bugprone-incorrect-roundings): none is negative.
      const auto index = static_cast<std::size_t>((clamped + 1.0f) * 32767.5f + 0.5f);
      result.codes[begin + i] = position_codes[std::min(index, kPositions - 1)];
    }
  }
  return result;
}

std::vector<float> restored(const QuantizedConstants& constants) {
  return restore_constants(constants.codes, constants.absmax, dynamic_map(), constants.offset);
}

}  // namespace fptq::algo
