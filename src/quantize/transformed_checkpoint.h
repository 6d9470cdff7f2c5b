// Checkpoints whose weights are computed from another one's, so that whatever reads a checkpoint
// need not know of transformations.

#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "io/checkpoint.h"

namespace fptq::quantize {

// Another checkpoint, of which some tensors are replaced and the rest passes through. Replaced
// matrices are float32; TensorInfo::kept_as has the type of the tensor that they are made from.
//
// The checkpoint beneath outlives this one.
// Thread safety: as beneath, except where a derived class says otherwise.
class TransformedCheckpoint : public io::Checkpoint {
 public:
  [[nodiscard]] const std::filesystem::path& path() const override { return base_.path(); }
  [[nodiscard]] std::string_view container() const override { return base_.container(); }
  [[nodiscard]] const Json& config() const override { return config_; }
  [[nodiscard]] std::span<const io::TensorInfo> tensors() const override { return infos_; }
  // Errors: those of the checkpoint beneath; kFormat, naming tensor and element, where a value that
  // is transformed is not finite, or is no longer.
  [[nodiscard]] Result<Tensor> read(std::string_view name) const override;
  void release(std::string_view name) const override;
  [[nodiscard]] Result<io::TokenizerFiles> tokenizer() const override { return base_.tokenizer(); }
  [[nodiscard]] std::uint64_t weight_file_bytes() const override {
    return base_.weight_file_bytes();
  }
  [[nodiscard]] std::span<const std::string> warnings() const override { return warnings_; }

 protected:
  // Changes a tensor's values in place.  values [rows, cols]; a vector is one row
  using Change = std::function<Status(std::span<float> values, std::size_t rows, std::size_t cols)>;

  explicit TransformedCheckpoint(const io::Checkpoint& base);

  // From here on read(name) gives the tensor `source` of the checkpoint beneath, changed, as
  // float32. There is one of that name already, or it is added, and then it has the source's shape.
  void change(const std::string& name, const std::string& source, Change how);
  // From here on read(name) gives this tensor.
  void replace(const std::string& name, Tensor tensor);

  const io::Checkpoint& base_;
  Json config_;
  std::vector<std::string> warnings_;

 private:
  struct Changed {
    std::string source;
    Change how;
  };

  std::vector<io::TensorInfo> infos_;  // by name
  std::map<std::string, Changed, std::less<>> changed_;
  std::map<std::string, Tensor, std::less<>> replaced_;
};

}  // namespace fptq::quantize
