// Causal attention of a batch of sequences, each over its own key-value cache.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/cpu.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/attention/kv_layout.h"

namespace fptq::ops {

struct AttentionShape {
  std::size_t heads;       // H, a multiple of kv_heads
  std::size_t kv_heads;    // Hkv
  std::size_t head_dim;    // Dh
  std::size_t window = 0;  // positions that a query sees, its own included; 0: all before it
};

// One sequence's part of a batch: tokens at positions [first_position, first_position + tokens).
struct AttentionSequence {
  std::size_t tokens;
  std::size_t first_position;
  std::span<const kernels::KvHead> kv;  // [Hkv], this layer's storage
};

// Rows of q, k, v and out are the tokens of the sequences, one sequence after the other.
//
// Bits: kernels/attention/contract.h; they depend neither on the batch, nor on how a sequence is
// split over calls, nor on threads. Thread safety: one call at a time.
class Attention {
 public:
  // Errors: kUnsupported for heads that kv_heads does not divide, and for zeros.
  [[nodiscard]] static Result<Attention> create(const AttentionShape& shape, Isa isa);

  // Writes keys (already rotated) and values into the caches.
  //   k, v  [T, Hkv, Dh]
  void store(const float* k, const float* v, std::span<const AttentionSequence> sequences,
             ThreadPool& pool) const;

  // out[t, h] = softmax(q[t, h] K^T / sqrt(Dh)) V over the positions that the token sees. Its own
  // position has to be stored already.
  //   q, out  [T, H, Dh]
  void forward(const float* q, std::span<const AttentionSequence> sequences, float* out,
               ThreadPool& pool);

  [[nodiscard]] const AttentionShape& shape() const { return shape_; }

 private:
  // A part of the work that one thread does: some tokens of one key-value head, or for few tokens
  // behind many positions some of the chunks of those.
  struct Piece {
    std::size_t sequence;
    std::size_t row;    // of q
    std::size_t begin;  // tokens of the sequence
    std::size_t end;
    std::size_t kv_head;
    std::size_t chunk_begin;  // chunk_begin == chunk_end: all chunks that the tokens see
    std::size_t chunk_end;
    std::size_t merge;  // of merges_
  };
  // Pieces whose states have to be merged; the thread that finishes the last one does it.
  struct Merge {
    std::size_t states;      // index into states_
    std::size_t unfinished;  // pieces
  };

  // Appends the pieces of one sequence, whose first row of q is `row`. parts: what to cut each
  // head of a sequence with few tokens into. state_floats: taken from states_, raised here.
  void add_pieces(const AttentionSequence& sequence, std::size_t index, std::size_t row,
                  std::size_t parts, std::size_t& state_floats);

  Attention(const AttentionShape& shape, kernels::AttentionFn kernel)
      : shape_(shape), kernel_(kernel) {}

  AttentionShape shape_;
  kernels::AttentionFn kernel_;
  std::vector<Piece> pieces_;                // of the current call
  std::vector<Merge> merges_;                // of the current call
  std::vector<float> states_;                // of the current call's chunks
  std::vector<std::vector<float>> scratch_;  // one per thread
};

}  // namespace fptq::ops
