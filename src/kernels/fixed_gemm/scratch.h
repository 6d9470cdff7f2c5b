// Scratch memory of fixed_gemm, one piece per thread.

#pragma once

#include <cstddef>

namespace fptq::kernels {

// fixed_gemm_scratch_bytes(words) bytes that belong to the calling thread until it ends or asks for
// more.
[[nodiscard]] void* fixed_gemm_scratch(std::size_t words);

}  // namespace fptq::kernels
