#include "cli/inspect_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"

namespace fptq::cli {
namespace {

constexpr std::uint64_t kMaxManifestBytes = std::uint64_t{1} << 30;

std::optional<InspectedInput> parse_input(const Json& json) {
  const auto number = [&](const char* key) { return json.contains(key) && json[key].is_number(); };
  const auto text = [&](const char* key) { return json.contains(key) && json[key].is_string(); };
  if (!number("absmax") || !number("p9999_below") || !text("policy")) return std::nullopt;
  InspectedInput input;
  input.absmax = json["absmax"].get<double>();
  input.p9999_below = json["p9999_below"].get<double>();
  input.policy = json["policy"].get<std::string>();
  if (text("activations")) input.activations = json["activations"].get<std::string>();
  if (json.contains("equalized") && json["equalized"] == true && number("equalized_absmax")) {
    input.equalized_absmax = json["equalized_absmax"].get<double>();
  }
  return input;
}

}  // namespace

Result<std::map<std::string, InspectedInput>> read_inspected_inputs(
    const std::filesystem::path& model) {
  std::map<std::string, InspectedInput> inputs;
  const std::filesystem::path file = model / "fptq_manifest.json";
  std::error_code failure;
  if (!std::filesystem::is_regular_file(file, failure)) return inputs;
  FPTQ_TRY(const std::string text, read_text_file(file, kMaxManifestBytes));
  FPTQ_TRY(const Json manifest, parse_json(text, file.string()));
  if (!manifest.is_object() || !manifest.contains("inputs") || !manifest["inputs"].is_array()) {
    return inputs;
  }
  for (const Json& json : manifest["inputs"]) {
    if (!json.is_object() || !json.contains("linears") || !json["linears"].is_array()) continue;
    const auto input = parse_input(json);
    if (!input) continue;
    for (const Json& linear : json["linears"]) {
      if (linear.is_string()) inputs.emplace(linear.get<std::string>() + ".weight", *input);
    }
  }
  return inputs;
}

Json to_json(const InspectedInput& input) {
  Json json = {{"absmax", input.absmax},
               {"p9999_below", input.p9999_below},
               {"equalized_absmax", nullptr},
               {"policy", input.policy},
               {"activations", nullptr}};
  if (input.equalized_absmax) json["equalized_absmax"] = *input.equalized_absmax;
  if (!input.activations.empty()) json["activations"] = input.activations;
  return json;
}

void print_inputs(const std::map<std::string, InspectedInput>& inputs, Console& console) {
  if (inputs.empty()) return;
  std::size_t width = 0;
  for (const auto& [tensor, input] : inputs) width = std::max(width, tensor.size());
  console.print(fmt::format("\n{:{}}  {:>10}  {:>12}  {:>12}  {:>10}  {:>10}\n",
                            "inputs over the calibration set", width, "absmax", "99.99% below",
                            "equalized to", "by policy", "became"));
  for (const auto& [tensor, input] : inputs) {
    const std::string equalized =
        input.equalized_absmax ? fmt::format("{:.4g}", *input.equalized_absmax) : "-";
    console.print(fmt::format("{:{}}  {:>10.4g}  {:>12.4g}  {:>12}  {:>10}  {:>10}\n", tensor,
                              width, input.absmax, input.p9999_below, equalized, input.policy,
                              input.activations.empty() ? "-" : input.activations));
  }
}

}  // namespace fptq::cli
