#include "kernels/attention/kv_layout.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "numeric/dtype.h"

namespace fptq::kernels {
namespace {

// f32_to_bf16 without its branch, so that loops over it become vector code.
std::uint16_t round_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16;
  const std::uint32_t quiet = bits >> 16 | 0x0040U;
  return static_cast<std::uint16_t>((bits & 0x7FFFFFFFU) > 0x7F800000U ? quiet : rounded);
}

// How one vector is coded: code = round_half_even(x * inverse), x ~ scale * code.
struct Int8Scale {
  float scale;
  float inverse;
};

Int8Scale int8_scale(const float* x, std::size_t count) {
  // As integers, magnitudes sort like the floats they are, infinity and NaN on top.
  std::uint32_t largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    largest = std::max(largest, std::bit_cast<std::uint32_t>(x[i]) & 0x7FFFFFFFU);
  }
  const auto absmax = std::bit_cast<float>(largest);
  if (!(absmax <= std::numeric_limits<float>::max())) {
    return {std::numeric_limits<float>::quiet_NaN(), 0.0f};
  }
  if (absmax < 0x1.0p-100f) return {0.0f, 0.0f};
  return {absmax / 127.0f, 127.0f / absmax};
}

// |x * inverse| <= 127 (1 + 2^-23), which rounds to 127. An infinite or NaN x gives some code.
std::int8_t int8_code(float x, float inverse) {
  const float magic = 0x1.8p23f;  // adding it rounds to an integer, half to even
  const auto bits = std::bit_cast<std::uint32_t>(x * inverse + magic);
  return static_cast<std::int8_t>(bits & 0xFFU);
}

template <typename T, typename Code>
void store_key(const float* k, std::size_t position, std::size_t head_dim, T* keys,
               const Code& code) {
  T* out =
      keys + position / kAttentionBlock * head_dim * kAttentionBlock + position % kAttentionBlock;
  for (std::size_t d = 0; d < head_dim; ++d) out[d * kAttentionBlock] = code(k[d]);
}

template <typename T, typename Code>
void store_value(const float* v, std::size_t position, std::size_t head_dim, T* values,
                 const Code& code) {
  T* out = values + position * padded_head_dim(head_dim);
  for (std::size_t d = 0; d < head_dim; ++d) out[d] = code(v[d]);
  std::fill(out + head_dim, out + padded_head_dim(head_dim), T{0});
}

template <typename T, typename Code>
void store_as(const KvStoreArgs& args, const Code& code) {
  for (std::size_t t = 0; t < args.tokens; ++t) {
    const std::size_t position = args.first_position + t;
    store_key(args.k + t * args.k_stride, position, args.head_dim, static_cast<T*>(args.kv.keys),
              code);
    store_value(args.v + t * args.v_stride, position, args.head_dim,
                static_cast<T*>(args.kv.values), code);
  }
}

void store_as_int8(const KvStoreArgs& args) {
  for (std::size_t t = 0; t < args.tokens; ++t) {
    const std::size_t position = args.first_position + t;
    const float* k = args.k + t * args.k_stride;
    const float* v = args.v + t * args.v_stride;
    const Int8Scale key = int8_scale(k, args.head_dim);
    const Int8Scale value = int8_scale(v, args.head_dim);
    args.kv.key_scales[position] = key.scale;
    args.kv.value_scales[position] = value.scale;
    store_key(k, position, args.head_dim, static_cast<std::int8_t*>(args.kv.keys),
              [&](float x) { return int8_code(x, key.inverse); });
    store_value(v, position, args.head_dim, static_cast<std::int8_t*>(args.kv.values),
                [&](float x) { return int8_code(x, value.inverse); });
  }
}

}  // namespace

void store_kv(const KvStoreArgs& args) {
  if (args.kv.type == ElementType::kI8) {
    store_as_int8(args);
  } else if (args.kv.type == ElementType::kBF16) {
    store_as<std::uint16_t>(args, round_to_bf16);
  } else {
    store_as<float>(args, [](float x) { return x; });
  }
}

}  // namespace fptq::kernels
