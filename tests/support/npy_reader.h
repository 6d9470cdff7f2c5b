// Reading NumPy arrays that other software wrote, for golden tests.

#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace fptq::testing {

// The elements of a little-endian, C-ordered .npy file of format 1 whose dtype is `descr` ("<f4",
// "<i4"). A file that is not one fails the test and gives nothing.
template <typename T>
std::vector<T> read_npy(const std::filesystem::path& path, const std::string& descr) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  constexpr std::size_t kPrefix = 10;  // magic, version, header length
  std::uint16_t header_bytes = 0;
  if (bytes.size() >= kPrefix) std::memcpy(&header_bytes, bytes.data() + 8, sizeof(header_bytes));
  const std::size_t data = kPrefix + header_bytes;
  if (bytes.size() < data || bytes.compare(1, 5, "NUMPY") != 0 ||
      bytes.substr(0, data).find("'" + descr + "'") == std::string::npos ||
      bytes.substr(0, data).find("'fortran_order': False") == std::string::npos) {
    ADD_FAILURE() << path << ": expected a C-ordered " << descr << " array";
    return {};
  }
  std::vector<T> values((bytes.size() - data) / sizeof(T));
  std::memcpy(values.data(), bytes.data() + data, values.size() * sizeof(T));
  return values;
}

inline std::vector<float> read_npy_f32(const std::filesystem::path& path) {
  return read_npy<float>(path, "<f4");
}
inline std::vector<std::int32_t> read_npy_i32(const std::filesystem::path& path) {
  return read_npy<std::int32_t>(path, "<i4");
}

}  // namespace fptq::testing
