#include "cli/manifest_figures.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "cli/inspect_inputs.h"
#include "quantize/manifest.h"

namespace fptq::cli {
namespace {

constexpr std::uint64_t kMaxManifestBytes = std::uint64_t{1} << 30;

struct LinearName {
  std::size_t block;
  std::string kind;
};

// "model.layers.3.mlp.up_proj.weight" -> 3, "mlp.up_proj"; nothing for any other tensor.
std::optional<LinearName> linear_name(std::string_view tensor) {
  constexpr std::string_view kPrefix = "model.layers.";
  constexpr std::string_view kSuffix = "_proj.weight";
  if (!tensor.starts_with(kPrefix) || !tensor.ends_with(kSuffix)) return std::nullopt;
  tensor.remove_prefix(kPrefix.size());
  LinearName name{};
  const auto [end, failure] =
      std::from_chars(tensor.data(), tensor.data() + tensor.size(), name.block);
  if (failure != std::errc() || *end != '.') return std::nullopt;
  tensor.remove_prefix(static_cast<std::size_t>(end - tensor.data()) + 1);
  tensor.remove_suffix(std::string_view(".weight").size());
  name.kind = tensor;
  return name;
}

std::optional<report::WeightErrorFigure> weight_error(const Json& tensor) {
  const auto has = [&](const char* key) { return tensor.is_object() && tensor.contains(key); };
  if (!has("source") || !tensor["source"].is_string()) return std::nullopt;
  if (!has("relative_squared_error") || !tensor["relative_squared_error"].is_number()) {
    return std::nullopt;
  }
  auto name = linear_name(tensor["source"].get_ref<const std::string&>());
  const auto squared = tensor["relative_squared_error"].get<double>();
  if (!name || squared < 0.0) return std::nullopt;
  report::WeightErrorFigure figure;
  figure.block = name->block;
  figure.kind = std::move(name->kind);
  figure.relative_error = std::sqrt(squared);
  if (has("scheme") && tensor["scheme"].is_string()) {
    figure.scheme = tensor["scheme"].get<std::string>();
  }
  return figure;
}

}  // namespace

Status add_manifest_figures(const std::filesystem::path& model, report::ModelFigures& figures) {
  const std::filesystem::path file = model / quantize::kManifestFile;
  std::error_code failure;
  if (!std::filesystem::is_regular_file(file, failure)) return {};
  FPTQ_TRY(const std::string text, read_text_file(file, kMaxManifestBytes));
  FPTQ_TRY(const Json manifest, parse_json(text, file.string()));
  if (manifest.is_object() && manifest.contains("tensors") && manifest["tensors"].is_array()) {
    for (const Json& tensor : manifest["tensors"]) {
      if (auto figure = weight_error(tensor)) figures.weight_errors.push_back(std::move(*figure));
    }
  }
  FPTQ_TRY(const auto inputs, read_inspected_inputs(model));
  for (const auto& [tensor, input] : inputs) {
    auto name = linear_name(tensor);
    if (!name) continue;
    figures.activations.push_back({name->block, std::move(name->kind), input.absmax,
                                   input.p9999_below, input.equalized_absmax, input.activations});
  }
  return {};
}

}  // namespace fptq::cli
