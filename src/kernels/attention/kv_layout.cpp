#include "kernels/attention/kv_layout.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
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
void store_as(const KvStoreArgs& args, const Code& code) {
  const std::size_t width = padded_head_dim(args.head_dim);
  for (std::size_t t = 0; t < args.tokens; ++t) {
    const std::size_t position = args.first_position + t;
    const float* k = args.k + t * args.k_stride;
    T* key = static_cast<T*>(args.kv.keys) +
             position / kAttentionBlock * args.head_dim * kAttentionBlock +
             position % kAttentionBlock;
    for (std::size_t d = 0; d < args.head_dim; ++d) key[d * kAttentionBlock] = code(k[d]);
    const float* v = args.v + t * args.v_stride;
    T* value = static_cast<T*>(args.kv.values) + position * width;
    for (std::size_t d = 0; d < args.head_dim; ++d) value[d] = code(v[d]);
    std::fill(value + args.head_dim, value + width, T{0});
  }
}

// Codes of up to kRun channels at a time, so that rounding is vector code and only bytes are
// scattered.
constexpr std::size_t kRun = 64;

// Calls store(first, codes, count) for runs of channels up to `width`, zeros behind head_dim.
template <typename Store>
void for_each_run(const float* x, std::size_t head_dim, std::size_t width, float inverse,
                  const Store& store) {
  for (std::size_t first = 0; first < width; first += kRun) {
    std::int8_t codes[kRun] = {};
    const std::size_t known = std::min(head_dim - std::min(first, head_dim), kRun);
    for (std::size_t i = 0; i < known; ++i) codes[i] = int8_code(x[first + i], inverse);
    store(first, codes, std::min(width - first, kRun));
  }
}

void store_as_int8(const KvStoreArgs& args) {
  const std::size_t width = padded_head_dim(args.head_dim);
  const std::size_t key_width = (args.head_dim + 3) / 4 * 4;
  for (std::size_t t = 0; t < args.tokens; ++t) {
    const std::size_t position = args.first_position + t;
    const std::size_t in_block = position % kAttentionBlock;
    const float* k = args.k + t * args.k_stride;
    const Int8Scale key = int8_scale(k, args.head_dim);
    args.kv.key_scales[position] = key.scale;
    auto* keys =
        static_cast<std::uint8_t*>(args.kv.keys) + (position - in_block) * key_width + in_block * 4;
    for_each_run(k, args.head_dim, key_width, key.inverse,
                 [&](std::size_t first, const std::int8_t* codes, std::size_t count) {
                   std::uint8_t* to = keys + first * kAttentionBlock;
                   for (std::size_t i = 0; i < count; i += 4, to += 4 * kAttentionBlock) {
                     std::uint32_t group;
                     std::memcpy(&group, codes + i, sizeof(group));
                     group ^= 0x80808080U;  // adds 128 to each
                     std::memcpy(to, &group, sizeof(group));
                   }
                 });
    const float* v = args.v + t * args.v_stride;
    const Int8Scale value = int8_scale(v, args.head_dim);
    args.kv.value_scales[position] = value.scale;
    auto* values =
        static_cast<std::int8_t*>(args.kv.values) + position / 4 * 4 * width + position % 4;
    for_each_run(v, args.head_dim, width, value.inverse,
                 [&](std::size_t first, const std::int8_t* codes, std::size_t count) {
                   std::int8_t* to = values + 4 * first;
                   for (std::size_t i = 0; i < count; ++i) to[4 * i] = codes[i];
                 });
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
