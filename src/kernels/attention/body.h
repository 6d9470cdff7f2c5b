// attention, written once over Vec. Included by each variant after its vec_<isa>.h and its
// dot_<isa>.h.
//
// A panel of up to kAttentionRows queries walks over the chunks of 256 positions, whose keys and
// values stay in a cache meanwhile, a tile of kTileRows queries at a time.

#pragma once

#include "kernels/attention/contract.h"
#include "kernels/attention/float_products.h"
#include "kernels/attention/rows.h"
#include "kernels/simd/exp.h"
#include "kernels/simd/f32x16.h"

namespace fptq::kernels {
namespace {

// The states of kRows rows over one chunk.
template <ElementType kType, std::size_t kRows>
void attend_tile(const AttentionArgs& args, const Panel& panel, Tile& tile, float* states) {
  Range seen = {kAttentionChunk, 0};
  for (std::size_t r = 0; r < kRows; ++r) {
    if (tile.range[r].empty()) continue;
    if (tile.range[r].begin < seen.begin) seen.begin = tile.range[r].begin;
    if (tile.range[r].end > seen.end) seen.end = tile.range[r].end;
  }
  if (seen.empty()) return;
  const Range blocks = blocks_of(seen);
  const std::size_t stride = panel.state_floats;
  const std::size_t groups = (args.head_dim + 3) / 4;
  for (std::size_t j = blocks.begin; j < blocks.end; j += kAttentionBlock) {
    if constexpr (kType == ElementType::kI8) {
      const void* keys = advance<kType>(args.kv.keys, (tile.begin + j) * groups * 4);
      dot_keys<kRows>(panel.codes + tile.first, static_cast<const std::uint8_t*>(keys), groups,
                      panel.start + tile.first, tile.score[0] + j, kAttentionChunk);
    } else {
      const void* keys = advance<kType>(args.kv.keys, (tile.begin + j) * args.head_dim);
      score_block<kType, kRows>(panel.q + tile.first, keys, args.head_dim, tile.score[0] + j);
    }
  }
  float unit[kRows];
  for (std::size_t r = 0; r < kRows; ++r) {
    const Range range = tile.range[r];
    float heaviest = 0.0f;
    if (!range.empty()) {
      const State state = {states + r * stride};
      *state.maximum() =
          scale_scores<kType>(args, panel.factor[tile.first + r], tile.begin, range, tile.score[r]);
      heaviest = exponentiate<kType>(args, *state.maximum(), tile.begin, range, tile.score[r],
                                     state.sum());
    }
    if constexpr (kType == ElementType::kI8) {
      const CodeScale code = code_scale(heaviest, kLargestWeightCode);
      unit[r] = code.scale;
      code_weights(blocks, range, code.inverse, tile.score[r], &tile.weights[r]);
    }
  }
  const void* values = advance<kType>(args.kv.values, tile.begin * panel.width);
  if constexpr (kType == ElementType::kI8) {
    dot_values<kRows>(tile.weights, static_cast<const std::int8_t*>(values), panel.width,
                      seen.begin / 4, (seen.end + 3) / 4, states + 32, stride);
    for (std::size_t r = 0; r < kRows; ++r) {
      float* o = states + r * stride + 32;
      for (std::size_t d = 0; d < panel.width; d += Vec::kLanes) {
        store_f32(o + d, load_i32(o + d) * vec_set(unit[r]));
      }
    }
  } else {
    const float* weights[kRows];
    for (std::size_t r = 0; r < kRows; ++r) weights[r] = tile.score[r];
    weigh_values<kType, kRows>(weights, values, panel.width, tile.range, states + 32, stride);
  }
}

template <ElementType kType>
void attend_rows(std::size_t rows, const AttentionArgs& args, const Panel& panel, Tile& tile,
                 float* states) {
  static_assert(kTileRows == 6);
  constexpr auto kByRows = [] {
    struct Table {
      decltype(&attend_tile<kType, 1>) entry[kTileRows];
    };
    return Table{{attend_tile<kType, 1>, attend_tile<kType, 2>, attend_tile<kType, 3>,
                  attend_tile<kType, 4>, attend_tile<kType, 5>, attend_tile<kType, 6>}};
  }();
  kByRows.entry[rows - 1](args, panel, tile, states);
}

// The positions of a chunk that the query at `position` sees.
Range seen_range(const AttentionArgs& args, std::size_t position, std::size_t chunk) {
  const std::size_t begin = chunk * kAttentionChunk;
  if (position < begin) return {0, 0};
  Range range = {0, position - begin + 1};
  if (range.end > kAttentionChunk) range.end = kAttentionChunk;
  if (args.window != 0 && position + 1 > begin + args.window) {
    range.begin = position + 1 - args.window - begin;
  }
  return range;
}

// Merges the states of one chunk into those of up to kTileRows rows that see some of it.
void merge(Panel& panel, std::size_t first, std::size_t rows, const Range* range,
           float* chunk_states) {
  float older[kVirtualLanes] = {};
  float newer[kVirtualLanes] = {};
  for (std::size_t i = 0; i < rows; ++i) {
    if (range[i].empty()) continue;
    float* maximum = panel.state(first + i).maximum();
    const float of_chunk = *State{chunk_states + i * panel.state_floats}.maximum();
    const float merged = of_chunk > *maximum ? of_chunk : *maximum;
    const float reference = merged == kMinusInfinity ? 0.0f : merged;
    older[i] = *maximum - reference;
    newer[i] = of_chunk - reference;
    *maximum = merged;
  }
  for (std::size_t i = 0; i < rows; i += Vec::kLanes) {
    store_f32(older + i, vec_exp2_of_negative(load_f32(older + i)));
    store_f32(newer + i, vec_exp2_of_negative(load_f32(newer + i)));
  }
  for (std::size_t i = 0; i < rows; ++i) {
    if (range[i].empty()) continue;
    float* into = panel.state(first + i).sum();
    const float* from = chunk_states + i * panel.state_floats + 16;
    const Vec x = vec_set(older[i]);
    const Vec y = vec_set(newer[i]);
    // l and o, which lie behind each other.
    for (std::size_t d = 0; d < kVirtualLanes + panel.width; d += Vec::kLanes) {
      store_f32(into + d, fma(load_f32(from + d), y, load_f32(into + d) * x));
    }
  }
}

// out = o * (1 / l).
void write_row(const Panel& panel, std::size_t r, std::size_t head_dim) {
  const State state = panel.state(r);
  const float total = reduce_add16(load16<ElementType::kF32>(state.sum()));
  // No position with a finite score: o is 0 as well, and 0 * 1 says so without NaN.
  const Vec inverse = vec_set(1.0f / (total == 0.0f ? 1.0f : total));
  for (std::size_t d = 0; d < head_dim; d += kVirtualLanes) {
    F32x16 o = load16<ElementType::kF32>(state.o() + d);
    for (Vec& part : o.part) part = part * inverse;
    const std::size_t left = head_dim - d;
    if (left >= kVirtualLanes) {
      store16(panel.out[r] + d, o);
    } else {
      store16_partial(panel.out[r] + d, o, left);
    }
  }
}

template <ElementType kType>
void begin_panel(const AttentionArgs& args, std::size_t first, Panel& panel) {
  const std::size_t left = args.tokens * args.group - first;
  panel.rows = left < kAttentionRows ? left : kAttentionRows;
  panel.width = padded_head_dim(args.head_dim);
  panel.state_floats = attention_state_floats(args.head_dim);
  panel.states = args.scratch;
  panel.tile_states = panel.states + kAttentionRows * panel.state_floats;
  unsigned char* codes =
      reinterpret_cast<unsigned char*>(panel.tile_states + kTileRows * panel.state_floats);
  for (std::size_t r = 0; r < panel.rows; ++r) {
    const std::size_t t = (first + r) / args.group;
    const std::size_t g = (first + r) % args.group;
    panel.q[r] = args.q + t * args.q_stride + g * args.head_dim;
    panel.out[r] = args.out + t * args.out_stride + g * args.head_dim;
    panel.position[r] = args.first_position + t;
    panel.factor[r] = args.scale * 0x1.715476p+0f;
    if constexpr (kType == ElementType::kI8) {
      code_query(args, panel, r, reinterpret_cast<QueryCode*>(codes) + r * panel.width);
    }
    const State state = panel.state(r);
    *state.maximum() = kMinusInfinity;
    for (std::size_t d = 0; d < kVirtualLanes + panel.width; d += Vec::kLanes) {
      store_f32(state.sum() + d, vec_zero());
    }
  }
}

template <ElementType kType>
void attend(const AttentionArgs& args) {
  const std::size_t total_rows = args.tokens * args.group;
  Panel panel;
  Tile tile;
  for (std::size_t first = 0; first < total_rows; first += kAttentionRows) {
    begin_panel<kType>(args, first, panel);
    // Rows are in ascending order of position.
    const std::size_t oldest = panel.position[0];
    const std::size_t newest = panel.position[panel.rows - 1];
    const std::size_t first_chunk = args.window != 0 && oldest + 1 > args.window
                                        ? (oldest + 1 - args.window) / kAttentionChunk
                                        : 0;
    Range chunks = {first_chunk, newest / kAttentionChunk + 1};
    if (args.part == AttentionPart::kChunks) chunks = {args.chunk_begin, args.chunk_end};
    for (std::size_t chunk = chunks.begin; chunk < chunks.end; ++chunk) {
      tile.begin = chunk * kAttentionChunk;
      for (tile.first = 0; tile.first < panel.rows; tile.first += kTileRows) {
        const std::size_t left = panel.rows - tile.first;
        const std::size_t rows = left < kTileRows ? left : kTileRows;
        for (std::size_t i = 0; i < rows; ++i) {
          tile.range[i] = seen_range(args, panel.position[tile.first + i], chunk);
        }
        float* states = panel.tile_states;
        if (args.part != AttentionPart::kWhole) {
          states =
              args.states + ((chunk - first_chunk) * total_rows + tile.first) * panel.state_floats;
        }
        if (args.part != AttentionPart::kMerge) {
          attend_rows<kType>(rows, args, panel, tile, states);
        }
        if (args.part != AttentionPart::kChunks) {
          merge(panel, tile.first, rows, tile.range, states);
        }
      }
    }
    if (args.part == AttentionPart::kChunks) return;
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
