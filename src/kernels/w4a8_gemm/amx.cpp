// AMX variant: tiles for many tokens, the AVX-512 VNNI code for few.

#include "kernels/integer_gemm/lanes_avx512.h"
// The panels are written over the Lanes that the line above defines.
#include "kernels/w4a8_gemm/vnni_body.h"
// The tiles are written over both.
#include "kernels/integer_gemm/panels_amx.h"

namespace fptq::kernels {
namespace {

// A panel holds code - zero.
constexpr std::int32_t kAmxOffset = 0;

struct AmxPanelScratch {
  alignas(64) std::uint8_t weights[kTileBlocks][kAmxPanelSlabs * kSlabBytes8];
  alignas(64) std::int32_t weight_sums[kAmxPanelSlabs * kTileRows];
  alignas(64) float scales[kAmxPanelSlabs * kTileRows];
  AmxScratch tiles;
};

void multiply_tiled(const IntegerGemmArgs& args) {
  AmxPanelScratch scratch;
  const auto unpack = args.x.zero_points != nullptr
                          ? unpack_block<true, kAmxOffset, AmxPanelScratch>
                          : unpack_block<false, kAmxOffset, AmxPanelScratch>;
  for_each_panel_amx(
      args,
      [&](std::size_t token, std::size_t tokens, const KBlock& k) {
        copy_tail(args.x, token, tokens, k, scratch.tiles);
      },
      [&](const AmxRange& range, const KBlock& k) {
        const Panel panel =
            panel_at(args, range.block, k, scratch.weights[0], sizeof(scratch.weights[0]), scratch);
        const std::size_t blocks = ceil_div(panel.channels, kBlockRows);
        for (std::size_t b = 0; b < blocks; ++b) unpack(args.w, range.block + b, k, b, scratch);
        multiply_panel_amx(args, panel, range, nullptr, scratch.tiles);
      });
}

}  // namespace

void w4a8_gemm_amx(const IntegerGemmArgs& args) {
  if (args.x.rows == 0) return;
  if (args.x.rows > kDirectTokens) return multiply_tiled(args);
  multiply_few(args);
}

}  // namespace fptq::kernels
