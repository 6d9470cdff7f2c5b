#include "numeric/scheme.h"

#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "numeric/code_table.h"

namespace fptq {
namespace {

constexpr std::array<std::pair<Strategy, std::string_view>, 5> kStrategyNames = {{
    {Strategy::kTensor, "tensor"},
    {Strategy::kChannel, "channel"},
    {Strategy::kGroup, "group"},
    {Strategy::kToken, "token"},
    {Strategy::kBlock, "block"},
}};

// Larger groups than any published model's widest input make no sense and invite overflow.
constexpr std::size_t kMaxGroupSize = 1U << 20;

// Whether a name of the weights that says nothing of symmetry means symmetric ones.
bool symmetric_by_default(int num_bits, Strategy strategy) {
  return num_bits != 4 || strategy != Strategy::kGroup;
}

std::string weights_name(const QuantArgs& args) {
  const bool is_table = args.type != CodeType::kInt;
  if (is_table || args.symmetric == symmetric_by_default(args.num_bits, args.strategy)) {
    return layout_name(args);
  }
  return layout_name(args) + (args.symmetric ? "-sym" : "-asym");
}

std::string activations_name(const QuantArgs& args) {
  return "a" + std::to_string(args.num_bits) + (args.dynamic ? "t" : "s") +
         (args.symmetric ? "" : "-asym");
}

std::string_view symmetry_name(const QuantArgs& args) {
  return args.symmetric ? "symmetric" : "asymmetric";
}

Error not_understood(std::string_view text, std::string_view part) {
  return Error{Error::Kind::kInvalidArgument,
               "scheme \"" + std::string(text) + "\": \"" + std::string(part) +
                   "\" is not understood; expected w4g32, w4g64, w4g128, w4c or w8c, then "
                   "optionally -sym or -asym, then -a8t or -a16; nf4, fp4, nf4b64 or nf4b64-dq; or "
                   "bf16, f16, f32, keep"};
}

// "g32" -> 32. Nothing where it is not a letter and a number from 1 to kMaxGroupSize.
std::optional<std::size_t> read_size(std::string_view digits) {
  std::size_t value = 0;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (failure != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  if (value < 1 || value > kMaxGroupSize) return std::nullopt;
  return value;
}

std::optional<QuantArgs> read_weights(std::string_view part) {
  for (const CodeType type : {CodeType::kNf4, CodeType::kFp4}) {
    if (!part.starts_with(code_type_name(type))) continue;
    part.remove_prefix(code_type_name(type).size());
    if (part.empty()) return table_weights(type, 64, /*double_quantized=*/true);
    if (part[0] != 'b') return std::nullopt;
    const auto block = read_size(part.substr(1));
    if (!block || !is_table_block_size(*block)) return std::nullopt;
    return table_weights(type, *block, /*double_quantized=*/false);
  }
  if (part.size() < 3 || part[0] != 'w' || (part[1] != '4' && part[1] != '8')) return std::nullopt;
  const int num_bits = part[1] - '0';
  if (part.substr(2) == "c") return int_weights(num_bits, Strategy::kChannel, 0, true);
  if (part[2] != 'g') return std::nullopt;
  const auto group_size = read_size(part.substr(3));
  if (!group_size) return std::nullopt;
  return int_weights(num_bits, Strategy::kGroup, *group_size,
                     symmetric_by_default(num_bits, Strategy::kGroup));
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

std::string_view strategy_name(Strategy strategy) {
  for (const auto& [value, name] : kStrategyNames) {
    if (value == strategy) return name;
  }
  return "unknown";
}

QuantArgs int_weights(int num_bits, Strategy strategy, std::size_t group_size, bool symmetric) {
  return QuantArgs{num_bits, CodeType::kInt, symmetric, strategy, group_size, false, false};
}

QuantArgs a8_dynamic_per_token(bool symmetric) {
  return QuantArgs{8, CodeType::kInt, symmetric, Strategy::kToken, 0, true, false};
}

QuantArgs a8_static_per_tensor(bool symmetric) {
  return QuantArgs{8, CodeType::kInt, symmetric, Strategy::kTensor, 0, false, false};
}

std::string layout_name(const QuantArgs& weights) {
  if (weights.type != CodeType::kInt) {
    return std::string(code_type_name(weights.type)) + "b" + std::to_string(weights.group_size) +
           (weights.double_quantized ? "-dq" : "");
  }
  const std::string bits = "w" + std::to_string(weights.num_bits);
  switch (weights.strategy) {
    case Strategy::kGroup:
      return bits + "g" + std::to_string(weights.group_size);
    case Strategy::kBlock:
      return bits + "b" + std::to_string(weights.group_size);
    case Strategy::kTensor:
      return bits + "t";
    case Strategy::kChannel:
    case Strategy::kToken:
      break;
  }
  return bits + "c";
}

std::string scheme_name(const Scheme& scheme) {
  if (!scheme.weights) return scheme.activations ? activations_name(*scheme.activations) : "float";
  std::string name = weights_name(*scheme.weights);
  if (scheme.activations) name += "-" + activations_name(*scheme.activations);
  return name;
}

std::string describe_scheme(const Scheme& scheme) {
  std::string text = scheme_name(scheme);
  if (!scheme.weights || has_table_weights(scheme)) return text;
  text += " (weights " + std::string(symmetry_name(*scheme.weights));
  if (scheme.activations) {
    text += ", activations " + std::string(symmetry_name(*scheme.activations));
  }
  return text + ")";
}

Result<Scheme> parse_scheme(std::string_view text) {
  if (text == "bf16" || text == "f16" || text == "f32" || text == "keep") return Scheme{};
  const std::vector<std::string_view> parts = split(text, '-');
  Scheme scheme;
  scheme.weights = read_weights(parts[0]);
  if (!scheme.weights) return not_understood(text, parts[0]);
  bool symmetry_given = false;  // of the operand named last
  bool activations_given = false;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const std::string_view part = parts[i];
    const bool is_table = has_table_weights(scheme);
    const bool has_symmetry = activations_given ? scheme.activations.has_value() : !is_table;
    if ((part == "sym" || part == "asym") && !symmetry_given && has_symmetry) {
      (activations_given ? scheme.activations : scheme.weights)->symmetric = part == "sym";
      symmetry_given = true;
    } else if (part == "dq" && is_table && !scheme.weights->double_quantized) {
      scheme.weights->double_quantized = true;
    } else if ((part == "a8t" || part == "a8s" || part == "a16") && !activations_given) {
      if (part == "a8t") scheme.activations = a8_dynamic_per_token();
      if (part == "a8s") scheme.activations = a8_static_per_tensor();
      activations_given = true;
      symmetry_given = false;
    } else {
      return not_understood(text, part);
    }
  }
  return scheme;
}

}  // namespace fptq
