// Reading a checkpoint's tensors against the shapes that the configuration demands.

#pragma once

#include <cstddef>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/aligned_memory.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "io/checkpoint.h"
#include "tensor/tensor.h"

namespace fptq::model {

// Reads tensors by name, checks them, and remembers which ones the model uses.
class TensorReader {
 public:
  // Both have to outlive the reader.
  TensorReader(const io::Checkpoint& checkpoint, ThreadPool& pool)
      : checkpoint_(&checkpoint), pool_(&pool) {}

  [[nodiscard]] bool has(const std::string& name) const {
    return checkpoint_->find(name) != nullptr;
  }

  // A tensor of exactly that shape. Errors: kFormat 'FILE: tensor "NAME": expected [4096, 11008]
  // from config.json, got ...', for a missing tensor too; kUnsupported for another type.
  //   types  those allowed, at least one
  [[nodiscard]] Result<Tensor> read(const std::string& name, const Shape& shape,
                                    std::span<const DType> types);
  // The same with any of several shapes; messages name the first.
  [[nodiscard]] Result<Tensor> read_any(const std::string& name, std::span<const Shape> shapes,
                                        std::span<const DType> types);
  // A float tensor (F32, F16, BF16).
  [[nodiscard]] Result<Tensor> read_float(const std::string& name, const Shape& shape);
  // Errors: kFormat naming the first element that is NaN or infinite.
  [[nodiscard]] Status check_finite(const std::string& name, const Tensor& tensor) const;

  // "FILE: tensor "NAME"", how messages about a tensor begin.
  [[nodiscard]] std::string where(const std::string& name) const;

  // Counts a tensor as used without reading it.
  void use(const std::string& name) { used_.insert(name); }
  // Names of tensors that were neither read nor used, in order.
  [[nodiscard]] std::vector<std::string> unused() const;

  [[nodiscard]] const io::Checkpoint& checkpoint() const { return *checkpoint_; }
  [[nodiscard]] ThreadPool& pool() const { return *pool_; }
  // For what is made of tensors and stays as long as the model.
  [[nodiscard]] HugePageArena& arena() { return arena_; }

 private:
  const io::Checkpoint* checkpoint_;
  ThreadPool* pool_;
  HugePageArena arena_;
  std::set<std::string, std::less<>> used_;
};

}  // namespace fptq::model
