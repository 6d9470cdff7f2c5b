// AMX variant: tiles for many tokens, the AVX-512 VNNI code for few.

#include "kernels/integer_gemm/lanes_avx512.h"
// The panels are written over the Lanes that the line above defines.
#include "kernels/w8a8_gemm/vnni_body.h"
// The tiles are written over both.
#include "kernels/integer_gemm/tile_amx.h"

namespace fptq::kernels {
namespace {

// Up to so many tokens a tile would be mostly empty.
constexpr std::size_t kFewTokens = 6;

struct AmxPanelScratch {
  alignas(64) std::int32_t zeros[kPanelSlabs * kTileRows];
  alignas(64) std::int32_t weight_sums[kPanelSlabs * kTileRows];
  alignas(64) float scales[kPanelSlabs * kTileRows];
  alignas(64) std::int32_t start[kAmxTokenBlock * kPanelSlabs];
  AmxScratch tiles;
};

void multiply_tiled(const IntegerGemmArgs& args) {
  AmxPanelScratch scratch;
  const PackedWeights& w = args.w;
  const KBlocks k_blocks(w.cols, w.group_width, kPanelSlabs);
  for_each_panel_amx(
      args, k_blocks,
      [&](std::size_t token, std::size_t tokens, const KBlock& k) {
        copy_tail(args.x, token, tokens, k, scratch.tiles);
        negative_sums(args.x, token, tokens, k_blocks.slabs(), k, 1, scratch.start);
      },
      [&](const AmxRange& range, const KBlock& k) {
        Panel panel = panel_at(args, range.block, k, slab_codes(w, range.block, k.slab_begin),
                               w.records.block_bytes, scratch);
        panel.zeros = scratch.zeros;
        const std::size_t blocks = ceil_div(panel.channels, kBlockRows);
        for (std::size_t b = 0; b < blocks; ++b) {
          prepare_block(w, range.block + b, k, b, args.x.zero_points != nullptr, scratch);
        }
        multiply_panel_amx<UnsignedWeights>(args, panel, range, scratch.start, scratch.tiles);
      });
  release_tiles();
}

}  // namespace

void w8a8_gemm_amx(const IntegerGemmArgs& args) {
  if (args.x.rows == 0) return;
  if (args.x.rows > kFewTokens) return multiply_tiled(args);
  w8a8_gemm_body(args);
}

}  // namespace fptq::kernels
