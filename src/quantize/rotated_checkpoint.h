// A model turned in its own coordinates: the same function, with outliers spread over channels.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "algo/hadamard.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "model/llama_config.h"
#include "quantize/transformed_checkpoint.h"

namespace fptq::quantize {

// The residual stream h [T, D] becomes h * Q, and the values of every key-value head v [T, Dh]
// become v * R, with randomized Hadamard rotations Q [D, D] and R [Dh, Dh] (algo/hadamard.h):
//
//   embedding               E' = E Q
//   q, k, gate, up          W' = W diag(gamma) Q       gamma: of the norm in front, which becomes 1
//   v                       W' = (R^T W_h) diag(gamma) Q for the rows W_h [Dh, D] of every head
//   o                       W' = Q^T W_h R             for the columns W_h [D, Dh] of every head
//   down                    W' = Q^T W
//   classifier              W' = W diag(gamma) Q       gamma: of the last norm
//   biases of o and down    b' = b Q,  of v b' = b_h R; of q, k, gate and up as they are
//
// An RMS norm without weight commutes with Q, and attention mixes tokens and not the channels of
// values, so the function stays what it was; logits differ by the rounding of float32. Embedding
// and classifier are no longer the same matrix: config() says that they are not tied, and
// "lm_head.weight" appears where it was not.
//
// Everything is computed when it is read, in float32: a tensor and a piece of 256 columns at a
// time. The same seed gives the same values everywhere and for any number of threads.
// Thread safety: none, because read() works with the pool.
// Source: Ashkboos et al., "QuaRot", arXiv:2404.00456 (2024), stages 1a and 1c.
class RotatedCheckpoint final : public TransformedCheckpoint {
 public:
  //   config  of `base`, whose weights are floats
  // Errors: kFormat for a tensor that config.json asks for and that is missing or has another
  // shape.
  [[nodiscard]] static Result<std::unique_ptr<RotatedCheckpoint>> create(
      const io::Checkpoint& base, const model::LlamaConfig& config, std::uint64_t seed,
      ThreadPool& pool);

 private:
  RotatedCheckpoint(const io::Checkpoint& base, const model::LlamaConfig& config,
                    std::uint64_t seed, ThreadPool& pool);

  [[nodiscard]] Status rotate_block(const model::LlamaConfig& config, std::size_t layer);
  [[nodiscard]] Status rotate_ends(const model::LlamaConfig& config);

  // `weight` behind the norm of that name, whose weight it takes up.
  [[nodiscard]] Status fuse(const std::string& weight, const std::string& source,
                            const std::string& norm, Change and_then);

  algo::Rotation stream_;  // Q
  algo::Rotation values_;  // R
  ThreadPool& pool_;
};

}  // namespace fptq::quantize
