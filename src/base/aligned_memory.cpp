#include "base/aligned_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace fptq {
namespace {

constexpr std::size_t kLineBytes = 64;
// Of an arena. What is left of a chunk when the next array does not fit is never touched, hence
// takes no memory; half a huge page of it, on average, does.
constexpr std::size_t kChunkBytes = std::size_t{64} << 20;
// No process has more address space.
constexpr std::size_t kAddressSpaceBytes = std::size_t{1} << 47;

// The address sanitizer sees what lies outside an allocation, not what lies outside a mapping.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kMayMap = false;
#else
constexpr bool kMayMap = true;
#endif

bool is_mapped(std::size_t size_bytes) {
  return kMayMap && size_bytes >= kHugePageBytes;
}

}  // namespace

std::byte* map_zeroed(std::size_t size_bytes) {
  if (size_bytes > kAddressSpaceBytes) return nullptr;
  if (!is_mapped(size_bytes)) {
    const std::size_t rounded = (size_bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
    void* bytes = std::aligned_alloc(kLineBytes, rounded);
    if (bytes != nullptr) std::memset(bytes, 0, rounded);
    return static_cast<std::byte*>(bytes);
  }
  // A mapping that is larger by a huge page contains one that starts on a huge page.
  const std::size_t mapped_bytes = size_bytes + kHugePageBytes;
  // Reserved, so that the system can refuse what it does not have.
  void* mapping =
      ::mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  auto* bytes = static_cast<std::byte*>(mapping);
  const std::size_t misaligned = reinterpret_cast<std::uintptr_t>(bytes) % kHugePageBytes;
  const std::size_t skipped = misaligned == 0 ? 0 : kHugePageBytes - misaligned;
  const auto page_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t kept = (size_bytes + page_bytes - 1) / page_bytes * page_bytes;
  if (skipped > 0) ::munmap(bytes, skipped);
  if (skipped + kept < mapped_bytes) {
    ::munmap(bytes + skipped + kept, mapped_bytes - skipped - kept);
  }
  ::madvise(bytes + skipped, kept, MADV_HUGEPAGE);
  return bytes + skipped;
}

void unmap_zeroed(std::byte* bytes, std::size_t size_bytes) {
  if (bytes == nullptr) return;
  if (is_mapped(size_bytes)) {
    ::munmap(bytes, size_bytes);
  } else {
    std::free(bytes);
  }
}

std::shared_ptr<std::byte> allocate_zeroed(std::size_t size_bytes) {
  if (size_bytes == 0) return nullptr;
  std::byte* bytes = map_zeroed(size_bytes);
  if (bytes == nullptr) return nullptr;
  return {bytes, [size_bytes](std::byte* p) { unmap_zeroed(p, size_bytes); }};
}

std::shared_ptr<std::byte> HugePageArena::allocate(std::size_t size_bytes) {
  // An array that large wastes little by itself.
  if (!kMayMap || size_bytes == 0 || size_bytes > kChunkBytes / 2) {
    return allocate_zeroed(size_bytes);
  }
  const std::size_t rounded = (size_bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
  if (chunk_ == nullptr || rounded > kChunkBytes - used_bytes_) {
    chunk_ = allocate_zeroed(kChunkBytes);
    used_bytes_ = 0;
    if (chunk_ == nullptr) return nullptr;
  }
  std::byte* const bytes = chunk_.get() + used_bytes_;
  used_bytes_ += rounded;
  return {chunk_, bytes};
}

}  // namespace fptq
