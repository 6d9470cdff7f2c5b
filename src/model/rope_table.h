// Angles of rotary position embeddings, as transformers computes them.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "model/llama_config.h"

namespace fptq::model {

// Inverse frequencies of one model's rotary embedding, with the scaling of its RopeKind. Each step
// is one float32 operation in the order of transformers 5 (powers, cosines and sines are computed
// in double and rounded once), so that angles agree at every position and on every machine.
//
// Thread safety: const member functions.
class RopeFrequencies {
 public:
  // head_dim [Dh]: even. max_positions: what kDynamic stretches beyond.
  RopeFrequencies(const RopeConfig& config, std::size_t head_dim, std::size_t max_positions);

  // Inverse frequencies [Dh / 2], in radians per position, for an input of `total_length` tokens.
  // Only kDynamic depends on the length, and only beyond max_positions:
  //   theta' = theta * (factor * total_length / max_positions - (factor - 1)) ^ (Dh / (Dh - 2))
  [[nodiscard]] std::vector<float> inverse_frequencies(std::size_t total_length) const;

  // What cosines and sines are multiplied with; 1 but for kYarn.
  [[nodiscard]] float attention_scaling() const { return attention_scaling_; }

  // cos[i] = cos(position * inverse[i]) * attention_scaling(), and the same for sin.
  //   inverse, cos, sin  [Dh / 2]
  void angles(std::size_t position, std::span<const float> inverse, float* cos, float* sin) const;

 private:
  RopeConfig config_;
  std::size_t head_dim_;
  std::size_t max_positions_;
  float attention_scaling_;
  std::vector<float> inverse_;  // of inputs up to max_positions
};

}  // namespace fptq::model
