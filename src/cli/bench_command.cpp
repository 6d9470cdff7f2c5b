// fptq bench: speed beside the machine's limits.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/bench.h"
#include "bench/random_checkpoint.h"
#include "cli/commands.h"
#include "cli/model_input.h"
#include "cli/options.h"
#include "model/llama_config.h"
#include "ops/hadamard.h"
#include "quantize/down_rotated_checkpoint.h"

namespace fptq::cli {
namespace {

struct BenchCommandOptions {
  CommonOptions common;
  RunOptions run;
  bench::BenchOptions bench;
  std::filesystem::path model;
  std::string shape;
  std::string weights = "w4g32";
  std::string rotate_down = "none";
};

// The config.json with rotated inputs of every down_proj.
Result<Json> with_rotated_inputs(Json config) {
  FPTQ_TRY(const model::LlamaConfig sizes, model::parse_llama_config(config, "bench: --shape"));
  std::vector<std::size_t> layers(sizes.num_layers);
  std::iota(layers.begin(), layers.end(), std::size_t{0});
  const std::size_t block = ops::widest_hadamard_block(sizes.intermediate_size);
  config["quantization_config"] =
      quantize::transforms_only(quantize::down_rotation_config(block, layers, layers.size()));
  return config;
}

Result<LoadedModel> load_benched(const BenchCommandOptions& options, Console& console) {
  if (options.shape.empty()) {
    return load_model(options.model, options.common, options.run, console);
  }
  FPTQ_TRY(Json config, bench::shape_config(options.shape));
  if (options.rotate_down != "none") {
    FPTQ_TRY(config, with_rotated_inputs(std::move(config)));
  }
  FPTQ_TRY(const Scheme weights, parse_scheme(options.weights));
  FPTQ_TRY(auto checkpoint, bench::random_checkpoint(config, weights, options.common.seed));
  return load_model(std::move(checkpoint), options.common, options.run, console);
}

// Layers that ran alike share a line, "model.layers.*.mlp.up_proj (16 layers)"; --json has each.
struct ReceiptLine {
  model::ReceiptEntry entry;
  std::size_t layers = 0;
};

std::string without_layer_number(const std::string& layer) {
  static constexpr std::string_view kPrefix = "model.layers.";
  if (!layer.starts_with(kPrefix)) return layer;
  return std::string(kPrefix) + "*" +
         layer.substr(std::min(layer.find('.', kPrefix.size()), layer.size()));
}

void print_receipt(std::span<const model::ReceiptEntry> receipt, Console& console) {
  std::vector<ReceiptLine> lines;
  for (const model::ReceiptEntry& entry : receipt) {
    const std::string layer = without_layer_number(entry.layer);
    const auto same = std::find_if(lines.begin(), lines.end(), [&](const ReceiptLine& line) {
      return line.entry.layer == layer && line.entry.scheme == entry.scheme &&
             line.entry.kernel == entry.kernel && line.entry.isa == entry.isa;
    });
    if (same != lines.end()) {
      ++same->layers;
      same->entry.calls += entry.calls;
      continue;
    }
    lines.push_back({entry, 1});
    lines.back().entry.layer = layer;
  }
  for (const ReceiptLine& line : lines) {
    const std::string name = line.layers == 1
                                 ? line.entry.layer
                                 : fmt::format("{} ({} layers)", line.entry.layer, line.layers);
    console.print(fmt::format("{:46} {:12} {:18} {:12} {} calls\n", name, line.entry.scheme,
                              line.entry.kernel, line.entry.isa, line.entry.calls));
  }
}

void print_profile(const std::vector<model::Profile::Entry>& profile, Console& console) {
  double total = 0.0;
  for (const model::Profile::Entry& entry : profile) total += entry.seconds;
  for (const model::Profile::Entry& entry : profile) {
    console.print(fmt::format("  {:17} {:5.1f} %  {:10.1f} us in each of {} calls\n",
                              entry.operation, 100 * entry.seconds / total,
                              1e6 * entry.seconds / static_cast<double>(entry.calls), entry.calls));
  }
}

void print_result(const bench::BenchResult& result, Console& console) {
  console.print(fmt::format(
      "{}, {}, {} threads: DRAM read {:.1f} GB/s, int8 {:.0f} GOPS, float32 {:.0f} GFLOPS\n",
      result.cpu, isa_name(result.isa), result.threads, result.limits.dram_read_gb_s,
      result.limits.int8_gops, result.limits.f32_gflops));
  for (const bench::PrefillSpeed& speed : result.prefill) {
    console.print(fmt::format(
        "prefill {:>5} tokens         {:9.1f} tokens/s ({:.1f} to {:.1f})"
        "  {:8.1f} GOPS",
        speed.tokens, speed.tok_s.median, speed.tok_s.min, speed.tok_s.max, speed.gops));
    console.print(speed.fraction_of_int8_peak ? fmt::format("  {:.0f} % of the int8 limit\n",
                                                            100 * *speed.fraction_of_int8_peak)
                                              : "\n");
    print_profile(speed.profile, console);
  }
  for (const bench::DecodeSpeed& speed : result.decode) {
    console.print(
        fmt::format("decode depth {:>5} batch {:>2}  {:9.1f} tokens/s ({:.1f} to {:.1f})"
                    "  {:8.1f} GB/s  {:.0f} % of the DRAM limit\n",
                    speed.depth, speed.batch, speed.tok_s.median, speed.tok_s.min, speed.tok_s.max,
                    speed.gb_s, 100 * speed.fraction_of_dram));
    print_profile(speed.profile, console);
  }
  print_receipt(result.receipt, console);
}

Status run_bench_command(const BenchCommandOptions& options) {
  Console console(options.common.quiet, options.common.json_on_stdout());
  if (options.model.empty() == options.shape.empty()) {
    return Error{Error::Kind::kInvalidArgument, "bench: expected either MODEL or --shape"};
  }
  FPTQ_TRY(const LoadedModel loaded, load_benched(options, console));
  bench::BenchOptions how = options.bench;
  how.kv = options.run.kv;
  how.seed = options.common.seed;
  std::erase(how.prompt_tokens, 0U);  // -p 0: no prefill
  FPTQ_TRY(const Isa isa, selected_isa(options.common));
  FPTQ_TRY(const bench::BenchResult result,
           bench::run_bench(*loaded.model, *loaded.pool, isa, how, console.progress()));
  for (const std::string& warning : result.warnings) console.warn(warning);
  print_result(result, console);
  return write_json(options.common, bench::to_json(result));
}

}  // namespace

void add_bench_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<BenchCommandOptions>();
  CLI::App* command =
      app.add_subcommand("bench", "Measure speed beside the machine's measured limits");
  add_model_argument(*command, options->model)->required(false);
  command
      ->add_option("-p,--prompt-tokens", options->bench.prompt_tokens,
                   "Lengths of prompts to prefill: 128,512")
      ->delimiter(',')
      ->type_name("N")
      ->capture_default_str();
  command->add_option("-n,--decode-tokens", options->bench.decode_tokens, "Tokens to decode")
      ->type_name("N")
      ->capture_default_str();
  command->add_option("-d,--depth", options->bench.depths, "Positions in the cache before that")
      ->delimiter(',')
      ->type_name("N")
      ->capture_default_str();
  command->add_option("-b,--batch", options->bench.batches, "Sequences that decode together")
      ->delimiter(',')
      ->type_name("N")
      ->capture_default_str();
  command->add_option("-r,--repeats", options->bench.repeats, "Timed runs of each")
      ->type_name("N")
      ->capture_default_str();
  command
      ->add_option("--shape", options->shape,
                   "Instead of MODEL, random weights: llama-3.2-1b, llama-3.1-8b or a config.json")
      ->type_name("NAME|FILE");
  command->add_option("--weights", options->weights, "Scheme of the random weights")
      ->type_name("SCHEME")
      ->capture_default_str();
  command
      ->add_option("--rotate-down", options->rotate_down,
                   "With --shape, of down_proj's inputs: none or hadamard")
      ->check(CLI::IsMember({"none", "hadamard"}))
      ->needs("--shape")
      ->type_name("METHOD");
  command->add_flag("--profile", options->bench.profile, "Say where the time goes");
  add_common_flags(*command, options->common);
  add_run_flags(*command, options->run);
  command->callback(
      [options, &action] { action = [options] { return run_bench_command(*options); }; });
}

}  // namespace fptq::cli
