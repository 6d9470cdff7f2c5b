// Speed of integer linears on the shapes of real models, beside the limits of the machine.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/aligned_memory.h"
#include "base/cpu.h"
#include "base/rng.h"
#include "ops/linear.h"

namespace fptq::ops {
namespace {

struct Layer {
  const char* name;
  std::size_t rows, cols;
  int num_bits;
  std::size_t group_width;  // 0: per channel
};

constexpr Layer kLayers[] = {
    {"smollm2-135m/q_proj", 576, 576, 4, 32},      {"smollm2-135m/k_proj", 192, 576, 4, 32},
    {"smollm2-135m/gate_proj", 1536, 576, 4, 32},  {"smollm2-135m/down_proj", 576, 1536, 4, 32},
    {"smollm2-135m/lm_head", 49152, 576, 8, 0},    {"llama-3.2-1b/q_proj", 2048, 2048, 4, 32},
    {"llama-3.2-1b/k_proj", 512, 2048, 4, 32},     {"llama-3.2-1b/gate_proj", 8192, 2048, 4, 32},
    {"llama-3.2-1b/down_proj", 2048, 8192, 4, 32}, {"llama-3.2-1b/gate_proj", 8192, 2048, 4, 128},
    {"llama-3.2-1b/gate_proj", 8192, 2048, 4, 0},  {"llama-3.2-1b/gate_proj", 8192, 2048, 8, 0},
    {"llama-3.2-1b/down_proj", 2048, 8192, 4, 0},  {"llama-3.2-1b/lm_head", 128256, 2048, 8, 0},
};

PackedMatrix random_matrix(const Layer& layer, ThreadPool& pool) {
  const bool grouped = layer.group_width != 0;
  const PackedMatrixSpec spec{
      layer.rows, layer.cols,
      int_weights(layer.num_bits, grouped ? Strategy::kGroup : Strategy::kChannel,
                  layer.group_width, /*symmetric=*/!grouped),
      DType::kF16};
  auto matrix = PackedMatrix::pack(
      spec,
      [&](std::size_t row, const PackedMatrixRow& out) -> Status {
        Rng rng(row);
        const std::uint64_t bits = rng.bits();
        for (std::size_t k = 0; k < out.codes.size(); ++k) {
          out.codes[k] = static_cast<std::int8_t>(static_cast<int>((bits >> k % 60) & 15) - 8);
        }
        for (float& scale : out.scales) scale = 0x1.0p-7f;
        for (std::int8_t& zero : out.zero_points) zero = 1;
        return {};
      },
      pool);
  if (!matrix) std::abort();
  return *std::move(matrix);
}

// One pass over enough copies of the layer to exceed every cache, as decoding a model does;
// a single one for many tokens.
void run_layer(benchmark::State& state, const Layer& layer, Isa isa) {
  const auto tokens = static_cast<std::size_t>(state.range(0));
  ThreadPool pool(static_cast<std::size_t>(state.range(1)));
  std::vector<Linear> linears;
  std::uint64_t bytes = 0;
  do {
    auto linear = Linear::quantized(random_matrix(layer, pool), a8_dynamic_per_token(),
                                    std::nullopt, std::nullopt, isa);
    if (!linear) std::abort();
    bytes += linear->bytes();
    linears.push_back(*std::move(linear));
  } while (tokens <= 8 && bytes < uncached_buffer_bytes());
  std::vector<float> x(tokens * layer.cols);
  Rng rng(1);
  for (float& value : x) value = static_cast<float>(rng.normal());
  // As a model's are: on a cache line, in huge pages where there are some.
  const std::shared_ptr<std::byte> memory = allocate_zeroed(tokens * layer.rows * sizeof(float));
  if (memory == nullptr) std::abort();
  auto* y = reinterpret_cast<float*>(memory.get());
  LinearInput input(x.data(), tokens, layer.cols);
  for (auto _ : state) {
    for (Linear& linear : linears) linear.forward(input, y, pool);
    benchmark::ClobberMemory();
  }
  const double products = static_cast<double>(linears.size()) * 2.0 *
                          static_cast<double>(tokens * layer.rows) *
                          static_cast<double>(layer.cols);
  state.counters["ops/s"] =
      benchmark::Counter(products, benchmark::Counter::kIsIterationInvariantRate);
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
}

// Bytes a second of a plain read of memory.
void read_memory(benchmark::State& state) {
  ThreadPool pool(static_cast<std::size_t>(state.range(0)));
  const std::size_t bytes = uncached_buffer_bytes();
  const std::size_t count = bytes / sizeof(std::uint64_t);
  const std::shared_ptr<std::byte> buffer = allocate_zeroed(bytes);
  if (buffer == nullptr) std::abort();
  auto* words = reinterpret_cast<std::uint64_t*>(buffer.get());
  std::fill_n(words, count, 1);
  for (auto _ : state) {
    pool.parallel_for(count, count / 64, [&](std::size_t begin, std::size_t end) {
      std::uint64_t sums[8] = {};
      for (std::size_t i = begin; i < end; i += 8) {
        for (std::size_t lane = 0; lane < 8; ++lane) sums[lane] += words[i + lane];
      }
      benchmark::DoNotOptimize(sums);
    });
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes));
}
BENCHMARK(read_memory)->Name("dram_read")->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime();

}  // namespace
}  // namespace fptq::ops

int main(int argc, char** argv) {
  using namespace fptq;
  for (const Isa isa : {Isa::kAmx, Isa::kAvx512Vnni, Isa::kAvxVnni, Isa::kAvx2, Isa::kNeon}) {
    if (!cpu_supports(isa)) continue;
    for (const ops::Layer& layer : ops::kLayers) {
      const std::string scheme =
          "w" + std::to_string(layer.num_bits) +
          (layer.group_width == 0 ? "c" : "g" + std::to_string(layer.group_width));
      benchmark::RegisterBenchmark(
          (std::string(isa_name(isa)) + "/" + layer.name + "/" + scheme).c_str(),
          [&layer, isa](benchmark::State& state) { ops::run_layer(state, layer, isa); })
          ->ArgNames({"tokens", "threads"})
          ->ArgsProduct({{1, 4, 8, 512}, {1, 2}})
          ->UseRealTime();
    }
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
