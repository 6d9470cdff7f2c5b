// One decoder block after rounding, and how it waits on disk until the whole model is done.

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "algo/gptq.h"
#include "base/json.h"
#include "base/result.h"
#include "io/safetensors.h"
#include "numeric/quantizer.h"

namespace fptq::quantize {

// A linear whose weights have been chosen.
struct RoundedModule {
  QuantizedMatrix matrix;
  std::optional<float> input_scale;  // of static activations
};

struct RoundedBlock {
  std::map<std::string, RoundedModule> modules;  // by name: "model.layers.0.mlp.up_proj"
  Json report;  // per input and per module: damping, losses, ranges; for the manifest
};

// Writes the block into `directory`, which is created; what had that name is replaced. It exists
// under its name only when it is complete and durable.
// Errors: kLimit where the disk is full, kIo.
[[nodiscard]] Status save_block(const RoundedBlock& block, const std::filesystem::path& directory);

// A saved block, mapped.
class SavedBlock {
 public:
  // Errors: kNotFound, kIo, kFormat.
  [[nodiscard]] static Result<SavedBlock> open(const std::filesystem::path& directory);

  // Whether the weights are what save_block() wrote, by their hash. Errors: kFormat, kIo.
  [[nodiscard]] Status check() const;

  // A module's matrix, which has to be of that form; codes are copied.
  // Errors: kFormat where it is missing or of another shape, or holds what a matrix cannot.
  [[nodiscard]] Result<RoundedModule> module(const std::string& name, std::size_t rows,
                                             std::size_t cols, const QuantArgs& args,
                                             DType scale_dtype) const;
  // What the block was saved with.
  [[nodiscard]] const Json& report() const { return report_["report"]; }

 private:
  SavedBlock(io::SafetensorsFile file, Json report)
      : file_(std::move(file)), report_(std::move(report)) {}

  io::SafetensorsFile file_;
  Json report_;
};

}  // namespace fptq::quantize
