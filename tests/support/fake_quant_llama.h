// A second Llama, obvious and in double precision, that integer arithmetic is held against: its
// weights are dequantized, and the inputs of its linears are rounded to 8 bits and back.

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/checkpoint.h"

namespace fptq::testing {

// How the inputs of the decoder's linears are rounded, row by row.
enum class ActivationGrid {
  kNone,              // not at all
  kSymmetric,         // fptq's: scale max|x| / 127, codes -127 to 127 (numeric/quantizer.h)
  kAsymmetric,        // fptq's: scale (max - min) / 255 over a range that contains 0
  kLibrarySymmetric,  // compressed-tensors': scale max|x| / 127.5, codes -128 to 127, in float32
};

// One sequence, position by position. Nothing is shared with the engine but the reading of files:
// plain loops over doubles, default RoPE, 4- and 8-bit codes in groups that divide a row.
//
// Rounding is not continuous. Where a value lies within kTieWidth of the middle between two codes,
// the last bits of float32 decide, and nobody can predict which of the two another program takes;
// such a code is a tie. A difference of one code changes the logits by far more than arithmetic
// does, at that position and at all later ones. Callers can have single ties rounded the other way.
// Zero points of rows are rounded too, but not looked at for ties.
class FakeQuantLlama {
 public:
  // Aborts on a checkpoint that is not as described: a mistake of the test.
  FakeQuantLlama(const io::Checkpoint& checkpoint, ActivationGrid grid);

  // Distance from the middle, in codes.
  static constexpr double kTieWidth = 1e-4;

  // Logits [V] of token `id` at `position`, after those that were run at positions before it.
  // Running a position again replaces it.
  //   flipped  ties to be rounded the other way: numbers out of ties()
  std::vector<double> logits(std::size_t position, std::int32_t id,
                             std::span<const std::size_t> flipped = {});

  // The ties of the last call, ascending: a code's number in the order in which the position's
  // rows are rounded. Without those for which both roundings give the same code, because the
  // range ends there.
  [[nodiscard]] const std::vector<std::size_t>& ties() const { return ties_; }

 private:
  struct Matrix {
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::vector<double> values;
  };
  using Row = std::vector<double>;

  static Matrix read_matrix(const io::Checkpoint& checkpoint, const std::string& module);
  [[nodiscard]] Row linear(const std::string& module, const Row& x) const;
  [[nodiscard]] Row norm(const std::string& module, const Row& x) const;
  [[nodiscard]] Row attention(std::size_t layer, const Row& q) const;
  void rotate(Row& heads, std::size_t position) const;
  Row round_row(const Row& x);

  ActivationGrid grid_;
  std::size_t layers_;
  std::size_t heads_;
  std::size_t kv_heads_;
  std::size_t head_dim_;
  double epsilon_;
  double theta_;
  std::map<std::string, Matrix> matrices_;  // by module, vectors as one row
  std::map<std::string, Row> biases_;
  std::vector<std::vector<Row>> keys_;    // [layer][position], [Hkv * Dh]
  std::vector<std::vector<Row>> values_;  // [layer][position], [Hkv * Dh]

  std::size_t codes_seen_ = 0;
  std::vector<std::size_t> flipped_;
  std::vector<std::size_t> ties_;
};

// How near another program's logits come to the oracle's.
struct OracleAgreement {
  double worst = 0;       // largest |difference| at any position, ties resolved
  std::size_t flips = 0;  // ties that had to be rounded the other way
  std::size_t ties = 0;   // of all positions
};

// Runs the oracle over the sequence. Where a position's logits differ from `expected` by more than
// `tolerance`, up to two of its ties are rounded the other way in every combination, fewest first,
// until they do not; the best rounding found is kept, for the positions after it too.
//   ids       [T]
//   expected  [T, V]
[[nodiscard]] OracleAgreement compare_with_oracle(FakeQuantLlama& oracle,
                                                  std::span<const std::int32_t> ids,
                                                  std::span<const float> expected,
                                                  double tolerance);

}  // namespace fptq::testing
