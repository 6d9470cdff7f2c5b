#include "engine/stop_strings.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace fptq::engine {
namespace {

// Length of the longest end of `text` with which `stop` begins, but is not complete.
std::size_t unfinished_length(std::string_view text, std::string_view stop) {
  for (std::size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length) {
    if (text.substr(text.size() - length) == stop.substr(0, length)) return length;
  }
  return 0;
}

}  // namespace

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

std::string StopStrings::push(std::string_view piece) {
  if (stopped_) return {};
  held_ += piece;
  std::size_t stop_at = std::string::npos;
  std::size_t unfinished = 0;
  for (const std::string& stop : stops_) {
    stop_at = std::min(stop_at, held_.find(stop));
    unfinished = std::max(unfinished, unfinished_length(held_, stop));
  }
  stopped_ = stop_at != std::string::npos;
  const std::size_t certain = stopped_ ? stop_at : held_.size() - unfinished;
  std::string text = held_.substr(0, certain);
  held_.erase(0, certain);
  return text;
}

std::string StopStrings::flush() {
  return stopped_ ? std::string() : std::exchange(held_, {});
}

}  // namespace fptq::engine
