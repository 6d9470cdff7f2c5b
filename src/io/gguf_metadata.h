// Typed access to GGUF metadata, with an error that names the key.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "io/gguf.h"

namespace fptq::io {

// Reads keys of one file. A key that is absent gives nothing; one of another type is an error of
// kind kFormat.
class GgufMetadata {
 public:
  // Both have to outlive this. `where` begins every message.
  GgufMetadata(const GgufFile& file, const std::string& where) : file_(file), where_(where) {}

  // An integer >= 0 of any width.
  [[nodiscard]] Result<std::optional<std::uint64_t>> size(std::string_view key) const;
  // The same; an absent key is an error too.
  [[nodiscard]] Result<std::uint64_t> required_size(std::string_view key) const;
  [[nodiscard]] Result<std::optional<double>> real(std::string_view key) const;
  [[nodiscard]] Result<std::optional<bool>> boolean(std::string_view key) const;
  [[nodiscard]] Result<std::optional<std::string>> text(std::string_view key) const;
  // Empty where absent.
  [[nodiscard]] Result<std::vector<std::string>> texts(std::string_view key) const;
  [[nodiscard]] Result<std::vector<float>> reals(std::string_view key) const;
  [[nodiscard]] Result<std::vector<std::int32_t>> integers(std::string_view key) const;

  [[nodiscard]] Error error(std::string_view key, const std::string& what) const;

 private:
  [[nodiscard]] Result<const GgufArray*> array(std::string_view key) const;

  const GgufFile& file_;
  const std::string& where_;
};

}  // namespace fptq::io
