// Floating-point operations per second (prefill) and bytes of weights per second (decode) of every
// variant on one thread. Weights are far larger than the caches where one token reads them.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/aligned_memory.h"
#include "kernels/nf4a16_gemm/dispatch.h"
#include "numeric/code_table.h"

namespace fptq::kernels {
namespace {

// Aligned, as the engine allocates activations.
using Floats = std::vector<float, HugePageAllocator<float>>;

void run_variant(benchmark::State& state, Nf4a16GemmFn function) {
  const auto m = static_cast<std::size_t>(state.range(0));
  const auto n = static_cast<std::size_t>(state.range(1));
  const auto k = static_cast<std::size_t>(state.range(2));
  const Floats x(m * k, 0.5f);
  const std::vector<std::uint8_t> codes(n * k / 2, 0x3C);
  const std::vector<float> absmax((n * k + 63) / 64, 0.01f);
  Floats y(m * n);
  Floats scratch(kNf4a16GemmScratchFloats);
  for (auto _ : state) {
    function({.x = x.data(),
              .x_stride = k,
              .codes = codes.data(),
              .absmax = absmax.data(),
              .table = code_table(CodeType::kNf4).data(),
              .block_size = 64,
              .row_begin = 0,
              .y = y.data(),
              .y_stride = n,
              .m = m,
              .n = n,
              .k = k,
              .scratch = scratch.data()});
    benchmark::ClobberMemory();
  }
  const auto rounds = static_cast<double>(state.iterations());
  const auto bytes = static_cast<double>(codes.size() + absmax.size() * sizeof(float));
  state.counters["GFLOPS"] = benchmark::Counter(2e-9 * static_cast<double>(m * n * k) * rounds,
                                                benchmark::Counter::kIsRate);
  state.counters["GB/s"] = benchmark::Counter(1e-9 * bytes * rounds, benchmark::Counter::kIsRate);
}

void register_variant(const Variant<Nf4a16GemmFn>& variant) {
  const std::string label = "nf4a16_gemm/" + std::string(isa_name(variant.isa));
  benchmark::RegisterBenchmark(label.c_str(), run_variant, variant.run)
      ->ArgNames({"M", "N", "K"})
      ->Args({512, 2048, 2048})  // Llama-3.2-1B: q_proj
      ->Args({128, 2048, 8192})  // its down_proj
      ->Args({512, 288, 288})    // stories15M: rows that blocks straddle
      ->Args({4, 2048, 2048})    // a batch of four
      ->Args({5, 2048, 2048})    // the fewest that take a panel
      ->Args({1, 65536, 288})    // decode where blocks straddle rows
      ->Args({1, 32768, 4096});  // decode: 128 Mi weights
}

}  // namespace
}  // namespace fptq::kernels

int main(int argc, char** argv) {
  using namespace fptq::kernels;
  for (const auto& variant : nf4a16_gemm_variants()) {
    if (!fptq::cpu_supports(variant.isa) || variant.isa == fptq::Isa::kScalar) continue;
    register_variant(variant);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
