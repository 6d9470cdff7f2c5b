#include "quantize/layer_pattern.h"

#include <algorithm>
#include <regex>
#include <string>

namespace fptq::quantize {
namespace {

// The time and the stack that a search takes grow with both.
constexpr std::size_t kMaxPatternBytes = 256;
constexpr std::size_t kMaxNameBytes = 512;
// libstdc++ reads repetition counts into a long without looking for overflow.
constexpr std::size_t kMaxDigits = 4;

// libstdc++ searches by backtracking unless told otherwise, and a pattern such as (a+)+b then
// takes time exponential in the name's length.
#ifdef __GLIBCXX__
constexpr std::regex::flag_type kSyntax =
    std::regex::ECMAScript | std::regex_constants::__polynomial;
#else
constexpr std::regex::flag_type kSyntax = std::regex::ECMAScript;
#endif

// Digits of the longest number in the pattern.
std::size_t longest_number(std::string_view pattern) {
  std::size_t longest = 0;
  std::size_t digits = 0;
  for (const char c : pattern) {
    digits = c >= '0' && c <= '9' ? digits + 1 : 0;
    longest = std::max(longest, digits);
  }
  return longest;
}

}  // namespace

struct LayerPattern::Impl {
  std::regex regex;
};

LayerPattern::LayerPattern(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LayerPattern::LayerPattern(LayerPattern&&) noexcept = default;
LayerPattern& LayerPattern::operator=(LayerPattern&&) noexcept = default;
LayerPattern::~LayerPattern() = default;

Result<LayerPattern> LayerPattern::compile(std::string_view pattern) {
  const auto printable = [](char c) { return c >= 0x20 && c < 0x7f; };
  if (pattern.empty() || !std::all_of(pattern.begin(), pattern.end(), printable)) {
    return Error{Error::Kind::kInvalidArgument,
                 "pattern: expected a regular expression in printable ASCII, as layer names are"};
  }
  const std::string where = "pattern \"" + std::string(pattern.substr(0, 80)) + "\"";
  if (pattern.size() > kMaxPatternBytes) {
    return Error{Error::Kind::kInvalidArgument,
                 where + ": expected at most " + std::to_string(kMaxPatternBytes) + " bytes, got " +
                     std::to_string(pattern.size())};
  }
  if (longest_number(pattern) > kMaxDigits) {
    return Error{Error::Kind::kInvalidArgument,
                 where + ": expected numbers of at most " + std::to_string(kMaxDigits) + " digits"};
  }
  try {
    return LayerPattern(
        std::make_unique<Impl>(Impl{std::regex(pattern.begin(), pattern.end(), kSyntax)}));
  } catch (const std::regex_error& failure) {
    return Error{Error::Kind::kInvalidArgument,
                 where + ": expected an ECMAScript regular expression without back references: " +
                     failure.what()};
  }
}

bool LayerPattern::found_in(std::string_view name) const {
  if (name.size() > kMaxNameBytes) return false;
  return std::regex_search(name.begin(), name.end(), impl_->regex);
}

}  // namespace fptq::quantize
