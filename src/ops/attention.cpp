#include "ops/attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>

#include "base/check.h"
#include "kernels/attention/dispatch.h"

namespace fptq::ops {
namespace {

// Products below which waking the other threads takes longer than the work.
constexpr std::size_t kSmallestJob = std::size_t{1} << 17;

// Passes over keys and values that one piece of work makes.
constexpr std::size_t kPanelsPerPiece = 2;

// Values below which a piece of copying is not worth handing to another thread.
constexpr std::size_t kSmallestCopy = std::size_t{1} << 13;

std::size_t ceil_div(std::size_t a, std::size_t b) {
  return (a + b - 1) / b;
}

}  // namespace

Result<Attention> Attention::create(const AttentionShape& shape, Isa isa) {
  if (shape.kv_heads == 0 || shape.head_dim == 0 || shape.heads == 0 ||
      shape.heads % shape.kv_heads != 0) {
    return Error{Error::Kind::kUnsupported,
                 "attention: expected heads to be a multiple of key-value heads, got " +
                     std::to_string(shape.heads) + " heads and " + std::to_string(shape.kv_heads) +
                     " key-value heads of width " + std::to_string(shape.head_dim)};
  }
  return Attention(shape, select_variant(kernels::attention_variants(), isa).run);
}

void Attention::store(const float* k, const float* v, std::span<const AttentionSequence> sequences,
                      ThreadPool& pool) const {
  const std::size_t stride = shape_.kv_heads * shape_.head_dim;
  const std::size_t grain = std::max<std::size_t>(1, kSmallestCopy / stride);
  std::size_t row = 0;
  for (const AttentionSequence& sequence : sequences) {
    FPTQ_CHECK(sequence.kv.size() == shape_.kv_heads, "one cache per key-value head");
    pool.parallel_for(sequence.tokens, grain, [&](std::size_t begin, std::size_t end) {
      for (std::size_t head = 0; head < shape_.kv_heads; ++head) {
        const std::size_t offset = (row + begin) * stride + head * shape_.head_dim;
        kernels::store_kv({.k = k + offset,
                           .k_stride = stride,
                           .v = v + offset,
                           .v_stride = stride,
                           .tokens = end - begin,
                           .first_position = sequence.first_position + begin,
                           .head_dim = shape_.head_dim,
                           .kv = sequence.kv[head]});
      }
    });
    row += sequence.tokens;
  }
}

void Attention::forward(const float* q, std::span<const AttentionSequence> sequences, float* out,
                        ThreadPool& pool) {
  const std::size_t group = shape_.heads / shape_.kv_heads;
  const std::size_t stride = shape_.heads * shape_.head_dim;
  const std::size_t piece_tokens =
      std::max<std::size_t>(1, kPanelsPerPiece * kernels::kAttentionRows / group);
  pieces_.clear();
  std::size_t row = 0;
  std::size_t products = 0;
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    const AttentionSequence& sequence = sequences[s];
    FPTQ_CHECK(sequence.kv.size() == shape_.kv_heads, "one cache per key-value head");
    for (std::size_t piece = ceil_div(sequence.tokens, piece_tokens); piece-- > 0;) {
      const std::size_t begin = piece * piece_tokens;
      const std::size_t end = std::min(begin + piece_tokens, sequence.tokens);
      products += (end - begin) * (sequence.first_position + end) * stride;
      for (std::size_t head = 0; head < shape_.kv_heads; ++head) {
        pieces_.push_back({s, row, begin, end, head});
      }
    }
    row += sequence.tokens;
  }
  const std::size_t scratch_floats = kernels::attention_scratch_floats(shape_.head_dim);
  scratch_.resize(std::max(scratch_.size(), pool.threads()));
  for (std::vector<float>& scratch : scratch_) scratch.resize(scratch_floats);

  std::atomic<std::size_t> next{0};
  const auto work = [&](std::size_t thread) {
    for (;;) {
      const std::size_t index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= pieces_.size()) return;
      const Piece& piece = pieces_[index];
      const AttentionSequence& sequence = sequences[piece.sequence];
      const std::size_t offset =
          (piece.row + piece.begin) * stride + piece.kv_head * group * shape_.head_dim;
      kernel_({.q = q + offset,
               .q_stride = stride,
               .out = out + offset,
               .out_stride = stride,
               .tokens = piece.end - piece.begin,
               .group = group,
               .first_position = sequence.first_position + piece.begin,
               .window = shape_.window,
               .head_dim = shape_.head_dim,
               .scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim)),
               .kv = sequence.kv[piece.kv_head],
               .scratch = scratch_[thread].data()});
    }
  };
  if (products < kSmallestJob) {
    work(0);
  } else {
    pool.run(work);
  }
}

}  // namespace fptq::ops
