#include "kernels/fixed_gemm/scratch.h"

#include <memory>

#include "base/aligned_memory.h"
#include "base/check.h"
#include "kernels/fixed_gemm/contract.h"

namespace fptq::kernels {

void* fixed_gemm_scratch(std::size_t words) {
  struct Memory {
    std::shared_ptr<std::byte> bytes;
    std::size_t size = 0;
  };
  thread_local Memory memory;
  const std::size_t needed = fixed_gemm_scratch_bytes(words);
  if (memory.size < needed) {
    memory.bytes = allocate_zeroed(needed);
    FPTQ_CHECK(memory.bytes != nullptr, "scratch memory of a thread");
    memory.size = needed;
  }
  return memory.bytes.get();
}

}  // namespace fptq::kernels
