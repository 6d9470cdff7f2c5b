// Blocked factorization and inversion of large matrices in double, in place.

#pragma once

#include <cstddef>

#include "algo/matrix_products.h"
#include "base/thread_pool.h"

namespace fptq::algo {

// Factors A = V^T V with V upper triangular and a positive diagonal (Cholesky).
//
//   a        [n, n] in: the upper triangle of A, zeros below it; out: V, zeros below it
//   returns  whether every pivot was positive beyond rounding: greater than 1e-12 times A's
//            diagonal entry. Where not, the contents of `a` are of no use.
// The result depends neither on the number of threads nor on the instruction set.
[[nodiscard]] bool factor_upper(MatrixView<double> a, std::size_t n, const MatrixProducts& products,
                                ThreadPool& pool);

// Replaces V, upper triangular [n, n] with zeros below, by its inverse, of the same form.
void invert_upper(MatrixView<double> v, std::size_t n, const MatrixProducts& products,
                  ThreadPool& pool);

}  // namespace fptq::algo
