// A model whose down_proj reads rotated inputs: the same function, with outliers spread over
// blocks.

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "model/llama_config.h"
#include "ops/hadamard.h"
#include "quantize/transformed_checkpoint.h"

namespace fptq::quantize {

// down [D, F] becomes W' = W H, and config() says under transform_config that its inputs x are
// x H, where H is the rotation of ops/hadamard.h in the widest blocks that F allows. Whoever runs
// the model rotates while it runs, so that calibration, rounding and measuring see x H.
//
// SiLU stands between H and whatever precedes it: no rotation of that side can be fused.
// Computed when it is read, in float32, whatever the number of threads.
// Thread safety: none, because read() works with the pool.
// Source: Ashkboos et al., "QuaRot", arXiv:2404.00456 (2024), stage 1b.
class DownRotatedCheckpoint final : public TransformedCheckpoint {
 public:
  //   config  of `base`, whose down_proj weights are floats of the right shape
  //   layers  whose down_proj is rotated, ascending
  // Errors: kInvalidArgument where no layer is to be rotated, and where the width is odd;
  // kUnsupported where the base's inputs are rotated already.
  [[nodiscard]] static Result<std::unique_ptr<DownRotatedCheckpoint>> create(
      const io::Checkpoint& base, const model::LlamaConfig& config,
      std::span<const std::size_t> layers, ThreadPool& pool);

  [[nodiscard]] std::size_t block() const { return rotation_.block(); }
  [[nodiscard]] std::span<const std::size_t> layers() const { return layers_; }

 private:
  DownRotatedCheckpoint(const io::Checkpoint& base, const model::LlamaConfig& config,
                        std::span<const std::size_t> layers, ThreadPool& pool);

  ops::BlockHadamard rotation_;
  std::vector<std::size_t> layers_;
};

// The transform_config that says so, for `layers` of `num_layers`, in the compressed-tensors
// convention: one group "R4" with one online transform.
[[nodiscard]] Json down_rotation_config(std::size_t block, std::span<const std::size_t> layers,
                                        std::size_t num_layers);

// The quantization_config of a model in floating point with that transform_config.
[[nodiscard]] Json transforms_only(Json transform_config);

}  // namespace fptq::quantize
