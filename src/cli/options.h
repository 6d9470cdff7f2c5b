// Flags that mean the same in every command.

#pragma once

#include <CLI/App.hpp>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/cpu.h"
#include "base/json.h"
#include "base/result.h"
#include "model/kv_cache.h"
#include "model/llama_model.h"

namespace fptq::cli {

// --json, --quiet, --threads, --seed, --isa, --ram-limit: every command takes them.
struct CommonOptions {
  std::string json;  // a path, "-" for stdout, or empty
  bool quiet = false;
  std::size_t threads = available_cpus();
  std::uint64_t seed = 0;
  std::string isa;  // empty: the best that the CPU has
  std::uint64_t ram_limit_bytes = 0;

  [[nodiscard]] bool json_on_stdout() const { return json == "-"; }
};

// --require, --kv, --ctx, --activations: commands that run a model take them.
struct RunOptions {
  std::string require;  // a scheme's short name, or empty
  model::KvType kv = model::KvType::kF32;
  std::size_t context = 0;  // tokens; 0: the model's own
  model::ActivationMode activations = model::ActivationMode::kAsStored;
};

void add_common_flags(CLI::App& command, CommonOptions& options);
void add_run_flags(CLI::App& command, RunOptions& options);
// How --kv names a cache: "f32", "bf16", "int8".
[[nodiscard]] std::string_view kv_name(model::KvType kv);
// --lookup: commands that generate take it.
void add_lookup_flag(CLI::App& command, std::size_t& drafted_tokens);

// The positional argument MODEL, required.
CLI::Option* add_model_argument(CLI::App& command, std::filesystem::path& model);

// What --isa names, or the best that this CPU has. Errors: parse_isa()'s.
[[nodiscard]] Result<Isa> selected_isa(const CommonOptions& options);

// "1500", "512M", "1.5GiB" -> bytes; K, M, G, T are powers of 1024 whatever follows.
// Errors: kInvalidArgument.
[[nodiscard]] Result<std::uint64_t> parse_size(std::string_view text);

// Writes --json's file, or stdout's line, if it was asked for.
[[nodiscard]] Status write_json(const CommonOptions& options, const Json& json);

}  // namespace fptq::cli
