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

// Pieces per thread below which long sequences are cut into chunks as well.
constexpr std::size_t kPiecesPerThread = 4;

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

void Attention::add_pieces(const AttentionSequence& sequence, std::size_t index, std::size_t row,
                           std::size_t parts, std::size_t& state_floats) {
  const std::size_t group = shape_.heads / shape_.kv_heads;
  const std::size_t newest = sequence.first_position + sequence.tokens - 1;
  const std::size_t oldest = sequence.first_position;
  const std::size_t seen =
      shape_.window != 0 && oldest + 1 > shape_.window ? oldest + 1 - shape_.window : 0;
  const std::size_t first_chunk = seen / kernels::kAttentionChunk;
  const std::size_t chunks = newest / kernels::kAttentionChunk + 1 - first_chunk;
  const bool few_rows = sequence.tokens * group <= kernels::kAttentionRows;
  // A head after the other, so that its keys and values stay in a second-level cache.
  for (std::size_t head = 0; head < shape_.kv_heads; ++head) {
    if (few_rows && parts > 1 && chunks > 1) {
      const std::size_t step = ceil_div(chunks, std::min(parts, chunks));
      const std::size_t floats =
          chunks * sequence.tokens * group * kernels::attention_state_floats(shape_.head_dim);
      const std::size_t states = states_.size();
      states_.resize(states + floats);
      for (std::size_t begin = 0; begin < chunks; begin += step) {
        pieces_.push_back({index, row, 0, sequence.tokens, head, first_chunk + begin,
                           first_chunk + std::min(begin + step, chunks), merges_.size()});
      }
      merges_.push_back({state_floats, ceil_div(chunks, step)});
      state_floats +=
          chunks * sequence.tokens * group * kernels::attention_state_floats(shape_.head_dim);
      continue;
    }
    const std::size_t tokens =
        std::max<std::size_t>(1, kPanelsPerPiece * kernels::kAttentionRows / group);
    // The longest first, so that threads finish together.
    for (std::size_t piece = ceil_div(sequence.tokens, tokens); piece-- > 0;) {
      const std::size_t begin = piece * tokens;
      pieces_.push_back(
          {index, row, begin, std::min(begin + tokens, sequence.tokens), head, 0, 0, 0});
    }
  }
}

void Attention::forward(const float* q, std::span<const AttentionSequence> sequences, float* out,
                        ThreadPool& pool) {
  const std::size_t group = shape_.heads / shape_.kv_heads;
  const std::size_t stride = shape_.heads * shape_.head_dim;
  std::size_t products = 0;
  for (const AttentionSequence& sequence : sequences) {
    FPTQ_CHECK(sequence.kv.size() == shape_.kv_heads, "one cache per key-value head");
    products += sequence.tokens * (sequence.first_position + sequence.tokens) * stride;
  }
  const std::size_t threads = products < kSmallestJob ? 1 : pool.threads();
  const std::size_t parts =
      threads == 1 ? 1 : ceil_div(kPiecesPerThread * threads, sequences.size() * shape_.kv_heads);
  pieces_.clear();
  merges_.clear();
  std::size_t row = 0;
  std::size_t state_floats = 0;
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    if (sequences[s].tokens > 0) add_pieces(sequences[s], s, row, parts, state_floats);
    row += sequences[s].tokens;
  }
  if (states_.size() < state_floats) states_.resize(state_floats);
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
      kernels::AttentionArgs args = {.q = q + offset,
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
                                     .scratch = scratch_[thread].data()};
      if (piece.chunk_begin == piece.chunk_end) {
        kernel_(args);
        continue;
      }
      Merge& merge = merges_[piece.merge];
      args.part = kernels::AttentionPart::kChunks;
      args.chunk_begin = piece.chunk_begin;
      args.chunk_end = piece.chunk_end;
      args.states = states_.data() + merge.states;
      kernel_(args);
      // Whoever is last sees what the others wrote before they counted down.
      if (std::atomic_ref(merge.unfinished).fetch_sub(1, std::memory_order_acq_rel) == 1) {
        args.part = kernels::AttentionPart::kMerge;
        kernel_(args);
      }
    }
  };
  if (threads == 1) {
    work(0);
  } else {
    pool.run(work);
  }
}

}  // namespace fptq::ops
