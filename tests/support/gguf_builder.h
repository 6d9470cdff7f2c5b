// Makes the bytes of GGUF files for tests, good and bad ones.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace fptq::testing {

// Appends the little-endian bytes of a number.
template <typename T>
void append_number(std::string& bytes, T value) {
  static_assert(std::is_arithmetic_v<T>);
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// GGUF's string: its length, then its bytes.
inline void append_gguf_string(std::string& bytes, std::string_view text) {
  append_number<std::uint64_t>(bytes, text.size());
  bytes += text;
}

// Collects keys and tensors; every method but build() returns the builder. Nothing is checked.
class GgufBuilder {
 public:
  // A key with a value of that type number, whose bytes are given.
  GgufBuilder& raw(std::string_view key, std::uint32_t type, std::string_view value) {
    append_gguf_string(keys_, key);
    append_number(keys_, type);
    keys_ += value;
    ++key_count_;
    return *this;
  }
  template <typename T>
  GgufBuilder& number(std::string_view key, std::uint32_t type, T value) {
    std::string bytes;
    append_number(bytes, value);
    return raw(key, type, bytes);
  }
  GgufBuilder& u32(std::string_view key, std::uint32_t value) { return number(key, 4, value); }
  GgufBuilder& f32(std::string_view key, float value) { return number(key, 6, value); }
  GgufBuilder& boolean(std::string_view key, bool value) {
    return number(key, 7, static_cast<std::uint8_t>(value));
  }
  GgufBuilder& text(std::string_view key, std::string_view value) {
    std::string bytes;
    append_gguf_string(bytes, value);
    return raw(key, 8, bytes);
  }
  GgufBuilder& texts(std::string_view key, const std::vector<std::string>& values) {
    std::string bytes;
    append_number<std::uint32_t>(bytes, 8);
    append_number<std::uint64_t>(bytes, values.size());
    for (const std::string& value : values) append_gguf_string(bytes, value);
    return raw(key, 9, bytes);
  }
  template <typename T>
  GgufBuilder& numbers(std::string_view key, std::uint32_t type, const std::vector<T>& values) {
    std::string bytes;
    append_number(bytes, type);
    append_number<std::uint64_t>(bytes, values.size());
    for (const T value : values) append_number(bytes, value);
    return raw(key, 9, bytes);
  }
  // axes: fastest first, as the file has them. Placed after the tensors before it.
  GgufBuilder& tensor(std::string_view name, const std::vector<std::uint64_t>& axes,
                      std::uint32_t type, std::string_view data) {
    data_.resize((data_.size() + alignment_ - 1) / alignment_ * alignment_);
    const std::size_t offset = data_.size();
    data_ += data;
    return info(name, axes, type, offset);
  }
  // Only the description, with any offset.
  GgufBuilder& info(std::string_view name, const std::vector<std::uint64_t>& axes,
                    std::uint32_t type, std::uint64_t offset) {
    append_gguf_string(infos_, name);
    append_number(infos_, static_cast<std::uint32_t>(axes.size()));
    for (const std::uint64_t axis : axes) append_number(infos_, axis);
    append_number(infos_, type);
    append_number(infos_, offset);
    ++tensor_count_;
    return *this;
  }
  GgufBuilder& alignment(std::size_t bytes) {
    alignment_ = bytes;
    return u32("general.alignment", static_cast<std::uint32_t>(bytes));
  }

  [[nodiscard]] std::string build(std::uint32_t version = 3) const {
    std::string bytes = "GGUF";
    append_number(bytes, version);
    append_number(bytes, tensor_count_);
    append_number(bytes, key_count_);
    bytes += keys_ + infos_;
    bytes.resize((bytes.size() + alignment_ - 1) / alignment_ * alignment_);
    return bytes + data_;
  }

 private:
  std::size_t alignment_ = 32;
  std::uint64_t key_count_ = 0;
  std::uint64_t tensor_count_ = 0;
  std::string keys_;
  std::string infos_;
  std::string data_;
};

}  // namespace fptq::testing
