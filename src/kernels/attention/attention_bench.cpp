// Floating-point operations per second (prefill) and bytes of keys and values per second (decode)
// of every variant on one thread, for one key-value head of width 64 with 4 query heads.

#include <benchmark/benchmark.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "kernels/attention/dispatch.h"
#include "kernels/attention/kv_layout.h"

namespace fptq::kernels {
namespace {

constexpr std::size_t kGroup = 4;
constexpr std::size_t kHeadDim = 64;

struct Buffer {
  explicit Buffer(std::size_t count)
      : size(count), bytes(static_cast<unsigned char*>(std::aligned_alloc(64, size))) {}

  struct Free {
    void operator()(unsigned char* p) const { std::free(p); }
  };
  std::size_t size;  // a multiple of 64: whole blocks of positions
  std::unique_ptr<unsigned char, Free> bytes;
};

void run_variant(benchmark::State& state, AttentionFn function, ElementType type) {
  const auto tokens = static_cast<std::size_t>(state.range(0));
  const auto first = static_cast<std::size_t>(state.range(1));
  const std::size_t length = first + tokens;
  // Aligned as a KvCache has them.
  const Buffer keys(key_bytes(type, length, kHeadDim));
  const Buffer values(value_bytes(type, length, kHeadDim));
  std::vector<float> scales(padded_capacity(length), 0.01f);
  const KvHead kv = {type, keys.bytes.get(), values.bytes.get(), scales.data(), scales.data()};
  std::vector<float> q(length * kGroup * kHeadDim);
  for (std::size_t i = 0; i < q.size(); ++i) q[i] = std::sin(static_cast<float>(i));
  store_kv({q.data(), kHeadDim, q.data(), kHeadDim, length, 0, kHeadDim, kv});
  std::vector<float> out(q.size());
  std::vector<float> scratch(attention_scratch_floats(kHeadDim));
  const std::size_t stride = kGroup * kHeadDim;
  for (auto _ : state) {
    function({q.data(), stride, out.data(), stride, tokens, kGroup, first, 0, kHeadDim, 0.125f, kv,
              scratch.data()});
    benchmark::ClobberMemory();
  }
  const auto rounds = static_cast<double>(state.iterations());
  // Every query meets first + t + 1 positions, in two products.
  const double pairs = static_cast<double>(kGroup * tokens) *
                       (static_cast<double>(first) + (static_cast<double>(tokens) + 1) / 2);
  state.counters["GFLOPS"] =
      benchmark::Counter(4e-9 * kHeadDim * pairs * rounds, benchmark::Counter::kIsRate);
  state.counters["GB/s"] = benchmark::Counter(
      1e-9 * static_cast<double>(keys.size + values.size) * rounds, benchmark::Counter::kIsRate);
}

void register_variant(const Variant<AttentionFn>& variant, ElementType type, const char* name) {
  const std::string label = "attention/" + std::string(isa_name(variant.isa)) + "/" + name;
  benchmark::RegisterBenchmark(label.c_str(), run_variant, variant.run, type)
      ->ArgNames({"tokens", "first"})
      ->Args({512, 0})
      ->Args({48, 3584})
      ->Args({1, 511})
      ->Args({1, 4095})
      ->Args({1, 65535});
}

}  // namespace
}  // namespace fptq::kernels

int main(int argc, char** argv) {
  using namespace fptq::kernels;
  for (const auto& variant : attention_variants()) {
    if (!fptq::cpu_supports(variant.isa) || variant.isa == fptq::Isa::kScalar) continue;
    register_variant(variant, ElementType::kF32, "f32");
    register_variant(variant, ElementType::kBF16, "bf16");
    register_variant(variant, ElementType::kI8, "int8");
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
