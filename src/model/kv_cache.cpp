#include "model/kv_cache.h"

#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "model/kv_cache_impl.h"

namespace fptq::model {
namespace {

constexpr std::size_t kAlignment = 64;

// Sizes of one key-value head's arrays, each a multiple of kAlignment.
struct HeadBytes {
  std::size_t keys;
  std::size_t values;
  std::size_t scales;  // of the keys, and as many of the values

  [[nodiscard]] std::size_t total() const { return keys + values + 2 * scales; }
};

kernels::ElementType element_type(KvType type) {
  if (type == KvType::kBF16) return kernels::ElementType::kBF16;
  return type == KvType::kInt8 ? kernels::ElementType::kI8 : kernels::ElementType::kF32;
}

// Whole blocks of 64 positions, so that every array is a multiple of 64 bytes long.
HeadBytes head_bytes(KvType type, std::size_t capacity, std::size_t head_dim) {
  const kernels::ElementType element = element_type(type);
  return {kernels::key_bytes(element, capacity, head_dim),
          kernels::value_bytes(element, capacity, head_dim),
          type == KvType::kInt8 ? kernels::padded_capacity(capacity) * sizeof(float) : 0};
}

Error too_large(std::size_t capacity, std::uint64_t size_bytes) {
  return Error{Error::Kind::kLimit,
               "key-value cache for " + std::to_string(capacity) + " positions: expected " +
                   (size_bytes == 0 ? "more bytes than can be addressed"
                                    : std::to_string(size_bytes) + " bytes of memory") +
                   ", got less. Use a smaller --ctx or --kv bf16 or int8"};
}

}  // namespace

Result<std::unique_ptr<KvCache::Impl>> KvCache::Impl::create(const KvCacheShape& shape,
                                                             std::size_t capacity, KvType type) {
  // Head widths and counts are below 2^24 and elements take at most 4 bytes.
  constexpr std::size_t kMaxCapacity = std::size_t{1} << 32;
  if (capacity > kMaxCapacity) return too_large(capacity, 0);
  const HeadBytes bytes = head_bytes(type, capacity, shape.head_dim);
  const std::size_t head_count = shape.layers * shape.kv_heads;
  std::size_t size_bytes = 0;
  if (__builtin_mul_overflow(bytes.total(), head_count, &size_bytes)) return too_large(capacity, 0);

  auto impl = std::make_unique<Impl>();
  impl->shape = shape;
  impl->type = type;
  impl->capacity = capacity;
  impl->size_bytes = size_bytes;
  if (size_bytes > 0) {
    impl->storage.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, size_bytes)));
    if (impl->storage == nullptr) return too_large(capacity, size_bytes);
  }
  impl->heads.reserve(head_count);
  std::byte* next = impl->storage.get();
  for (std::size_t i = 0; i < head_count && size_bytes > 0; ++i, next += bytes.total()) {
    std::byte* scales = next + bytes.keys + bytes.values;
    const bool scaled = bytes.scales > 0;
    impl->heads.push_back(
        {.type = element_type(type),
         .keys = next,
         .values = next + bytes.keys,
         .key_scales = scaled ? reinterpret_cast<float*>(scales) : nullptr,
         .value_scales = scaled ? reinterpret_cast<float*>(scales + bytes.scales) : nullptr});
  }
  return impl;
}

KvCache::KvCache(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KvCache::KvCache(KvCache&&) noexcept = default;
KvCache& KvCache::operator=(KvCache&&) noexcept = default;
KvCache::~KvCache() = default;

std::size_t KvCache::length() const {
  return impl_->length;
}
std::size_t KvCache::capacity() const {
  return impl_->capacity;
}
KvType KvCache::type() const {
  return impl_->type;
}
std::uint64_t KvCache::bytes() const {
  return impl_->size_bytes;
}

void KvCache::truncate(std::size_t length) {
  FPTQ_CHECK(length <= impl_->length, "a cache can only be shortened");
  impl_->length = length;
}

void KvCache::copy_prefix(const KvCache& source, std::size_t length) {
  const Impl& from = *source.impl_;
  FPTQ_CHECK(from.shape == impl_->shape && from.type == impl_->type,
             "caches of one model and type");
  FPTQ_CHECK(length <= from.length && length <= impl_->capacity, "positions that both caches have");
  // Whole blocks: what lies behind `length` in the last one is written before it is read.
  const HeadBytes bytes = head_bytes(impl_->type, length, impl_->shape.head_dim);
  for (std::size_t i = 0; i < from.heads.size() && length > 0; ++i) {
    const kernels::KvHead& a = from.heads[i];
    const kernels::KvHead& b = impl_->heads[i];
    std::memcpy(b.keys, a.keys, bytes.keys);
    std::memcpy(b.values, a.values, bytes.values);
    if (bytes.scales == 0) continue;
    std::memcpy(b.key_scales, a.key_scales, bytes.scales);
    std::memcpy(b.value_scales, a.value_scales, bytes.scales);
  }
  impl_->length = length;
}

}  // namespace fptq::model
