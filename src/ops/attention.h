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
  // A part of the work that one thread does: some tokens of one key-value head.
  struct Piece {
    std::size_t sequence;
    std::size_t row;    // of q
    std::size_t begin;  // tokens of the sequence
    std::size_t end;
    std::size_t kv_head;
  };

  Attention(const AttentionShape& shape, kernels::AttentionFn kernel)
      : shape_(shape), kernel_(kernel) {}

  AttentionShape shape_;
  kernels::AttentionFn kernel_;
  std::vector<Piece> pieces_;                // of the current call
  std::vector<std::vector<float>> scratch_;  // one per thread
};

}  // namespace fptq::ops
