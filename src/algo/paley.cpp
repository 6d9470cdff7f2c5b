#include "algo/paley.h"

#include <array>
#include <cstdint>

namespace fptq::algo {
namespace {

constexpr std::size_t kLargestDegree = 3;

// An element of the field of p^k elements: the coefficients of a polynomial of degree below k,
// modulo p and modulo a monic polynomial without a root, lowest first. Without a root means
// irreducible for k = 2 and 3.
using Element = std::array<std::size_t, kLargestDegree>;

class Field {
 public:
  // The field of q elements; nothing where q is not p^k with p an odd prime, k <= 3.
  static std::optional<Field> make(std::size_t q) {
    std::size_t prime = 3;
    while (prime * prime <= q && q % prime != 0) prime += 2;
    if (q < 3 || q % 2 == 0) return std::nullopt;
    if (q % prime != 0) prime = q;
    Field field;
    field.prime_ = prime;
    std::size_t power = 1;
    while (power < q) {
      power *= prime;
      ++field.degree_;
    }
    if (power != q || field.degree_ > kLargestDegree) return std::nullopt;
    field.choose_modulus();
    return field;
  }

  // Number i's digits to base p are the coefficients.
  [[nodiscard]] Element element(std::size_t number) const {
    Element element{};
    for (std::size_t d = 0; d < degree_; ++d, number /= prime_) element[d] = number % prime_;
    return element;
  }
  [[nodiscard]] std::size_t number(const Element& element) const {
    std::size_t number = 0;
    for (std::size_t d = degree_; d-- > 0;) number = number * prime_ + element[d];
    return number;
  }
  [[nodiscard]] Element difference(const Element& a, const Element& b) const {
    Element result{};
    for (std::size_t d = 0; d < degree_; ++d) result[d] = (a[d] + prime_ - b[d]) % prime_;
    return result;
  }
  [[nodiscard]] Element square(const Element& a) const {
    std::array<std::size_t, 2 * kLargestDegree - 1> product{};
    for (std::size_t i = 0; i < degree_; ++i) {
      for (std::size_t j = 0; j < degree_; ++j) {
        product[i + j] = (product[i + j] + a[i] * a[j]) % prime_;
      }
    }
    // x^k = -(modulus without its leading term).
    for (std::size_t top = 2 * degree_ - 1; top-- > degree_;) {
      for (std::size_t d = 0; d < degree_; ++d) {
        std::size_t& below = product[top - degree_ + d];
        below = (below + product[top] * (prime_ - modulus_[d])) % prime_;
      }
    }
    Element result{};
    for (std::size_t d = 0; d < degree_; ++d) result[d] = product[d];
    return result;
  }

 private:
  void choose_modulus() {
    if (degree_ == 1) return;  // products of numbers are numbers
    for (std::size_t candidate = 1;; ++candidate) {
      modulus_ = element(candidate);
      bool has_root = false;
      for (std::size_t x = 0; x < prime_ && !has_root; ++x) {
        std::size_t value = 1;  // Horner's rule, from the leading coefficient
        for (std::size_t d = degree_; d-- > 0;) value = (value * x + modulus_[d]) % prime_;
        has_root = value == 0;
      }
      if (!has_root) return;
    }
  }

  std::size_t prime_ = 0;
  std::size_t degree_ = 0;
  Element modulus_{};
};

// Q [q, q], or nothing where there is no field of q elements.
std::optional<std::vector<float>> jacobsthal(std::size_t q) {
  const std::optional<Field> field = Field::make(q);
  if (!field) return std::nullopt;
  std::vector<float> chi(q, -1.0f);
  for (std::size_t i = 0; i < q; ++i) chi[field->number(field->square(field->element(i)))] = 1.0f;
  chi[0] = 0.0f;
  std::vector<float> matrix(q * q);
  for (std::size_t i = 0; i < q; ++i) {
    for (std::size_t j = 0; j < q; ++j) {
      matrix[i * q + j] =
          chi[field->number(field->difference(field->element(i), field->element(j)))];
    }
  }
  return matrix;
}

// [0 1; corner Q] of order q + 1.
std::optional<std::vector<float>> bordered(std::size_t q, float corner) {
  const auto inner = jacobsthal(q);
  if (!inner) return std::nullopt;
  const std::size_t order = q + 1;
  std::vector<float> matrix(order * order, 0.0f);
  for (std::size_t i = 1; i < order; ++i) {
    matrix[i] = 1.0f;
    matrix[i * order] = corner;
    for (std::size_t j = 1; j < order; ++j) {
      matrix[i * order + j] = (*inner)[(i - 1) * q + (j - 1)];
    }
  }
  return matrix;
}

std::optional<std::vector<float>> paley_one(std::size_t order) {
  auto matrix = bordered(order - 1, -1.0f);
  if (!matrix) return std::nullopt;
  for (std::size_t i = 0; i < order; ++i) (*matrix)[i * order + i] += 1.0f;
  return matrix;
}

std::optional<std::vector<float>> paley_two(std::size_t order) {
  const std::size_t half = order / 2;
  const auto conference = bordered(half - 1, 1.0f);
  if (!conference) return std::nullopt;
  constexpr std::array<float, 4> kOffDiagonal = {1, 1, 1, -1};
  constexpr std::array<float, 4> kDiagonal = {1, -1, -1, -1};
  std::vector<float> matrix(order * order);
  for (std::size_t i = 0; i < half; ++i) {
    for (std::size_t j = 0; j < half; ++j) {
      const float entry = (*conference)[i * half + j];
      for (std::size_t k = 0; k < 4; ++k) {
        matrix[(2 * i + k / 2) * order + 2 * j + k % 2] =
            i == j ? kDiagonal[k] : entry * kOffDiagonal[k];
      }
    }
  }
  return matrix;
}

}  // namespace

std::optional<std::vector<float>> paley_matrix(std::size_t order) {
  if (order < 4 || order % 4 != 0) return std::nullopt;
  // order - 1 = 3 mod 4 holds for every multiple of 4.
  if (auto matrix = paley_one(order)) return matrix;
  if ((order / 2 - 1) % 4 == 1) return paley_two(order);
  return std::nullopt;
}

}  // namespace fptq::algo
