#include "cli/options.h"

#include <fmt/format.h>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"

namespace fptq::cli {
namespace {

// CLI11 takes a validator's text as what is wrong with the argument.
std::string check_size(std::string& text) {
  const Result<std::uint64_t> size_bytes = parse_size(text);
  if (!size_bytes) return size_bytes.error().message;
  text = std::to_string(*size_bytes);
  return {};
}

}  // namespace

void add_common_flags(CLI::App& command, CommonOptions& options) {
  command.add_option("-t,--threads", options.threads, "Threads to use")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1024}))
      ->envname("FPTQ_THREADS")
      ->capture_default_str();
  command.add_option("--seed", options.seed, "Seed of everything random")->capture_default_str();
  command.add_option("--isa", options.isa, "Kernels of this family only, or an error")
      ->check(CLI::IsMember({"scalar", "avx2", "avxvnni", "avx512vnni", "amx", "neon", "i8mm"}))
      ->envname("FPTQ_ISA");
  command.add_option("--ram-limit", options.ram_limit_bytes, "Fail rather than need more: 4G")
      ->transform(CLI::Validator(check_size, "SIZE"));
  command
      .add_option("--json", options.json,
                  "Write the result as JSON; - is stdout, and the text goes to stderr")
      ->type_name("FILE");
  command.add_flag("-q,--quiet", options.quiet, "Print results, warnings and errors only");
}

void add_run_flags(CLI::App& command, RunOptions& options) {
  const std::map<std::string, model::KvType> kv_types = {
      {"f32", model::KvType::kF32}, {"bf16", model::KvType::kBF16}, {"int8", model::KvType::kInt8}};
  const std::map<std::string, model::ActivationMode> activation_modes = {
      {"stored", model::ActivationMode::kAsStored}, {"a16", model::ActivationMode::kFloat}};
  command
      .add_option("--require", options.require,
                  "Fail unless every decoder linear runs this scheme: w4g32-a8t")
      ->type_name("SCHEME");
  command.add_option("--kv", options.kv, "Key-value cache: f32, bf16 or int8; a baseline has f32")
      ->transform(CLI::CheckedTransformer(kv_types).description(""))
      ->type_name("TYPE");
  command.add_option("--ctx", options.context, "Context length in tokens (default: the model's)")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 24))
      ->type_name("N");
  command
      .add_option("--activations", options.activations,
                  "stored: as the checkpoint says; a16: not quantized")
      ->transform(CLI::CheckedTransformer(activation_modes).description(""))
      ->type_name("MODE");
}

void add_lookup_flag(CLI::App& command, std::size_t& drafted_tokens) {
  command
      .add_option("--lookup", drafted_tokens,
                  "The same text in fewer passes: draft up to N tokens from what followed the last "
                  "ones earlier, e.g. 8; 0: none")
      ->check(CLI::Range(std::size_t{0}, std::size_t{64}))
      ->type_name("N")
      ->capture_default_str();
}

CLI::Option* add_model_argument(CLI::App& command, std::filesystem::path& model) {
  return command
      .add_option(
          "MODEL", model,
          "A Hugging Face directory, a .gguf or a llama2.c .bin file, or a hub name: org/name")
      ->required()
      ->type_name("");
}

Result<Isa> selected_isa(const CommonOptions& options) {
  if (options.isa.empty()) return best_isa();
  return parse_isa(options.isa);
}

Result<std::uint64_t> parse_size(std::string_view text) {
  const auto wrong = [&] {
    return Error{Error::Kind::kInvalidArgument,
                 fmt::format("expected a size like 1500, 512M or 1.5GiB, got \"{}\"", text)};
  };
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || number < 0) return wrong();
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  double factor = 1;
  if (!unit.empty()) {
    constexpr std::string_view kPrefixes = "KMGT";
    const char first = unit.front() >= 'a' && unit.front() <= 'z'
                           ? static_cast<char>(unit.front() - 'a' + 'A')
                           : unit.front();
    const std::size_t power = kPrefixes.find(first);
    if (power != std::string_view::npos) {
      factor = std::ldexp(1.0, 10 * (static_cast<int>(power) + 1));
      unit.remove_prefix(1);
      if (unit.starts_with('i')) unit.remove_prefix(1);
    }
    if (unit != "" && unit != "B" && unit != "b") return wrong();
  }
  if (!(number * factor < 0x1.0p63)) return wrong();  // NaN as well
  return static_cast<std::uint64_t>(number * factor);
}

Status write_json(const CommonOptions& options, const Json& json) {
  if (options.json.empty()) return {};
  const std::string text =
      json.dump(options.json_on_stdout() ? -1 : 1, ' ', false, Json::error_handler_t::replace) +
      "\n";
  if (!options.json_on_stdout()) return write_text_file(options.json, text);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return {};
}

std::string_view kv_name(model::KvType kv) {
  switch (kv) {
    case model::KvType::kF32:
      return "f32";
    case model::KvType::kBF16:
      return "bf16";
    case model::KvType::kInt8:
      return "int8";
  }
  return "f32";
}

}  // namespace fptq::cli
