#include "algo/input_moments.h"

#include <algorithm>
#include <utility>

#include "algo/matrix_products.h"
#include "base/check.h"
#include "kernels/fixed_gemm/dispatch.h"
#include "kernels/fixed_gemm/scratch.h"
#include "kernels/fixed_pack/dispatch.h"

namespace fptq::algo {
namespace {

// Rows of the sum that are mirrored at a time.
constexpr std::size_t kBlockRows = 96;
// Channels that a thread rounds at a time.
constexpr std::size_t kStrip = 64;

static_assert(kStrip % kernels::kFixedChannels == 0);

// Rows of the sum that a thread computes at a time: as many as share the work, because each time
// the other side is cut into digits anew. Where only what is right of the diagonal is computed,
// the first rows are the longest.
std::size_t block_rows(std::size_t rows, bool symmetric, std::size_t threads) {
  constexpr std::size_t kMost = 256;
  const std::size_t pieces = symmetric ? 2 * threads : threads;
  return std::min(kMost, kernels::fixed_channels((rows + pieces - 1) / pieces));
}

}  // namespace

OuterProductSum::OuterProductSum(std::size_t left_width, std::size_t right_width, bool symmetric,
                                 Isa isa)
    : symmetric_(symmetric), isa_(isa) {
  FPTQ_CHECK(!symmetric || left_width == right_width, "a matrix times itself is square");
  left_.width = left_width;
  right_.width = right_width;
}

void OuterProductSum::add(const float* left, const float* right, std::size_t rows,
                          ThreadPool& pool) {
  FPTQ_CHECK((right == nullptr) == symmetric_, "right is given unless it is left");
  const auto append = [](Side& side, const float* values, std::size_t count) {
    side.pending.insert(side.pending.end(), values, values + count * side.width);
  };
  while (rows > 0) {
    const std::size_t taken = std::min(rows, kMomentChunk - pending_);
    if (taken == kMomentChunk) {
      add_chunk(left, right, taken, pool);
    } else {
      append(left_, left, taken);
      if (!symmetric_) append(right_, right, taken);
      pending_ += taken;
      if (pending_ == kMomentChunk) flush(pool);
    }
    left += taken * left_.width;
    if (!symmetric_) right += taken * right_.width;
    rows -= taken;
  }
}

void OuterProductSum::flush(ThreadPool& pool) {
  if (pending_ == 0) return;
  add_chunk(left_.pending.data(), symmetric_ ? nullptr : right_.pending.data(), pending_, pool);
  left_.pending.clear();
  right_.pending.clear();
  pending_ = 0;
}

void OuterProductSum::pack(Side& side, const float* values, std::size_t rows, ThreadPool& pool) {
  const kernels::FixedPackFn function = select_variant(kernels::fixed_pack_variants(), isa_).run;
  const std::size_t stride = kernels::fixed_channels(side.width);
  side.words.resize(kernels::fixed_words(kMomentChunk) * stride);
  side.scales.resize(side.width);
  pool.parallel_for(side.width, kStrip, [&](std::size_t begin, std::size_t end) {
    function({.x = values + begin,
              .x_stride = side.width,
              .rows = rows,
              .cols = end - begin,
              .by_columns = true,
              .words = side.words.data() + begin,
              .word_stride = stride,
              .scales = side.scales.data() + begin});
  });
}

void OuterProductSum::add_chunk(const float* left, const float* right, std::size_t rows,
                                ThreadPool& pool) {
  total_.resize(left_.width * right_.width);
  pack(left_, left, rows, pool);
  if (!symmetric_) pack(right_, right, rows, pool);
  const Side& other = symmetric_ ? left_ : right_;
  const kernels::FixedGemmFn function = select_variant(kernels::fixed_gemm_variants(), isa_).run;
  const std::size_t words = kernels::fixed_words(rows);
  const std::size_t grain = block_rows(left_.width, symmetric_, pool.threads());
  pool.parallel_for(left_.width, grain, [&](std::size_t begin, std::size_t end) {
    const std::size_t first = symmetric_ ? begin : 0;
    function({.a = left_.words.data() + begin,
              .a_row_stride = 1,
              .a_word_stride = kernels::fixed_channels(left_.width),
              .b = other.words.data() + first,
              .b_stride = kernels::fixed_channels(other.width),
              .a_scale = left_.scales.data() + begin,
              .b_scale = other.scales.data() + first,
              .y = total_.data() + begin * right_.width + first,
              .y_stride = right_.width,
              .accumulate = true,
              .m = end - begin,
              .n = right_.width - first,
              .words = words,
              .scratch = kernels::fixed_gemm_scratch(words)});
  });
}

std::vector<float> OuterProductSum::finish(ThreadPool& pool) {
  flush(pool);
  total_.resize(left_.width * right_.width);
  if (symmetric_) {
    const MatrixView<float> total{total_.data(), right_.width};
    pool.parallel_for(left_.width, kBlockRows, [&](std::size_t begin, std::size_t end) {
      // Rows of a block below the diagonal, from the blocks above. Within a block on the diagonal
      // both halves were computed, but s_i s_j and s_j s_i may differ in the last bit.
      for (std::size_t col = 0; col < end; ++col) {
        for (std::size_t row = std::max(begin, col + 1); row < end; ++row) {
          total.row(row)[col] = total.row(col)[row];
        }
      }
    });
  }
  return std::exchange(total_, {});
}

MomentAccumulator::MomentAccumulator(std::size_t width, bool with_shift, Isa isa)
    : width_(width), gram_(width, width, true, isa) {
  if (with_shift) shift_.emplace_back(width, width, false, isa);
}

void MomentAccumulator::add(const float* xq, const float* shift, std::size_t rows,
                            ThreadPool& pool) {
  FPTQ_CHECK((shift == nullptr) == shift_.empty(), "a shift is given where it is wanted");
  gram_.add(xq, nullptr, rows, pool);
  for (OuterProductSum& sum : shift_) sum.add(xq, shift, rows, pool);
  tokens_ += rows;
}

InputMoments MomentAccumulator::finish(ThreadPool& pool) {
  InputMoments moments;
  moments.width = width_;
  moments.tokens = std::exchange(tokens_, 0);
  moments.gram = gram_.finish(pool);
  for (OuterProductSum& sum : shift_) moments.shift = sum.finish(pool);
  return moments;
}

OutputMomentAccumulator::OutputMomentAccumulator(std::size_t outputs, std::size_t width, Isa isa)
    : sum_(outputs, width, false, isa) {}

void OutputMomentAccumulator::add_output_moment(const float* e, const float* xq, std::size_t rows,
                                                ThreadPool& pool) {
  sum_.add(e, xq, rows, pool);
}

std::vector<float> OutputMomentAccumulator::finish(ThreadPool& pool) {
  return sum_.finish(pool);
}

void damp(double lambda, InputMoments& moments) {
  for (std::size_t i = 0; i < moments.width; ++i) {
    moments.gram[i * moments.width + i] += static_cast<float>(lambda);
  }
}

}  // namespace fptq::algo
