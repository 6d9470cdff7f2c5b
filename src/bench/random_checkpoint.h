// Checkpoints of any size with random weights, made up in memory: speed without a download.

#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "io/checkpoint.h"
#include "numeric/scheme.h"

namespace fptq::bench {

// The config.json of a shape: "llama-3.2-1b", "llama-3.1-8b", or the path of a config.json.
// Errors: kNotFound lists the names; kFormat for a file that is no JSON.
[[nodiscard]] Result<Json> shape_config(std::string_view shape);

// A checkpoint with that configuration whose tensors are made when they are read, the same ones
// for the same seed. Speed does not depend on the values, which keep activations near 1.
//
//   config   any quantization_config in it is replaced, but for a transform_config in that
//   weights  of the decoder linears: w4 or w8, per channel or group, nf4 or fp4, or nothing for
//            bf16. Where it says nothing of activations those of integer weights are 8-bit per
//            token. With integer weights embedding and classifier are 8-bit per channel, with a
//            table they stay bf16, as the recipes make them, and the tensors and the config.json
//            are those that quantizing the bf16 model writes (quantize/plan.h).
//
// Errors: kUnsupported for 8-bit activations beside a table; parse_llama_config()'s and
// make_plan()'s.
[[nodiscard]] Result<std::shared_ptr<const io::Checkpoint>> random_checkpoint(const Json& config,
                                                                              const Scheme& weights,
                                                                              std::uint64_t seed);

}  // namespace fptq::bench
