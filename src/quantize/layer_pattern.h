// A user's regular expression over layer names.

#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"

namespace fptq::quantize {

class LayerPattern {
 public:
  // An ECMAScript expression of at most 256 bytes of printable ASCII, without back references.
  // Errors: kInvalidArgument with the reason.
  [[nodiscard]] static Result<LayerPattern> compile(std::string_view pattern);

  LayerPattern(LayerPattern&&) noexcept;
  LayerPattern& operator=(LayerPattern&&) noexcept;
  ~LayerPattern();

  // Whether the pattern is found somewhere in `name`. Names beyond 512 bytes, which no model has,
  // never match.
  [[nodiscard]] bool found_in(std::string_view name) const;

 private:
  struct Impl;
  explicit LayerPattern(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fptq::quantize
