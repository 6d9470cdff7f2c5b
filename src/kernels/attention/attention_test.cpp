#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention/dispatch.h"
#include "kernels/attention/kv_layout.h"
#include "kernels/kernel_test_support.h"

namespace fptq::kernels {
namespace {

using testing::expect_same_bits;
using testing::random_floats;

constexpr ElementType kTypes[] = {ElementType::kF32, ElementType::kBF16, ElementType::kI8};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Storage of one KvHead, full of NaN until positions are written.
struct Cache {
  Cache(ElementType type, std::size_t capacity, std::size_t head_dim)
      : keys(key_bytes(type, capacity, head_dim), 0xFF),
        values(value_bytes(type, capacity, head_dim), 0xFF),
        key_scales(padded_capacity(capacity), kNan),
        value_scales(padded_capacity(capacity), kNan),
        kv{type, keys.data(), values.data(), key_scales.data(), value_scales.data()} {}

  std::vector<unsigned char> keys, values;
  std::vector<float> key_scales, value_scales;
  KvHead kv;
};

// A sequence of `length` positions with random queries, keys and values.
struct Sequence {
  Sequence(std::size_t tokens, std::size_t query_heads, std::size_t dim, float key_size = 1.0f)
      : length(tokens),
        group(query_heads),
        head_dim(dim),
        q(random_floats(length * group * head_dim, 1)),
        k(random_floats(length * head_dim, 2, key_size)),
        v(random_floats(length * head_dim, 3)) {}

  void store(const KvHead& kv, std::size_t first, std::size_t tokens) const {
    store_kv({k.data() + first * head_dim, head_dim, v.data() + first * head_dim, head_dim, tokens,
              first, head_dim, kv});
  }

  // Attention of the tokens [first, first + tokens), written to their place in out.
  void attend(AttentionFn function, const KvHead& kv, std::size_t first, std::size_t tokens,
              std::vector<float>& out) const {
    std::vector<float> scratch(attention_scratch_floats(head_dim), kNan);
    AttentionArgs call = args(kv, first, tokens, out);
    call.scratch = scratch.data();
    function(call);
  }

  [[nodiscard]] AttentionArgs args(const KvHead& kv, std::size_t first, std::size_t tokens,
                                   std::vector<float>& out) const {
    const std::size_t stride = group * head_dim;
    return {.q = q.data() + first * stride,
            .q_stride = stride,
            .out = out.data() + first * stride,
            .out_stride = stride,
            .tokens = tokens,
            .group = group,
            .first_position = first,
            .window = window,
            .head_dim = head_dim,
            .scale = 1.0f / std::sqrt(static_cast<float>(head_dim)),
            .kv = kv,
            .scratch = nullptr};
  }

  // Stores and attends in consecutive chunks of the given size.
  std::vector<float> run(AttentionFn function, ElementType type, std::size_t chunk) const {
    Cache cache(type, length, head_dim);
    std::vector<float> out(length * group * head_dim, kNan);
    for (std::size_t first = 0; first < length; first += chunk) {
      const std::size_t tokens = std::min(chunk, length - first);
      store(cache.kv, first, tokens);
      attend(function, cache.kv, first, tokens, out);
    }
    return out;
  }

  std::size_t length, group, head_dim;
  std::size_t window = 0;
  std::vector<float> q, k, v;
};

float widened(const KvHead& kv, const void* array, std::size_t index) {
  if (kv.type == ElementType::kF32) return static_cast<const float*>(array)[index];
  return bf16_to_f32(static_cast<const std::uint16_t*>(array)[index]);
}

float stored_key(const KvHead& kv, std::size_t head_dim, std::size_t p, std::size_t d) {
  if (kv.type == ElementType::kI8) {
    const std::size_t groups = (head_dim + 3) / 4;
    const std::size_t index = ((p / 64 * groups + d / 4) * 64 + p % 64) * 4 + d % 4;
    return kv.key_scales[p] *
           static_cast<float>(static_cast<const std::uint8_t*>(kv.keys)[index] - 128);
  }
  return widened(kv, kv.keys, (p / 64 * head_dim + d) * 64 + p % 64);
}

float stored_value(const KvHead& kv, std::size_t head_dim, std::size_t p, std::size_t d) {
  const std::size_t width = padded_head_dim(head_dim);
  if (kv.type == ElementType::kI8) {
    const std::size_t index = (p / 4 * width + d) * 4 + p % 4;
    return kv.value_scales[p] *
           static_cast<float>(static_cast<const std::int8_t*>(kv.values)[index]);
  }
  return widened(kv, kv.values, p * width + d);
}

// The query that scores are made with: int8 caches take it in codes of 8 bits.
std::vector<double> used_query(const Sequence& s, ElementType type, std::size_t t, std::size_t g) {
  const float* q = s.q.data() + (t * s.group + g) * s.head_dim;
  std::vector<double> used(q, q + s.head_dim);
  if (type != ElementType::kI8) return used;
  float absmax = 0.0f;
  for (std::size_t d = 0; d < s.head_dim; ++d) absmax = std::max(absmax, std::abs(q[d]));
  for (double& value : used) {
    const double code = std::nearbyint(value * static_cast<double>(127.0f / absmax));
    value = static_cast<double>(absmax) / 127 * code;
  }
  return used;
}

// Compares one output row with softmax(scale * q K^T) V in double, on the stored keys and values.
void expect_row_near_oracle(const Sequence& s, const KvHead& kv, std::size_t t, std::size_t g,
                            const float* actual) {
  const double unit = std::numeric_limits<float>::epsilon() / 2;
  const auto dim = static_cast<double>(s.head_dim);
  const std::size_t begin = s.window != 0 && t + 1 > s.window ? t + 1 - s.window : 0;
  const std::vector<double> q = used_query(s, kv.type, t, g);
  std::vector<double> score;
  double score_error = 0.0;
  for (std::size_t j = begin; j <= t; ++j) {
    double sum = 0.0;
    double magnitude = 0.0;
    for (std::size_t d = 0; d < s.head_dim; ++d) {
      const double term = q[d] * stored_key(kv, s.head_dim, j, d);
      sum += term;
      magnitude += std::abs(term);
    }
    score.push_back(sum / std::sqrt(dim));
    // Dh fma, factors that are rounded themselves, and the difference to the maximum.
    score_error = std::max(score_error, (dim + 8) * unit * magnitude / std::sqrt(dim));
  }
  const double maximum = *std::max_element(score.begin(), score.end());
  double total = 0.0;
  for (double& e : score) total += e = std::exp(e - maximum);
  const auto count = static_cast<double>(score.size());
  const double chunks = std::ceil(count / kAttentionChunk) + 1;
  // An exponential is off by the errors of its score and of the maximum, by 2 roundings of its
  // own and, per chunk, by those of the correction; both o and l carry it. o adds one rounding a
  // position, the value's scale two, l one per 16 positions and the division the last.
  const double relative = 2 * (2 * score_error + (2 + 4 * chunks) * unit) + (2 * count + 8) * unit;
  // For int8 caches a weight, value scale included, is off by half a step of its code: the largest
  // weight of the chunk is 16383 steps. 2^-126 for those below the range of exponentials.
  const auto chunk_of = [&](std::size_t j) { return (begin + j) / kAttentionChunk; };
  std::vector<double> step((t / kAttentionChunk) + 1, 0.0);
  for (std::size_t j = 0; kv.type == ElementType::kI8 && j < score.size(); ++j) {
    const double weight = score[j] / total * static_cast<double>(kv.value_scales[begin + j]);
    step[chunk_of(j)] = std::max(step[chunk_of(j)], weight * 1.001 / 16383);
  }
  for (std::size_t d = 0; d < s.head_dim; ++d) {
    double expected = 0.0;
    double bound = 0.0;
    for (std::size_t j = 0; j < score.size(); ++j) {
      const double value = stored_value(kv, s.head_dim, begin + j, d);
      expected += score[j] / total * value;
      bound += relative * score[j] / total * std::abs(value) + 0x1p-126 * std::abs(value);
      if (kv.type == ElementType::kI8) {
        const double value_scale = static_cast<double>(kv.value_scales[begin + j]);
        bound += step[chunk_of(j)] / 2 * std::abs(value) / value_scale;
      }
    }
    ASSERT_NEAR(expected, actual[d], bound) << "token " << t << " channel " << d;
  }
}

TEST(AttentionScalar, StaysWithinRoundingBoundOfDoubleOracle) {
  for (const ElementType type : kTypes) {
    for (const std::size_t window : {0u, 1u, 50u, 256u, 300u}) {
      Sequence s(530, 3, 20);
      s.window = window;
      Cache cache(type, s.length, s.head_dim);
      s.store(cache.kv, 0, s.length);
      std::vector<float> out(s.q.size(), kNan);
      s.attend(attention_scalar, cache.kv, 0, s.length, out);
      for (std::size_t t = 0; t < s.length; t += t % 64 < 62 ? 7u : 1u) {
        for (std::size_t g = 0; g < s.group; ++g) {
          expect_row_near_oracle(s, cache.kv, t, g, &out[(t * s.group + g) * s.head_dim]);
        }
      }
    }
  }
}

TEST(KvStore, KeepsFloatsRoundsBf16AndCodesInt8WithinHalfAStep) {
  Sequence s(70, 1, 24);
  s.k[5] = 0.0f;
  std::fill_n(s.v.begin(), s.head_dim, 0.0f);  // position 0: scale 0
  for (const ElementType type : kTypes) {
    Cache cache(type, s.length, s.head_dim);
    s.store(cache.kv, 0, 3);
    s.store(cache.kv, 3, s.length - 3);
    for (std::size_t p = 0; p < s.length; ++p) {
      for (std::size_t d = 0; d < s.head_dim; ++d) {
        const float k = s.k[p * s.head_dim + d];
        const float v = s.v[p * s.head_dim + d];
        const float key = stored_key(cache.kv, s.head_dim, p, d);
        const float value = stored_value(cache.kv, s.head_dim, p, d);
        if (type == ElementType::kI8) {
          // Half a step, and the roundings of scale, inverse and product.
          EXPECT_NEAR(k, key, cache.key_scales[p] * 0.5001f);
          EXPECT_NEAR(v, value, cache.value_scales[p] * 0.5001f);
        } else if (type == ElementType::kBF16) {
          EXPECT_EQ(bf16_to_f32(f32_to_bf16(k)), key);
          EXPECT_EQ(bf16_to_f32(f32_to_bf16(v)), value);
        } else {
          EXPECT_EQ(k, key);
          EXPECT_EQ(v, value);
        }
      }
    }
  }
}

TEST(KvStore, PassesInfinityAndNanOnInEveryType) {
  for (const ElementType type : kTypes) {
    for (const float bad : {kInfinity, -kInfinity, kNan}) {
      Sequence s(2, 1, 16);
      s.v[3] = bad;
      const std::vector<float> out = s.run(attention_scalar, type, 2);
      EXPECT_FALSE(std::isfinite(out[3]));
      EXPECT_FALSE(std::isfinite(out[16 + 3]));
    }
  }
}

TEST(KvStore, StoresNegligibleVectorsAsZerosInInt8) {
  Sequence s(1, 1, 16);
  std::fill(s.v.begin(), s.v.end(), 1e-44f);
  for (const float out : s.run(attention_scalar, ElementType::kI8, 1)) EXPECT_EQ(0.0f, out);
}

class Attention : public ::testing::TestWithParam<Variant<AttentionFn>> {};

TEST_P(Attention, MatchesScalarBitForBit) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const ElementType type : kTypes) {
    for (const std::size_t head_dim : {2u, 24u, 30u, 64u, 80u, 128u}) {
      for (const std::size_t group : {1u, 3u, 7u}) {
        for (const std::size_t length : {1u, 63u, 65u, 129u}) {
          SCOPED_TRACE(::testing::Message()
                       << "head_dim=" << head_dim << " group=" << group << " length=" << length);
          const Sequence s(length, group, head_dim);
          expect_same_bits(s.run(attention_scalar, type, length),
                           s.run(GetParam().run, type, length));
        }
      }
    }
  }
}

TEST_P(Attention, GivesTheSameBitsOnEveryArchitecture) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  Sequence s(100, 2, 20);
  s.q = testing::portable_floats(s.q.size(), 1);
  s.k = testing::portable_floats(s.k.size(), 2);
  s.v = testing::portable_floats(s.v.size(), 3);
  // Made by the scalar variant on x86-64.
  EXPECT_EQ(12419216755473984550u,
            testing::bits_hash(s.run(GetParam().run, ElementType::kI8, 100)));
}

TEST_P(Attention, MatchesScalarBitForBitWithAWindow) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const ElementType type : {ElementType::kBF16, ElementType::kI8}) {
    for (const std::size_t window : {1u, 3u, 63u, 65u, 200u, 255u, 256u, 257u, 1000u}) {
      SCOPED_TRACE(::testing::Message() << "window=" << window);
      Sequence s(520, 2, 16);
      s.window = window;
      expect_same_bits(s.run(attention_scalar, type, s.length),
                       s.run(GetParam().run, type, s.length));
    }
  }
}

TEST_P(Attention, MatchesScalarBitForBitAcrossChunks) {
  FPTQ_SKIP_REFERENCE(GetParam().isa);
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const ElementType type : kTypes) {
    for (const std::size_t length : {255u, 256u, 257u, 600u}) {
      SCOPED_TRACE(::testing::Message() << "length=" << length);
      const Sequence s(length, 4, 22);
      expect_same_bits(s.run(attention_scalar, type, length), s.run(GetParam().run, type, length));
    }
  }
}

TEST_P(Attention, GivesTheSameBitsInParts) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const ElementType type : kTypes) {
    for (const std::size_t window : {0u, 300u}) {
      // Tokens that do not all see the same chunks.
      Sequence s(1030, 3, 40);
      s.window = window;
      const std::size_t first = 1020;
      const std::size_t tokens = 8;
      Cache cache(type, s.length, s.head_dim);
      s.store(cache.kv, 0, s.length);
      std::vector<float> whole(s.q.size(), 0.0f);
      s.attend(GetParam().run, cache.kv, first, tokens, whole);

      std::vector<float> parts(s.q.size(), 0.0f);
      AttentionArgs args = s.args(cache.kv, first, tokens, parts);
      std::vector<float> scratch(attention_scratch_floats(s.head_dim), kNan);
      std::vector<float> states(5 * tokens * s.group * attention_state_floats(s.head_dim), kNan);
      args.scratch = scratch.data();
      args.states = states.data();
      args.part = AttentionPart::kChunks;
      const std::size_t seen = window == 0 ? 0 : (first + 1 - window) / kAttentionChunk;
      for (std::size_t chunk = 5; chunk-- > seen;) {  // in any order
        args.chunk_begin = chunk;
        args.chunk_end = chunk + 1;
        GetParam().run(args);
      }
      args.part = AttentionPart::kMerge;
      GetParam().run(args);
      expect_same_bits(whole, parts);
    }
  }
}

TEST_P(Attention, GivesTheSameBitsHoweverThePrefillIsSplit) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  for (const ElementType type : kTypes) {
    for (const std::size_t window : {0u, 70u}) {
      Sequence s(140, 3, 40);
      s.window = window;
      const std::vector<float> whole = s.run(GetParam().run, type, s.length);
      for (const std::size_t chunk : {1u, 7u, 64u, 65u}) {
        SCOPED_TRACE(::testing::Message() << "chunk=" << chunk);
        expect_same_bits(whole, s.run(GetParam().run, type, chunk));
      }
    }
  }
}

TEST_P(Attention, IgnoresWhatIsStoredBehindTheQuery) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  const Sequence s(130, 2, 48);
  for (const ElementType type : kTypes) {
    Cache cache(type, s.length, s.head_dim);
    s.store(cache.kv, 0, s.length);
    std::vector<float> late(s.q.size(), 0.0f);
    s.attend(GetParam().run, cache.kv, 40, 30, late);
    const std::vector<float> step_by_step = s.run(GetParam().run, type, 1);
    const auto first = static_cast<std::ptrdiff_t>(40 * s.group * s.head_dim);
    const auto last = static_cast<std::ptrdiff_t>(70 * s.group * s.head_dim);
    expect_same_bits({step_by_step.begin() + first, step_by_step.begin() + last},
                     {late.begin() + first, late.begin() + last});
  }
}

TEST_P(Attention, ReturnsTheOnlyValueForTheFirstPosition) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  const Sequence s(1, 2, 10);
  const std::vector<float> out = s.run(GetParam().run, ElementType::kF32, 1);
  expect_same_bits(s.v, std::span(out).first(10));
  expect_same_bits(s.v, std::span(out).last(10));
}

TEST_P(Attention, StaysFiniteForHugeScores) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  const Sequence s(100, 1, 16, /*key_size=*/1e30f);
  for (const float out : s.run(GetParam().run, ElementType::kF32, 100)) {
    ASSERT_TRUE(std::isfinite(out));
  }
}

TEST_P(Attention, GivesZerosWhereEveryScoreIsMinusInfinity) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  Sequence s(70, 1, 16);
  std::fill(s.q.begin(), s.q.end(), 1.0f);
  std::fill(s.k.begin(), s.k.end(), -std::numeric_limits<float>::max());
  for (const float out : s.run(GetParam().run, ElementType::kF32, 70)) ASSERT_EQ(0.0f, out);
}

TEST_P(Attention, SkipsPositionsWithMinusInfinityAsIfTheyWereNotThere) {
  FPTQ_REQUIRE_ISA(GetParam().isa);
  Sequence s(70, 1, 16);
  std::fill(s.q.begin(), s.q.end(), 1.0f);
  std::fill_n(s.k.begin(), 66 * 16, -std::numeric_limits<float>::max());
  const std::vector<float> out = s.run(GetParam().run, ElementType::kF32, 70);
  expect_same_bits(std::span(s.v).subspan(66 * 16, 16), std::span(out).subspan(66 * 16, 16));
}

INSTANTIATE_TEST_SUITE_P(Variants, Attention,
                         ::testing::ValuesIn(attention_variants().begin(),
                                             attention_variants().end()),
                         testing::VariantName());

}  // namespace
}  // namespace fptq::kernels
