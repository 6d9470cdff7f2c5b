#include "eval/disk_bytes.h"

#include <algorithm>
#include <string_view>

namespace fptq::eval {
namespace {

// The member that a tensor of that name counts for; null: `other`.
std::uint64_t DiskBytes::*kind_of(std::string_view name) {
  if (name.starts_with("model.embed_tokens.")) return &DiskBytes::embedding;
  if (name.starts_with("lm_head.")) return &DiskBytes::classifier;
  if (name.find("norm.") != std::string_view::npos) return &DiskBytes::norms;
  if (name.starts_with("model.layers.") && name.find("_proj.") != std::string_view::npos) {
    return &DiskBytes::linears;
  }
  return nullptr;
}

}  // namespace

DiskBytes disk_bytes(const io::Checkpoint& checkpoint) {
  DiskBytes bytes;
  std::uint64_t known = 0;
  for (const io::TensorInfo& tensor : checkpoint.tensors()) {
    std::uint64_t DiskBytes::*const kind = kind_of(tensor.name);
    if (kind == nullptr) continue;
    bytes.*kind += tensor.stored_bytes;
    known += tensor.stored_bytes;
  }
  bytes.other = std::max(checkpoint.weight_file_bytes(), known) - known;
  return bytes;
}

}  // namespace fptq::eval
