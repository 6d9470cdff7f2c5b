// Keys and values of the positions that a sequence has already been through.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/result.h"

namespace fptq::model {

// How keys and values are stored. kInt8: symmetric, one float32 scale per position and head.
enum class KvType { kF32, kBF16, kInt8 };

// One sequence's cache, made by LlamaModel::new_cache(). Movable.
class KvCache {
 public:
  KvCache(KvCache&&) noexcept;
  KvCache& operator=(KvCache&&) noexcept;
  ~KvCache();

  // Positions stored, and positions that fit.
  [[nodiscard]] std::size_t length() const;
  [[nodiscard]] std::size_t capacity() const;
  [[nodiscard]] KvType type() const;
  [[nodiscard]] std::uint64_t bytes() const;
  // Forgets positions from `length` on. length <= length().
  void truncate(std::size_t length);
  // Becomes the cache of a sequence that shares its first `length` positions with that of
  // `source`, a cache of the same model and type. length <= source.length(), <= capacity().
  void copy_prefix(const KvCache& source, std::size_t length);

  struct Impl;
  [[nodiscard]] Impl& impl() { return *impl_; }
  explicit KvCache(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace fptq::model
