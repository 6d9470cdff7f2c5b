// What a KvCache holds; for the forward pass only.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "kernels/attention/kv_layout.h"
#include "model/kv_cache.h"

namespace fptq::model {

struct KvCacheShape {
  std::size_t layers;
  std::size_t kv_heads;
  std::size_t head_dim;

  bool operator==(const KvCacheShape&) const = default;
};

struct KvCache::Impl {
  // Errors: kLimit, with the bytes that were needed.
  [[nodiscard]] static Result<std::unique_ptr<Impl>> create(const KvCacheShape& shape,
                                                            std::size_t capacity, KvType type);

  // The key-value heads of one layer.
  [[nodiscard]] std::span<const kernels::KvHead> layer(std::size_t index) const {
    return std::span(heads).subspan(index * shape.kv_heads, shape.kv_heads);
  }

  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };

  KvCacheShape shape{};
  KvType type = KvType::kF32;
  std::size_t capacity = 0;
  std::size_t length = 0;
  std::uint64_t size_bytes = 0;
  // One allocation, whose pages the system provides as positions are written.
  std::unique_ptr<std::byte, Free> storage;
  std::vector<kernels::KvHead> heads;  // [layers, kv_heads]
};

}  // namespace fptq::model
