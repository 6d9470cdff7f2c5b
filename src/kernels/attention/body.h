// attention, written once over Vec. Included by each variant after its vec_<isa>.h.
//
// A panel of up to kAttentionRows queries walks over the blocks of 64 positions. Both products of
// a block, scores = Q * K^T and out += E * V, are sums of outer products: a value of the left
// operand is broadcast and multiplies consecutive elements of the right one, kTileRows queries at
// a time, so that a stored element is loaded and widened once per tile.

#pragma once

#include "kernels/attention/contract.h"
#include "kernels/simd/exp.h"
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

inline constexpr std::size_t kTileRows = 6;
// Vecs of a tile's row: kTileRows * kTileVecs sums stay in registers.
inline constexpr std::size_t kTileVecs = Vec::kLanes == 16 && Vec::kRegisters == 32 ? 4 : kParts;
inline constexpr std::size_t kChunks = kAttentionBlock / kVirtualLanes;

static_assert(kAttentionRows % kTileRows == 0);

// The positions of a block that a query sees: [begin, end), empty where begin >= end.
struct Range {
  std::size_t begin;
  std::size_t end;
};

// Everything about the queries of one panel.
struct Panel {
  std::size_t rows;
  std::size_t padded_dim;                        // Dv
  const float* q[kAttentionRows];                // [head_dim]
  float* out[kAttentionRows];                    // [head_dim]
  std::size_t position[kAttentionRows];          // of the query
  float maximum[kAttentionRows];                 // m
  float sum[kAttentionRows][kVirtualLanes];      // l
  float score[kAttentionRows][kAttentionBlock];  // s, then e
  float factor[kAttentionRows];                  // c
  Range range[kAttentionRows];                   // in the block at hand
  float* sums;                                   // o: [kAttentionRows, Dv]
};

// sums[r, :] = factor[r] * sums[r, :] + sum over i in range of left[r][i] * right[i, :], for kRows
// rows and kVecs Vecs of columns. factor null: starts from zero.
template <ElementType kType, std::size_t kRows, std::size_t kVecs>
void add_products(const float* const* left, const void* right, std::size_t right_stride,
                  Range range, const float* factor, float* sums, std::size_t sums_stride) {
  Vec sum[kRows][kVecs];
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t c = 0; c < kVecs; ++c) {
      sum[r][c] = factor == nullptr
                      ? vec_zero()
                      : load_f32(sums + r * sums_stride + c * Vec::kLanes) * vec_set(factor[r]);
    }
  }
  for (std::size_t i = range.begin; i < range.end; ++i) {
    Vec row[kVecs];
    for (std::size_t c = 0; c < kVecs; ++c) {
      row[c] = load_as<kType>(advance<kType>(right, i * right_stride + c * Vec::kLanes));
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      const Vec value = vec_set(left[r][i]);
      for (std::size_t c = 0; c < kVecs; ++c) sum[r][c] = fma(value, row[c], sum[r][c]);
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t c = 0; c < kVecs; ++c) {
      store_f32(sums + r * sums_stride + c * Vec::kLanes, sum[r][c]);
    }
  }
}

// The same for any number of columns that is a multiple of 16.
template <ElementType kType, std::size_t kRows>
void add_products_wide(const float* const* left, const void* right, std::size_t columns,
                       Range range, const float* factor, float* sums, std::size_t sums_stride) {
  std::size_t c = 0;
  for (; c + kTileVecs * Vec::kLanes <= columns; c += kTileVecs * Vec::kLanes) {
    add_products<kType, kRows, kTileVecs>(left, advance<kType>(right, c), columns, range, factor,
                                          sums + c, sums_stride);
  }
  for (; c < columns; c += kVirtualLanes) {
    add_products<kType, kRows, kParts>(left, advance<kType>(right, c), columns, range, factor,
                                       sums + c, sums_stride);
  }
}

// The same for 1 to kTileRows rows.
template <ElementType kType>
void add_products_of(std::size_t rows, const float* const* left, const void* right,
                     std::size_t columns, Range range, const float* factor, float* sums,
                     std::size_t sums_stride) {
  static_assert(kTileRows == 6);
  constexpr auto kByRows = [] {
    struct Table {
      decltype(&add_products_wide<kType, 1>) entry[kTileRows];
    };
    return Table{{add_products_wide<kType, 1>, add_products_wide<kType, 2>,
                  add_products_wide<kType, 3>, add_products_wide<kType, 4>,
                  add_products_wide<kType, 5>, add_products_wide<kType, 6>}};
  }();
  kByRows.entry[rows - 1](left, right, columns, range, factor, sums, sums_stride);
}

// Turns raw products of row r into scaled scores, -inf outside its range, and returns their
// maximum with what came before.
float finish_scores(const AttentionArgs& args, Panel& panel, std::size_t r,
                    std::size_t block_begin) {
  float* score = panel.score[r];
  const Range range = panel.range[r];
  const Vec scale = vec_set(args.scale);
  for (std::size_t j = 0; j < kAttentionBlock; j += Vec::kLanes) {
    Vec s = load_f32(score + j);
    if (args.kv.type == ElementType::kI8) s = s * load_f32(args.kv.key_scales + block_begin + j);
    store_f32(score + j, s * scale);
  }
  for (std::size_t j = 0; j < range.begin; ++j) score[j] = -__builtin_inff();
  for (std::size_t j = range.end; j < kAttentionBlock; ++j) score[j] = -__builtin_inff();
  Vec largest = load_f32(score);
  for (std::size_t j = Vec::kLanes; j < kAttentionBlock; j += Vec::kLanes) {
    largest = vec_max(largest, load_f32(score + j));
  }
  const float in_block = reduce_max(largest);
  return in_block > panel.maximum[r] ? in_block : panel.maximum[r];
}

// Replaces the scores of up to kTileRows rows by their exponentials and updates m, l and c.
void softmax_step(const AttentionArgs& args, Panel& panel, std::size_t first, std::size_t rows,
                  std::size_t block_begin) {
  float change[kVirtualLanes] = {};
  float reference[kTileRows];
  for (std::size_t i = 0; i < rows; ++i) {
    const std::size_t r = first + i;
    const float maximum = finish_scores(args, panel, r, block_begin);
    // Where every score so far is -inf, differences to the maximum would be NaN.
    reference[i] = maximum == -__builtin_inff() ? 0.0f : maximum;
    change[i] = panel.maximum[r] - reference[i];
    panel.maximum[r] = maximum;
  }
  store16(change, exp16(load16<ElementType::kF32>(change)));
  for (std::size_t i = 0; i < rows; ++i) {
    const std::size_t r = first + i;
    const Range range = panel.range[r];
    panel.factor[r] = change[i];
    if (range.begin >= range.end) continue;  // an unseen block leaves the row as it is
    const Vec m = vec_set(reference[i]);
    const Vec c = vec_set(change[i]);
    for (std::size_t part = 0; part < kParts; ++part) {
      const std::size_t lane = part * Vec::kLanes;
      Vec sum = load_f32(panel.sum[r] + lane) * c;
      for (std::size_t chunk = 0; chunk < kChunks; ++chunk) {
        const std::size_t j = chunk * kVirtualLanes + lane;
        Vec e = vec_exp(load_f32(panel.score[r] + j) - m);
        sum = sum + e;
        if (args.kv.type == ElementType::kI8) {
          e = e * load_f32(args.kv.value_scales + block_begin + j);
        }
        store_f32(panel.score[r] + j, e);
      }
      store_f32(panel.sum[r] + lane, sum);
    }
  }
}

// o = o * c + E * V for up to kTileRows rows. Rows that see the same positions go together; what
// only some of them see (at the diagonal, and where a window begins) follows row by row.
template <ElementType kType>
void add_values(Panel& panel, std::size_t first, std::size_t rows, const void* values) {
  const std::size_t dim = panel.padded_dim;
  const float* left[kTileRows];
  Range common = panel.range[first];
  bool together = true;
  for (std::size_t i = 0; i < rows; ++i) {
    const Range range = panel.range[first + i];
    left[i] = panel.score[first + i];
    together = together && range.begin == common.begin;
    if (range.end < common.end) common.end = range.end;
  }
  together = together && common.begin < common.end;
  if (together) {
    add_products_of<kType>(rows, left, values, dim, common, panel.factor + first,
                           panel.sums + first * dim, dim);
  }
  const float one = 1.0f;
  for (std::size_t i = 0; i < rows; ++i) {
    Range rest = panel.range[first + i];
    if (together) rest.begin = common.end;
    if (rest.begin >= rest.end) continue;
    add_products_of<kType>(1, left + i, values, dim, rest,
                           together ? &one : panel.factor + first + i,
                           panel.sums + (first + i) * dim, dim);
  }
}

template <ElementType kType>
void process_block(const AttentionArgs& args, Panel& panel, std::size_t block) {
  const std::size_t begin = block * kAttentionBlock;
  const void* keys = advance<kType>(args.kv.keys, begin * args.head_dim);
  const void* values = advance<kType>(args.kv.values, begin * panel.padded_dim);
  for (std::size_t r = 0; r < panel.rows; ++r) {
    const std::size_t position = panel.position[r];
    Range& range = panel.range[r];
    range = {0, 0};
    if (position >= begin) {
      range.end = position - begin + 1 < kAttentionBlock ? position - begin + 1 : kAttentionBlock;
    }
    if (args.window != 0 && position + 1 > begin + args.window) {
      range.begin = position + 1 - args.window - begin;
    }
  }
  for (std::size_t first = 0; first < panel.rows; first += kTileRows) {
    const std::size_t left = panel.rows - first;
    const std::size_t rows = left < kTileRows ? left : kTileRows;
    add_products_of<kType>(rows, panel.q + first, keys, kAttentionBlock, {0, args.head_dim},
                           nullptr, panel.score[first], kAttentionBlock);
    softmax_step(args, panel, first, rows, begin);
    add_values<kType>(panel, first, rows, values);
  }
}

// out = o / l.
void write_row(const Panel& panel, std::size_t r, std::size_t head_dim) {
  const float total = reduce_add16(load16<ElementType::kF32>(panel.sum[r]));
  const float* sums = panel.sums + r * panel.padded_dim;
  // No position with a finite score: o is 0 as well, and 0 / 1 says so without NaN.
  const Vec divisor = vec_set(total == 0.0f ? 1.0f : total);
  for (std::size_t d = 0; d < head_dim; d += kVirtualLanes) {
    F32x16 o = load16<ElementType::kF32>(sums + d);
    for (Vec& part : o.part) part = part / divisor;
    const std::size_t left = head_dim - d;
    if (left >= kVirtualLanes) {
      store16(panel.out[r] + d, o);
    } else {
      store16_partial(panel.out[r] + d, o, left);
    }
  }
}

template <ElementType kType>
void attend(const AttentionArgs& args) {
  const std::size_t total_rows = args.tokens * args.group;
  Panel panel;
  panel.padded_dim = (args.head_dim + kVirtualLanes - 1) / kVirtualLanes * kVirtualLanes;
  panel.sums = args.scratch;
  for (std::size_t first = 0; first < total_rows; first += kAttentionRows) {
    const std::size_t left = total_rows - first;
    panel.rows = left < kAttentionRows ? left : kAttentionRows;
    for (std::size_t r = 0; r < panel.rows; ++r) {
      const std::size_t t = (first + r) / args.group;
      const std::size_t g = (first + r) % args.group;
      panel.q[r] = args.q + t * args.q_stride + g * args.head_dim;
      panel.out[r] = args.out + t * args.out_stride + g * args.head_dim;
      panel.position[r] = args.first_position + t;
      panel.maximum[r] = -__builtin_inff();
      store16(panel.sum[r], f32x16_zero());
      for (std::size_t d = 0; d < panel.padded_dim; d += Vec::kLanes) {
        store_f32(panel.sums + r * panel.padded_dim + d, vec_zero());
      }
    }
    // Rows are in ascending order of position.
    const std::size_t oldest = panel.position[0];
    const std::size_t newest = panel.position[panel.rows - 1];
    const std::size_t begin =
        args.window != 0 && oldest + 1 > args.window ? oldest + 1 - args.window : 0;
    for (std::size_t block = begin / kAttentionBlock; block <= newest / kAttentionBlock; ++block) {
      process_block<kType>(args, panel, block);
    }
    for (std::size_t r = 0; r < panel.rows; ++r) write_row(panel, r, args.head_dim);
  }
}

void attention_body(const AttentionArgs& args) {
  if (args.kv.type == ElementType::kF32) attend<ElementType::kF32>(args);
  if (args.kv.type == ElementType::kBF16) attend<ElementType::kBF16>(args);
  if (args.kv.type == ElementType::kI8) attend<ElementType::kI8>(args);
}

}  // namespace
}  // namespace fptq::kernels
