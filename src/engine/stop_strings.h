// Ending a generation at a string that may span several pieces of text.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fptq::engine {

// Text flows through: what may be the beginning of a stop string is held back until it is clear
// that it is none, so that no part of a stop string ever comes out.
class StopStrings {
 public:
  // Empty strings are ignored.
  explicit StopStrings(std::vector<std::string> stops);

  // The text that is certain after `piece`. Once stopped() nothing comes out any more.
  [[nodiscard]] std::string push(std::string_view piece);
  // What is still held back, at the end of a text.
  [[nodiscard]] std::string flush();
  // Whether a stop string has been seen.
  [[nodiscard]] bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace fptq::engine
