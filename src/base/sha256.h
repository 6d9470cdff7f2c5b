// SHA-256, for manifests and downloads.

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace fptq {

// Incremental SHA-256 (libcrypto's, which uses the CPU's SHA instructions).
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::span<const std::byte> bytes);
  // 64 lower-case hexadecimal digits. Call once.
  [[nodiscard]] std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] std::string sha256_hex(std::span<const std::byte> bytes);

}  // namespace fptq
