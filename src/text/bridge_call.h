// Conversions between the bridge's C types and C++ ones, for the files of src/text.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/bridge.h"

namespace fptq::text {

// The bytes behind a string, as the bridge takes them.
inline const std::uint8_t* bridge_data(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

// Bytes that the bridge allocated, freed with the object.
class BridgeBytes {
 public:
  BridgeBytes() = default;
  BridgeBytes(const BridgeBytes&) = delete;
  BridgeBytes& operator=(const BridgeBytes&) = delete;
  ~BridgeBytes() { fptq_bridge_free_bytes(bytes_); }

  // Where the bridge writes; at most once per object.
  [[nodiscard]] FptqBytes* out() { return &bytes_; }
  [[nodiscard]] std::string str() const {
    return bytes_.size == 0 ? std::string()
                            : std::string(reinterpret_cast<const char*>(bytes_.data), bytes_.size);
  }

 private:
  FptqBytes bytes_{nullptr, 0};
};

// Token ids that the bridge allocated, freed with the object.
class BridgeIds {
 public:
  BridgeIds() = default;
  BridgeIds(const BridgeIds&) = delete;
  BridgeIds& operator=(const BridgeIds&) = delete;
  ~BridgeIds() { fptq_bridge_free_ids(ids_); }

  [[nodiscard]] FptqIds* out() { return &ids_; }
  [[nodiscard]] const std::uint32_t* begin() const { return ids_.data; }
  [[nodiscard]] const std::uint32_t* end() const { return ids_.data + ids_.size; }

 private:
  FptqIds ids_{nullptr, 0};
};

}  // namespace fptq::text
