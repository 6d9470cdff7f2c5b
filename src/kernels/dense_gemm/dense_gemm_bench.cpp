// Floating-point operations per second (prefill) and bytes of weights per second (decode) of every
// variant on one thread. Weights are far larger than the caches where one token reads them.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "kernels/dense_gemm/dispatch.h"

namespace fptq::kernels {
namespace {

// Zero-filled and aligned to cache lines, as the engine allocates activations.
struct Free {
  void operator()(float* p) const { std::free(p); }
};
std::unique_ptr<float[], Free> aligned_floats(std::size_t count) {
  const std::size_t bytes = (count * sizeof(float) + 63) / 64 * 64;
  auto* p = static_cast<float*>(std::aligned_alloc(64, bytes));
  std::fill_n(p, count, 0.5f);
  return std::unique_ptr<float[], Free>(p);
}

void run_variant(benchmark::State& state, DenseGemmFn function, ElementType type) {
  const auto m = static_cast<std::size_t>(state.range(0));
  const auto n = static_cast<std::size_t>(state.range(1));
  const auto k = static_cast<std::size_t>(state.range(2));
  const auto x = aligned_floats(m * k);
  const std::size_t width = type == ElementType::kF32 ? 4 : 2;
  const std::vector<unsigned char> w(n * k * width, 0x3C);
  const auto y = aligned_floats(m * n);
  const auto scratch = aligned_floats(kDenseGemmScratchFloats);
  for (auto _ : state) {
    function({x.get(), k, w.data(), k, type, y.get(), n, m, n, k, scratch.get()});
    benchmark::ClobberMemory();
  }
  const auto rounds = static_cast<double>(state.iterations());
  state.counters["GFLOPS"] = benchmark::Counter(2e-9 * static_cast<double>(m * n * k) * rounds,
                                                benchmark::Counter::kIsRate);
  state.counters["GB/s"] = benchmark::Counter(1e-9 * static_cast<double>(w.size()) * rounds,
                                              benchmark::Counter::kIsRate);
}

void register_variant(const Variant<DenseGemmFn>& variant, ElementType type, const char* name) {
  const std::string label = "dense_gemm/" + std::string(isa_name(variant.isa)) + "/" + name;
  benchmark::RegisterBenchmark(label.c_str(), run_variant, variant.run, type)
      ->ArgNames({"M", "N", "K"})
      ->Args({512, 576, 576})    // SmolLM2-135M: q_proj
      ->Args({512, 576, 1536})   // its down_proj
      ->Args({512, 2048, 2048})  // Llama-3.2-1B: q_proj
      ->Args({128, 2048, 8192})  // its down_proj
      ->Args({4, 2048, 2048})    // a batch of four
      ->Args({1, 49152, 576})    // decode: SmolLM2-135M's classifier
      ->Args({1, 16384, 4096});  // decode: 64 Mi weights
}

}  // namespace
}  // namespace fptq::kernels

int main(int argc, char** argv) {
  using namespace fptq::kernels;
  for (const auto& variant : dense_gemm_variants()) {
    if (!fptq::cpu_supports(variant.isa) || variant.isa == fptq::Isa::kScalar) continue;
    register_variant(variant, ElementType::kBF16, "bf16");
    register_variant(variant, ElementType::kF32, "f32");
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
