// Hadamard matrices whose order is no power of two.

#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace fptq::algo {

// A matrix P of 1 and -1 with P * P^T = order * I, row-major [order, order]; nothing where neither
// construction gives one of that order:
//
//   Paley I   order = q + 1, q = 3 mod 4:     P = I + [0 1; -1 Q]
//   Paley II  order = 2 (q + 1), q = 1 mod 4: P = C x [1 1; 1 -1] + I x [1 -1; -1 -1], C = [0 1; 1
//   Q]
//
// with Q[i, j] = chi(a_i - a_j) over the elements a of the field of q = p^k elements, k <= 3; chi
// is 1 for squares, -1 for the other elements, 0 for 0.
//
// order: at most some thousands; the time grows as its square.
// Source: Paley, "On orthogonal matrices", J. Math. Phys. 12 (1933).
[[nodiscard]] std::optional<std::vector<float>> paley_matrix(std::size_t order);

}  // namespace fptq::algo
