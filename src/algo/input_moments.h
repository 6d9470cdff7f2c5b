// Second moments of the inputs of a linear: all that the calibrated methods know about the data.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/cpu.h"
#include "base/thread_pool.h"

namespace fptq::algo {

// What calibration knows about the inputs of a linear with K inputs.
struct InputMoments {
  std::size_t width = 0;     // K
  std::uint64_t tokens = 0;  // T, the rows that were added up
  // [K, K] H = sum_t xq_t xq_t^T, symmetric to the bit. xq: inputs as the quantized part of the
  // model before this linear produces them.
  std::vector<float> gram;
  // [K, K] D = sum_t xq_t (xf_t - xq_t)^T, xf: inputs of the original model. Empty: xf = xq.
  std::vector<float> shift;
};

// H += lambda I: what rounding is to be measured by once the weights have been corrected, which
// takes H as it is (input_correction.h).
void damp(double lambda, InputMoments& moments);

// Tokens whose products are added up before they are added to the sum.
inline constexpr std::size_t kMomentChunk = 1024;

// Adds up sum_t left_t right_t^T over calls.
//
// Tokens are gathered in chunks of kMomentChunk. Within a chunk each channel is rounded to
// fixed-point numbers of 14 bits (kernels/fixed_pack): what that adds is noise of
// (max / 8127)^2 / 12, 64^2 times less than that of 8-bit activations. Sums over a chunk are exact
// (kernels/fixed_gemm), and chunks are added in float32 one after the other. So the result depends
// on the sequence of tokens only: not on how calls cut it, on the number of threads or on the
// instruction set.
//
// Thread safety: one thread at a time; the pool's threads help.
class OuterProductSum {
 public:
  // left: [T, M], right: [T, N]. symmetric: right is left (M = N), and right is not passed; half
  // of the products are computed.
  OuterProductSum(std::size_t left_width, std::size_t right_width, bool symmetric, Isa isa);

  //   left   [rows, M], row-major
  //   right  [rows, N]; null where symmetric
  void add(const float* left, const float* right, std::size_t rows, ThreadPool& pool);

  // [M, N], and leaves this sum empty.
  [[nodiscard]] std::vector<float> finish(ThreadPool& pool);

 private:
  // The channels of one side over a chunk.
  struct Side {
    std::size_t width = 0;
    std::vector<float> pending;       // [tokens, width] of a chunk that is not full
    std::vector<std::int32_t> words;  // [tokens / 2, padded width]
    std::vector<float> scales;        // [width]
  };

  void flush(ThreadPool& pool);
  void pack(Side& side, const float* values, std::size_t rows, ThreadPool& pool);
  // Adds a chunk of `rows` tokens; right is null where symmetric.
  void add_chunk(const float* left, const float* right, std::size_t rows, ThreadPool& pool);

  bool symmetric_;
  Isa isa_;
  std::size_t pending_ = 0;  // tokens that wait
  Side left_;
  Side right_;                // unused where symmetric
  std::vector<float> total_;  // [M, N]; only blocks on and above the diagonal where symmetric
};

// Adds up InputMoments.
class MomentAccumulator {
 public:
  // with_shift: what the original model's inputs are more than these will be given too.
  MomentAccumulator(std::size_t width, bool with_shift, Isa isa);

  //   xq     [rows, K]
  //   shift  [rows, K] xf - xq; null exactly where it will not be given
  void add(const float* xq, const float* shift, std::size_t rows, ThreadPool& pool);

  // The moments, and leaves the accumulator empty. NaNs and infinities stay in them:
  // InputFactor::make() reports them.
  [[nodiscard]] InputMoments finish(ThreadPool& pool);

 private:
  std::size_t width_;
  std::uint64_t tokens_ = 0;
  OuterProductSum gram_;
  std::vector<OuterProductSum> shift_;  // none or one
};

// Adds up R = sum_t e_t xq_t^T, [N, K], where e is what a linear's N outputs ought to make up for:
// the correction of a residual stream (input_correction.h).
class OutputMomentAccumulator {
 public:
  OutputMomentAccumulator(std::size_t outputs, std::size_t width, Isa isa);

  //   e   [rows, N]
  //   xq  [rows, K]
  void add_output_moment(const float* e, const float* xq, std::size_t rows, ThreadPool& pool);

  // [N, K], and leaves the accumulator empty.
  [[nodiscard]] std::vector<float> finish(ThreadPool& pool);

 private:
  OuterProductSum sum_;
};

}  // namespace fptq::algo
