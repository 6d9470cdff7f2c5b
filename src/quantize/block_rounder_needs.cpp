// What rounding with calibration takes of memory and disk, before it begins.

#include <algorithm>

#include "algo/input_moments.h"
#include "model/decoder_block.h"
#include "quantize/block_rounder.h"
#include "quantize/calibration_sequences.h"

namespace fptq::quantize {

using model::BlockInput;
using model::BlockLinear;

std::uint64_t BlockRounder::working_bytes(const Recipe& recipe, const model::LlamaConfig& config,
                                          std::size_t longest_sequence, std::size_t threads) {
  const std::uint64_t rows = std::max(kBatchRows, longest_sequence);
  const std::uint64_t hidden = config.hidden_size;
  const std::uint64_t ffn = config.intermediate_size;
  const std::uint64_t q_width = config.q_width();
  const bool gptq = recipe.rounding == algo::Rounding::kGptq;
  // Inputs of both streams, their codes and the error of a reader, in floats; workspaces of both.
  const std::uint64_t widest = std::max({hidden, ffn, std::uint64_t{q_width}});
  const std::uint64_t floats =
      rows * (3 * hidden + 3 * widest) +
      2 * model::DecoderBlock::workspace_floats(config, longest_sequence, threads);
  std::uint64_t most = 0;
  for (const BlockInput input : model::kBlockInputs) {
    const std::uint64_t width = model::block_input_width(config, input);
    for (const BlockLinear linear : model::readers_of(input)) {
      const std::uint64_t outputs = model::block_linear_shape(config, linear)[0];
      // Weights, corrected weights and their errors; codes and their float copies for the refit.
      std::uint64_t need = 3 * outputs * width;
      if (gptq) {
        // H and C, the factor in double and in float, a chunk of tokens; R.
        need = std::max(need + 3 * width * width, 5 * width * width) + outputs * width +
               3 * std::uint64_t{algo::kMomentChunk} * width;
      }
      most = std::max(most, need);
    }
  }
  // The rounded linears of the block, codes and packed; scratch of the threads.
  std::uint64_t rounded = 0;
  for (const BlockLinear linear : model::kBlockLinears) {
    const Shape shape = model::block_linear_shape(config, linear);
    rounded += shape[0] * shape[1] * 2;
  }
  return (floats + most) * sizeof(float) + rounded + threads * (std::uint64_t{4} << 20);
}

std::uint64_t BlockRounder::disk_bytes(const Recipe& recipe, const model::LlamaConfig& config,
                                       std::uint64_t tokens) {
  const bool corrects =
      recipe.rounding == algo::Rounding::kGptq && recipe.calibrated.correction != 0;
  const std::uint64_t streams = corrects ? 2 : 1;
  std::uint64_t codes = 0;
  for (const BlockLinear linear : model::kBlockLinears) {
    const Shape shape = model::block_linear_shape(config, linear);
    codes += shape[0] * shape[1] + shape[0] * shape[1] / 4;
  }
  return streams * calib::ResidualStream::disk_bytes(config, tokens) + codes * config.num_layers;
}

}  // namespace fptq::quantize
