#include "model/module_pattern.h"

#include <cctype>
#include <cstddef>
#include <regex>

namespace fptq::model {
namespace {

constexpr std::string_view kRegexPrefix = "re:";
constexpr std::size_t kLongestPattern = 512;
constexpr std::size_t kMostRepeats = 64;

// libstdc++ can match by simulating all states at once instead of backtracking, which takes
// exponential time for patterns like (a*)*b; it then refuses back-references.
std::regex compile(std::string_view expression) {
  std::regex::flag_type flags = std::regex::ECMAScript | std::regex::nosubs;
#ifdef __GLIBCXX__
  flags |= std::regex_constants::__polynomial;
#endif
  return std::regex(expression.begin(), expression.end(), flags);
}

// {n} copies what it repeats, so that nested ones multiply.
bool repeats_too_often(std::string_view expression) {
  std::size_t copies = 1;
  for (std::size_t i = 0; i < expression.size(); ++i) {
    if (expression[i] != '{') continue;
    std::size_t largest = 0;
    std::size_t count = 0;
    for (++i; i < expression.size() && expression[i] != '}'; ++i) {
      const auto character = static_cast<unsigned char>(expression[i]);
      count = std::isdigit(character) ? count * 10 + (character - '0') : 0;
      largest = count > largest ? count : largest;
      if (largest > kMostRepeats) return true;
    }
    copies *= largest > 0 ? largest : 1;
    if (copies > kMostRepeats) return true;
  }
  return false;
}

// "\1" and the like: the standard library overflows on long numbers before it refuses them.
bool refers_back(std::string_view expression) {
  for (std::size_t i = 0; i + 1 < expression.size(); ++i) {
    if (expression[i] != '\\') continue;
    ++i;
    if (std::isdigit(static_cast<unsigned char>(expression[i])) != 0) return true;
  }
  return false;
}

}  // namespace

bool is_regex_pattern(std::string_view pattern) {
  return pattern.substr(0, kRegexPrefix.size()) == kRegexPrefix;
}

Status check_module_pattern(const std::string& pattern, const std::string& where) {
  if (!is_regex_pattern(pattern)) return {};
  const std::string_view expression = std::string_view(pattern).substr(kRegexPrefix.size());
  const auto refuse = [&](const std::string& why) {
    return Error{Error::Kind::kUnsupported, where + ": expected a regular expression " + why +
                                                ", got \"" + std::string(expression.substr(0, 60)) +
                                                (expression.size() > 60 ? "...\"" : "\"")};
  };
  if (expression.size() > kLongestPattern) return refuse("of at most 512 characters");
  if (repeats_too_often(expression)) return refuse("with at most 64 repetitions");
  if (refers_back(expression)) return refuse("without back-references");
  try {
    (void)compile(expression);
  } catch (const std::regex_error& error) {
    return refuse(std::string("that compiles (") + error.what() + ")");
  }
  return {};
}

bool regex_matches(const std::string& pattern, std::string_view name) {
  const std::regex expression = compile(std::string_view(pattern).substr(kRegexPrefix.size()));
  return std::regex_search(name.begin(), name.end(), expression,
                           std::regex_constants::match_continuous);
}

}  // namespace fptq::model
