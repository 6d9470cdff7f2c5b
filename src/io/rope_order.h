// The two orders of the rows that rotary embedding turns in pairs.

#pragma once

#include <cstddef>

#include "base/result.h"
#include "tensor/tensor.h"

namespace fptq::io {

// Reorders the rows of a query or key projection from interleaved pairs (2i, 2i+1), as Meta,
// llama.cpp and llama2.c store them, to half-split pairs (i, i + Dh/2), as Hugging Face does:
//
//   result[h * Dh + j * Dh/2 + i] = rows[h * Dh + 2i + j],  j in {0, 1},  i < Dh/2
//
//   rows   [H * Dh, K] a weight, or [H * Dh] a bias; any dtype
//   heads  H >= 1
//
// Errors: kFormat unless the first axis is a multiple of 2 H; kLimit.
[[nodiscard]] Result<Tensor> half_split_rows(const Tensor& rows, std::size_t heads);

}  // namespace fptq::io
