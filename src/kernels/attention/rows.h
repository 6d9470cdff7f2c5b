// What attention does with one query at a time: codes, scores, exponentials. Include a vec_<isa>.h
// and a dot_<isa>.h before it.

#pragma once

#include "kernels/attention/contract.h"
#include "kernels/attention/float_products.h"
#include "kernels/simd/exp.h"
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

inline constexpr std::size_t kBlockVecs = kAttentionBlock / Vec::kLanes;
inline constexpr float kMinusInfinity = -__builtin_inff();
inline constexpr float kLargest = 0x1.fffffep127f;
inline constexpr float kNegligible = 0x1.0p-100f;
inline constexpr float kRounding = 0x1.8p23f;  // adding it rounds to an integer
inline constexpr float kLargestSum = 0x1.0p24f;
inline constexpr float kLargestQueryCode = 127.0f;
inline constexpr float kLargestWeightCode = 16383.0f;

// m, l and o of a row over one or more chunks, somewhere in memory.
struct State {
  float* at;
  [[nodiscard]] float* maximum() const { return at; }
  [[nodiscard]] float* sum() const { return at + 16; }  // [16] lanes
  [[nodiscard]] float* o() const { return at + 32; }    // [Dv]
};

// Everything about the queries of one panel.
struct Panel {
  std::size_t rows;
  std::size_t width;                     // Dv
  std::size_t state_floats;              // between rows
  const float* q[kAttentionRows];        // [head_dim]
  float* out[kAttentionRows];            // [head_dim]
  std::size_t position[kAttentionRows];  // of the query
  float factor[kAttentionRows];          // of a raw product to a score in base 2
  const QueryCode* codes[kAttentionRows];
  std::int32_t start[kAttentionRows];  // what the offset of stored keys adds to a product, negated
  float* states;                       // [rows, state_floats]: over the chunks so far
  float* tile_states;                  // [kTileRows, state_floats]: of one chunk

  [[nodiscard]] State state(std::size_t r) const { return {states + r * state_floats}; }
};

// What one tile does in one chunk.
struct Tile {
  std::size_t first;  // row of the panel
  std::size_t begin;  // position at which the chunk begins
  Range range[kTileRows];
  float score[kTileRows][kAttentionChunk];  // raw products (int32 for kI8), then s, then e or w
  WeightRow weights[kTileRows];             // only for kI8
};

// The factors of codes from -limit to limit, or from 0 on, for values of that largest magnitude.
struct CodeScale {
  float scale;    // value ~ scale * code
  float inverse;  // code = value * inverse, rounded
};

CodeScale code_scale(float largest, float limit) {
  if (!(largest <= kLargest)) return {__builtin_nanf(""), 0.0f};
  if (largest < kNegligible) return {0.0f, 0.0f};
  return {largest / limit, limit / largest};
}

// The largest lane of floats >= 0, NaN if there is one.
float largest_bits(Vec a) {
  float lanes[Vec::kLanes];
  store_f32(lanes, a);
  std::uint32_t largest = 0;
  for (const float lane : lanes) {
    std::uint32_t bits;
    __builtin_memcpy(&bits, &lane, sizeof(bits));
    largest = bits > largest ? bits : largest;
  }
  float result;
  __builtin_memcpy(&result, &largest, sizeof(result));
  return result;
}

// value * inverse rounded to an integer, half to even, in the low bits.
inline Vec rounded(Vec value, Vec inverse) {
  return fma(value, inverse, vec_set(kRounding));
}

// The first elements of a query, zeros behind the last one.
inline F32x16 load_query(const float* q, std::size_t d, std::size_t head_dim) {
  const std::size_t left = head_dim - d;
  return left >= kVirtualLanes ? load16<ElementType::kF32>(q + d)
                               : load16_partial<ElementType::kF32>(q + d, left);
}

// Codes of one query, zeros behind them.
void code_query(const AttentionArgs& args, Panel& panel, std::size_t r, QueryCode* codes) {
  Vec largest = vec_zero();
  for (std::size_t d = 0; d < panel.width && d < args.head_dim; d += kVirtualLanes) {
    for (const Vec& q : load_query(panel.q[r], d, args.head_dim).part) {
      largest = vec_max_bits(largest, vec_max(q, vec_zero() - q));
    }
  }
  const CodeScale code = code_scale(largest_bits(largest), kLargestQueryCode);
  panel.factor[r] = code.scale * panel.factor[r];
  panel.codes[r] = codes;
  F32x16 total = f32x16_zero();  // of integers, far below 2^24: exact
  for (std::size_t d = 0; d < panel.width; d += kVirtualLanes) {
    const F32x16 q = load_query(panel.q[r], d, args.head_dim);
    float words[kVirtualLanes];
    for (std::size_t part = 0; part < kParts; ++part) {
      const Vec integer = rounded(q.part[part], vec_set(code.inverse));
      total.part[part] = total.part[part] + (integer - vec_set(kRounding));
      store_f32(words + part * Vec::kLanes, integer);
    }
    store_query(words, codes + d);
  }
  // NaN or infinite queries have codes without meaning and a factor of NaN.
  const float sum = reduce_add16(total);
  panel.start[r] =
      sum < kLargestSum && sum > -kLargestSum ? -128 * static_cast<std::int32_t>(sum) : 0;
}

// The blocks that a range touches.
Range blocks_of(Range range) {
  return {range.begin / kAttentionBlock * kAttentionBlock,
          (range.end + kAttentionBlock - 1) / kAttentionBlock * kAttentionBlock};
}

inline std::size_t lanes_before(std::size_t end, std::size_t lane) {
  const std::size_t count = end > lane ? end - lane : 0;
  return count < Vec::kLanes ? count : Vec::kLanes;
}

// Replaces lanes outside the range, where lane 0 is position `first` of the chunk.
inline Vec mask_outside(Vec a, Range range, std::size_t first, Vec outside) {
  a = first_lanes(a, outside, lanes_before(range.end, first));
  return first_lanes(outside, a, lanes_before(range.begin, first));
}

// Turns raw products of one row into scores s and returns their maximum.
template <ElementType kType>
float scale_scores(const AttentionArgs& args, float row_factor, std::size_t chunk_begin,
                   Range range, float* score) {
  const Range blocks = blocks_of(range);
  const Vec factor = vec_set(row_factor);
  const Vec nothing = vec_set(kMinusInfinity);
  Vec largest[kBlockVecs];
#pragma GCC unroll 16
  for (Vec& vec : largest) vec = nothing;
  for (std::size_t block = blocks.begin; block < blocks.end; block += kAttentionBlock) {
    const bool partial = block < range.begin || block + kAttentionBlock > range.end;
#pragma GCC unroll 16
    for (std::size_t c = 0; c < kBlockVecs; ++c) {
      const std::size_t j = block + c * Vec::kLanes;
      Vec s;
      if constexpr (kType == ElementType::kI8) {
        s = load_i32(score + j) * load_f32(args.kv.key_scales + chunk_begin + j) * factor;
      } else {
        s = load_f32(score + j) * factor;
      }
      if (partial) s = mask_outside(s, range, j, nothing);
      store_f32(score + j, s);
      largest[c] = vec_max(largest[c], s);
    }
  }
#pragma GCC unroll 16
  for (std::size_t c = 1; c < kBlockVecs; ++c) largest[0] = vec_max(largest[0], largest[c]);
  return reduce_max(largest[0]);
}

// Replaces scores of one row by e, or w for kI8, and writes l. Returns b for kI8.
template <ElementType kType>
float exponentiate(const AttentionArgs& args, float maximum, std::size_t chunk_begin, Range range,
                   float* score, float* lanes) {
  const Range blocks = blocks_of(range);
  // Where every score is -inf, differences to the maximum would be NaN.
  const Vec m = vec_set(maximum == kMinusInfinity ? 0.0f : maximum);
  F32x16 sum = f32x16_zero();
  Vec heaviest = vec_zero();
  for (std::size_t block = blocks.begin; block < blocks.end; block += kAttentionBlock) {
    const bool partial = block < range.begin || block + kAttentionBlock > range.end;
#pragma GCC unroll 16
    for (std::size_t c = 0; c < kBlockVecs; ++c) {
      const std::size_t j = block + c * Vec::kLanes;
      Vec e = vec_exp2_of_negative(load_f32(score + j) - m);
      sum.part[c % kParts] = sum.part[c % kParts] + e;
      if constexpr (kType == ElementType::kI8) {
        e = e * load_f32(args.kv.value_scales + chunk_begin + j);
        if (partial) e = mask_outside(e, range, j, vec_zero());
        heaviest = vec_max_bits(heaviest, e);
      }
      store_f32(score + j, e);
    }
  }
  store16(lanes, sum);
  return kType == ElementType::kI8 ? largest_bits(heaviest) : 0.0f;
}

// Codes of one row's weights w in the given blocks, zeros in those that it does not see.
void code_weights(Range blocks, Range range, float inverse, float* score, WeightRow* weights) {
  const Range seen = range.empty() ? Range{0, 0} : blocks_of(range);
  for (std::size_t block = blocks.begin; block < blocks.end; block += kAttentionBlock) {
    const bool visible = block >= seen.begin && block < seen.end;
#pragma GCC unroll 16
    for (std::size_t c = 0; c < kBlockVecs; ++c) {
      float* w = score + block + c * Vec::kLanes;
      store_f32(w, visible ? rounded(load_f32(w), vec_set(inverse)) : vec_zero());
    }
    store_weights(score + block, block, weights);
  }
}

}  // namespace
}  // namespace fptq::kernels
