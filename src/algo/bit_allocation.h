// Which matrix gets how many bits, where all of them share a budget.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fptq::algo {

// One way of storing a matrix.
struct BitOption {
  std::uint64_t bits;  // of the whole matrix
  double loss;         // what storing it that way costs, finite; losses of matrices add up

  bool operator==(const BitOption&) const = default;
};

// The bits that all matrices take with the cheapest and with the dearest option of each.
struct BitRange {
  std::uint64_t least;
  std::uint64_t most;
};
//   items  [n] the options of each matrix, at least one
[[nodiscard]] BitRange bit_range(std::span<const std::vector<BitOption>> items);

// An option for each matrix with
//   sum_i items[i][choice[i]].bits <= budget_bits
// that makes the sum of losses small.
//
//   items    [n] the options of each matrix, at least one, in any order
//   budget   at least bit_range(items).least
//   returns  [n] indices into the options
//
// Every matrix begins with its cheapest option and climbs the lower convex hull of its points
// (bits, loss), on which each step saves less loss per bit than the one before. Steps of all
// matrices are taken in the order of that ratio. As long as every step fits, the sum of losses is
// the least that any choice of as many bits can have (the Lagrangian of the problem); so it exceeds
// the optimum by less than the loss that the first step that does not fit would have saved. What is
// left of the budget is then filled with whatever step fits, off the hull too, best ratio first.
// Of equal ratios the matrix that comes first goes first; of equal options the first is taken.
// Source: Everett, "Generalized Lagrange multiplier method", Operations Research 11 (1963); Shoham
// and Gersho, "Efficient bit allocation for an arbitrary set of quantizers", IEEE ASSP 36 (1988).
[[nodiscard]] std::vector<std::size_t> allocate_bits(std::span<const std::vector<BitOption>> items,
                                                     std::uint64_t budget_bits);

}  // namespace fptq::algo
