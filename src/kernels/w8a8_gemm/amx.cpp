// AMX variant: tiles for many tokens, the AVX-512 VNNI code for few.

#include "kernels/integer_gemm/lanes_avx512.h"
// The panels are written over the Lanes that the line above defines.
#include "kernels/w8a8_gemm/vnni_body.h"
// The tiles are written over both.
#include "kernels/integer_gemm/panels_amx.h"

namespace fptq::kernels {
namespace {

// Up to so many tokens a tile would be mostly empty.
constexpr std::size_t kFewTokens = 6;

struct AmxPanelScratch {
  alignas(64) std::uint8_t weights[kTileBlocks][kAmxPanelSlabs * kSlabBytes8];
  alignas(64) std::int32_t zeros[kAmxPanelSlabs * kTileRows];
  alignas(64) std::int32_t weight_sums[kAmxPanelSlabs * kTileRows];
  alignas(64) float scales[kAmxPanelSlabs * kTileRows];
  alignas(64) std::int32_t start[kAmxTokenBlock * kAmxPanelSlabs];
  AmxScratch tiles;
};

// Copies the slabs of `k` of one block, the b-th of the panel, as signed bytes, the codes, and
// makes its zero points those of codes.
void unpack_signed(const PackedWeights& w, std::size_t block, const KBlock& k, std::size_t b,
                   AmxPanelScratch& scratch) {
  const std::uint8_t* from = slab_codes(w, block, k.slab_begin);
  // The same slabs of the panel after this one, so that memory works while the tiles multiply.
  const std::uint8_t* next = from + kTileBlocks * w.records.block_bytes;
  for (std::size_t byte = 0; byte < k.slabs * kSlabBytes8; byte += kQuadBytes) {
    _mm_prefetch(reinterpret_cast<const char*>(next + byte), _MM_HINT_T1);
    const __m512i biased = load_lanes(from + byte).v;
    store_lanes(scratch.weights[b] + byte,
                Lanes{_mm512_xor_si512(biased, _mm512_set1_epi8(static_cast<char>(kBias8)))});
  }
  for (std::size_t g = 0; g < k.groups; ++g) {
    std::int32_t* zeros = scratch.zeros + g * kTileRows + b * kBlockRows;
    store_lanes(zeros, load_lanes(zeros) - broadcast_lanes(kBias8));
  }
}

void multiply_tiled(const IntegerGemmArgs& args) {
  AmxPanelScratch scratch;
  const PackedWeights& w = args.w;
  for_each_panel_amx(
      args,
      [&](std::size_t token, std::size_t tokens, const KBlock& k) {
        copy_tail(args.x, token, tokens, k, scratch.tiles);
        if (w.zeros == nullptr) return;
        negative_sums(args.x, token, tokens, slab_count(w.cols), k, 1, scratch.start);
      },
      [&](const AmxRange& range, const KBlock& k) {
        Panel panel =
            panel_at(args, range.block, k, scratch.weights[0], sizeof(scratch.weights[0]), scratch);
        const std::size_t blocks = ceil_div(panel.channels, kBlockRows);
        for (std::size_t b = 0; b < blocks; ++b) {
          prepare_block(w, range.block + b, k, b, args.x.zero_points != nullptr, scratch);
          unpack_signed(w, range.block + b, k, b, scratch);
        }
        if (w.zeros != nullptr) panel.zeros = scratch.zeros;
        multiply_panel_amx(args, panel, range, scratch.start, scratch.tiles);
      });
}

}  // namespace

void w8a8_gemm_amx(const IntegerGemmArgs& args) {
  if (args.x.rows == 0) return;
  if (args.x.rows > kFewTokens) return multiply_tiled(args);
  w8a8_gemm_body(args);
}

}  // namespace fptq::kernels
