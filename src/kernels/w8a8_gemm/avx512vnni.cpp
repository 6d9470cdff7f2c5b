// AVX-512 VNNI variant: biased weight bytes are the unsigned operand as they are stored.

#include "kernels/integer_gemm/tile_avx512vnni.h"
#include "kernels/w8a8_gemm/contract.h"

namespace fptq::kernels {
namespace {

// Slabs of a panel: 32 channels x 2048 inputs, 64 KiB.
constexpr std::size_t kPanelSlabs = 64;

struct Scratch {
  alignas(64) std::int32_t zeros[kPanelSlabs * kTileRows];
  alignas(64) std::int32_t weight_sums[kPanelSlabs * kTileRows];
  alignas(64) float scales[kPanelSlabs * kTileRows];
  alignas(64) std::int32_t start[kTokenBlock * kPanelSlabs];
  alignas(64) std::int32_t carry[kTokenBlock * kTileRows];
};

// Scales, zero points and, where activations have zero points, sums of one block of a panel.
void prepare_block(const PackedWeights& w, std::size_t block, const KBlock& k, std::size_t b,
                   bool zero_point, Scratch& scratch) {
  const std::size_t groups = ceil_div(w.cols, w.group_width);
  const std::uint8_t* codes = w.codes + (block * slab_count(w.cols) + k.slab_begin) * kSlabBytes8;
  std::size_t slabs_left = k.slabs;
  for (std::size_t g = 0; g < k.groups; ++g) {
    const std::size_t at = block * groups + k.group_begin + g;
    const std::size_t slot = g * kTileRows + b * kBlockRows;
    _mm512_store_ps(scratch.scales + slot, load_scales(w.scales, w.scale_type, at * kBlockRows));
    __m512i zeros = _mm512_set1_epi32(kBias8);
    if (w.zeros != nullptr) {
      zeros = _mm512_cvtepu8_epi32(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(w.zeros + at * kBlockRows)));
      _mm512_store_si512(scratch.zeros + slot, zeros);
    }
    const std::size_t slabs = slabs_left < k.group_slabs ? slabs_left : k.group_slabs;
    slabs_left -= slabs;
    if (!zero_point) continue;
    __m512i sum = _mm512_setzero_si512();
    for (std::size_t quad = 0; quad < slabs * 8; ++quad) {
      sum = _mm512_dpbusd_epi32(sum, _mm512_loadu_si512(codes + quad * kQuadBytes),
                                _mm512_set1_epi8(1));
    }
    codes += slabs * kSlabBytes8;
    const __m512i inputs = _mm512_set1_epi32(static_cast<std::int32_t>(slabs * kSlabCols));
    _mm512_store_si512(scratch.weight_sums + slot,
                       _mm512_sub_epi32(sum, _mm512_mullo_epi32(zeros, inputs)));
  }
}

}  // namespace

void w8a8_gemm_avx512vnni(const IntegerGemmArgs& args) {
  Scratch scratch;
  const PackedWeights& w = args.w;
  const KBlocks k_blocks(w.cols, w.group_width, kPanelSlabs);
  const std::size_t block_bytes = k_blocks.slabs() * kSlabBytes8;
  for (std::size_t token = 0; token < args.x.rows; token += kTokenBlock) {
    const std::size_t tokens =
        args.x.rows - token < kTokenBlock ? args.x.rows - token : kTokenBlock;
    for (std::size_t block = args.block_begin; block < args.block_end; block += kTileBlocks) {
      const std::size_t blocks = args.block_end - block < kTileBlocks ? 1 : kTileBlocks;
      Panel panel{.weights = nullptr,
                  .weight_stride = block_bytes,
                  .zeros = w.zeros == nullptr ? nullptr : scratch.zeros,
                  .weight_sums = scratch.weight_sums,
                  .scales = scratch.scales,
                  .bias = args.bias == nullptr ? nullptr : args.bias + block * kBlockRows,
                  .masks = {},
                  .k = {},
                  .first = true,
                  .last = false};
      for (std::size_t b = 0; b < blocks; ++b) panel.masks[b] = channel_mask(w, block + b);
      for (std::size_t slab = 0; slab < k_blocks.slabs(); slab += panel.k.slabs) {
        panel.k = k_blocks.at(slab);
        panel.last = slab + panel.k.slabs == k_blocks.slabs();
        panel.weights = w.codes + block * block_bytes + slab * kSlabBytes8;
        for (std::size_t b = 0; b < blocks; ++b) {
          prepare_block(w, block + b, panel.k, b, args.x.zero_points != nullptr, scratch);
        }
        negative_sums(args.x, token, tokens, k_blocks.slabs(), panel.k,
                      w.zeros == nullptr ? kBias8 : 1, scratch.start);
        multiply_panel(args, panel, blocks, block * kBlockRows, token, tokens, scratch.start,
                       scratch.carry);
        if (!panel.k.unfinished) panel.first = false;
      }
    }
  }
}

}  // namespace fptq::kernels
