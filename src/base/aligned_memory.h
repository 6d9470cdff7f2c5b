// Large arrays of bytes that start on a cache line, in huge pages where the system has them.

#pragma once

#include <cstddef>
#include <memory>
#include <new>

namespace fptq {

// Zeroed bytes that start on a cache line; null where there is no such memory, or for 0 bytes.
//
// From kHugePageBytes on they start on a huge page, and the system is asked to use huge pages
// (madvise; it may decline). Reading weights from memory is up to a third faster then, because
// every 4 KiB of small pages cost a walk through the page table. The system provides pages as
// they are first written, so the thread that writes them decides where they lie.
[[nodiscard]] std::shared_ptr<std::byte> allocate_zeroed(std::size_t size_bytes);

inline constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

// Shares huge pages among arrays that live about as long as each other, a model's weights for
// instance. An array of its own would end, and one below kHugePageBytes lie entirely, in small
// pages. A chunk's bytes go back to the system when none of its arrays is left.
//
// Thread safety: one thread at a time may allocate; the arrays may be released anywhere.
class HugePageArena {
 public:
  // As allocate_zeroed().
  [[nodiscard]] std::shared_ptr<std::byte> allocate(std::size_t size_bytes);

 private:
  std::shared_ptr<std::byte> chunk_;
  std::size_t used_bytes_ = 0;
};

// For std::vector: memory of allocate_zeroed's kind. Its elements are written once by the vector,
// hence by the thread that resizes it.
template <typename T>
struct HugePageAllocator {
  using value_type = T;

  HugePageAllocator() = default;
  template <typename U>
  // NOLINTNEXTLINE(google-explicit-constructor): clang-tidy 14 does not know explicit(false).
  explicit(false) HugePageAllocator(const HugePageAllocator<U>&) {}

  [[nodiscard]] T* allocate(std::size_t count);
  void deallocate(T* p, std::size_t count);

  bool operator==(const HugePageAllocator&) const = default;
};

// What allocate_zeroed() is made of. Null where there is no memory.
[[nodiscard]] std::byte* map_zeroed(std::size_t size_bytes);
void unmap_zeroed(std::byte* bytes, std::size_t size_bytes);

template <typename T>
T* HugePageAllocator<T>::allocate(std::size_t count) {
  std::size_t size_bytes = 0;
  if (__builtin_mul_overflow(count, sizeof(T), &size_bytes)) throw std::bad_alloc();
  std::byte* bytes = map_zeroed(size_bytes);
  if (bytes == nullptr) throw std::bad_alloc();
  return reinterpret_cast<T*>(bytes);
}

template <typename T>
void HugePageAllocator<T>::deallocate(T* p, std::size_t count) {
  unmap_zeroed(reinterpret_cast<std::byte*>(p), count * sizeof(T));
}

}  // namespace fptq
