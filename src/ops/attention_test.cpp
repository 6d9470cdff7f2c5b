#include "ops/attention.h"

#include <gtest/gtest.h>

#include <memory>

#include "base/rng.h"

namespace fptq::ops {
namespace {

using kernels::ElementType;
using kernels::KvHead;

constexpr AttentionShape kShape = {.heads = 6, .kv_heads = 2, .head_dim = 40};
constexpr std::size_t kCapacity = 1300;

// One sequence's storage for one layer.
struct Cache {
  explicit Cache(ElementType type) {
    for (std::size_t head = 0; head < kShape.kv_heads; ++head) {
      keys.emplace_back(kernels::key_bytes(type, kCapacity, kShape.head_dim), 0xFF);
      values.emplace_back(kernels::value_bytes(type, kCapacity, kShape.head_dim), 0xFF);
      scales.emplace_back(2 * kernels::padded_capacity(kCapacity));
      heads.push_back({type, keys.back().data(), values.back().data(), scales.back().data(),
                       scales.back().data() + kernels::padded_capacity(kCapacity)});
    }
  }
  std::vector<std::vector<unsigned char>> keys, values;
  std::vector<std::vector<float>> scales;
  std::vector<KvHead> heads;
};

// Tokens of one sequence with their queries, keys and values.
struct Sequence {
  Sequence(std::size_t tokens, std::uint64_t seed) : length(tokens) {
    Rng rng(seed);
    const auto fill = [&](std::vector<float>& out, std::size_t width) {
      out.resize(length * width);
      for (float& value : out) value = static_cast<float>(rng.normal());
    };
    fill(q, kShape.heads * kShape.head_dim);
    fill(k, kShape.kv_heads * kShape.head_dim);
    fill(v, kShape.kv_heads * kShape.head_dim);
  }
  std::size_t length;
  std::vector<float> q, k, v;
};

// All tokens of all sequences in one call.
std::vector<float> run(const std::vector<Sequence>& batch, ElementType type, std::size_t threads,
                       Isa isa) {
  ThreadPool pool(threads);
  std::vector<std::unique_ptr<Cache>> caches;
  std::vector<AttentionSequence> sequences;
  std::vector<float> q, k, v;
  for (const Sequence& s : batch) {
    caches.push_back(std::make_unique<Cache>(type));
    sequences.push_back({s.length, 0, caches.back()->heads});
    q.insert(q.end(), s.q.begin(), s.q.end());
    k.insert(k.end(), s.k.begin(), s.k.end());
    v.insert(v.end(), s.v.begin(), s.v.end());
  }
  Attention attention = *Attention::create(kShape, isa);
  attention.store(k.data(), v.data(), sequences, pool);
  std::vector<float> out(q.size());
  attention.forward(q.data(), sequences, out.data(), pool);
  return out;
}

TEST(Attention, GivesTheSameBitsOnEveryIsaAndNumberOfThreads) {
  const std::vector<Sequence> batch = {{130, 1}};
  for (const ElementType type : {ElementType::kF32, ElementType::kBF16, ElementType::kI8}) {
    const std::vector<float> expected = run(batch, type, 1, Isa::kScalar);
    for (std::size_t threads = 1; threads <= 3; ++threads) {
      EXPECT_EQ(expected, run(batch, type, threads, best_isa()));
    }
  }
}

TEST(Attention, GivesASequenceTheSameBitsInABatch) {
  const std::vector<Sequence> batch = {{65, 1}, {1, 2}, {200, 3}};
  const std::vector<float> together = run(batch, ElementType::kBF16, 2, best_isa());
  std::vector<float> alone;
  for (const Sequence& s : batch) {
    const std::vector<float> out = run({s}, ElementType::kBF16, 1, best_isa());
    alone.insert(alone.end(), out.begin(), out.end());
  }
  EXPECT_EQ(alone, together);
}

TEST(Attention, GivesDecodedTokensTheBitsOfThePrefill) {
  const Sequence s(150, 4);
  const std::vector<float> whole = run({s}, ElementType::kI8, 2, best_isa());
  ThreadPool pool(2);
  Cache cache(ElementType::kI8);
  Attention attention = *Attention::create(kShape, best_isa());
  std::vector<float> out(s.q.size());
  const std::size_t q_width = kShape.heads * kShape.head_dim;
  const std::size_t kv_width = kShape.kv_heads * kShape.head_dim;
  for (std::size_t t = 0; t < s.length; ++t) {
    const AttentionSequence step = {1, t, cache.heads};
    attention.store(s.k.data() + t * kv_width, s.v.data() + t * kv_width, {&step, 1}, pool);
    attention.forward(s.q.data() + t * q_width, {&step, 1}, out.data() + t * q_width, pool);
  }
  EXPECT_EQ(whole, out);
}

// One token behind many positions, whose chunks are shared by threads, and its first tokens, which
// are not.
TEST(Attention, GivesTheSameBitsHoweverManyThreadsShareAHead) {
  const Sequence s(1290, 5);
  const std::size_t q_width = kShape.heads * kShape.head_dim;
  for (const ElementType type : {ElementType::kF32, ElementType::kI8}) {
    for (const std::size_t window : {std::size_t{0}, std::size_t{700}}) {
      AttentionShape shape = kShape;
      shape.window = window;
      Cache cache(type);
      std::vector<float> expected;
      for (const std::size_t threads : {1u, 2u, 3u, 7u}) {
        ThreadPool pool(threads);
        Attention attention = *Attention::create(shape, best_isa());
        const AttentionSequence whole = {s.length, 0, cache.heads};
        attention.store(s.k.data(), s.v.data(), {&whole, 1}, pool);
        std::vector<float> out(3 * q_width);
        const AttentionSequence sequences[] = {{2, s.length - 2, cache.heads},
                                               {1, 900, cache.heads}};
        attention.forward(s.q.data(), sequences, out.data(), pool);
        if (expected.empty()) expected = out;
        EXPECT_EQ(expected, out);
      }
    }
  }
}

TEST(Attention, RejectsHeadsThatDoNotFormGroups) {
  const auto attention =
      Attention::create({.heads = 9, .kv_heads = 2, .head_dim = 64}, Isa::kScalar);
  ASSERT_FALSE(attention);
  EXPECT_EQ(Error::Kind::kUnsupported, attention.error().kind);
  EXPECT_EQ(
      "attention: expected heads to be a multiple of key-value heads, got 9 heads and 2 key-value "
      "heads of width 64",
      attention.error().message);
}

}  // namespace
}  // namespace fptq::ops
