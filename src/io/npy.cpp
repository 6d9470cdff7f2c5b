#include "io/npy.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

namespace fptq::io {

// `values` are written as they lie in memory.
static_assert(std::endian::native == std::endian::little);

namespace {

constexpr std::string_view kMagic{"\x93NUMPY", 6};

Error format_error(const std::string& where, const std::string& what) {
  return Error{Error::Kind::kFormat, where + ": " + what};
}

// What follows `'key':` in the header's Python dictionary, spaces skipped.
std::optional<std::string_view> value_of(std::string_view header, std::string_view key) {
  const std::string quoted = "'" + std::string(key) + "':";
  const std::size_t place = header.find(quoted);
  if (place == std::string_view::npos) return std::nullopt;
  header.remove_prefix(place + quoted.size());
  header.remove_prefix(std::min(header.find_first_not_of(' '), header.size()));
  return header;
}

std::optional<Shape> parse_shape(std::string_view text) {
  if (text.empty() || text.front() != '(') return std::nullopt;
  Shape shape;
  bool digits = false;
  std::size_t axis = 0;
  for (const char c : text.substr(1)) {
    if (c >= '0' && c <= '9') {
      digits = true;
      if (__builtin_mul_overflow(axis, 10U, &axis) ||
          __builtin_add_overflow(axis, static_cast<std::size_t>(c - '0'), &axis)) {
        return std::nullopt;
      }
    } else if (c == ',' || c == ')') {
      if (digits) shape.push_back(axis);
      digits = false;
      axis = 0;
      if (c == ')') return shape;
    } else if (c != ' ') {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

std::optional<DType> parse_type(std::string_view descr) {
  constexpr std::array<std::pair<std::string_view, DType>, 5> kTypes = {{{"'<f4'", DType::kF32},
                                                                         {"'<f8'", DType::kF64},
                                                                         {"'<i4'", DType::kI32},
                                                                         {"'<i8'", DType::kI64},
                                                                         {"'|u1'", DType::kU8}}};
  for (const auto& [name, dtype] : kTypes) {
    if (descr.substr(0, name.size()) == name) return dtype;
  }
  return std::nullopt;
}

// The header's text, and where the data begin.
Result<std::pair<std::string_view, std::size_t>> find_header(std::span<const std::byte> file,
                                                             const std::string& where) {
  if (file.size() < 10 || std::memcmp(file.data(), kMagic.data(), kMagic.size()) != 0) {
    return format_error(where, "expected a NumPy .npy file");
  }
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(file[i]); };
  const std::size_t version = byte(6);
  if (version < 1 || version > 3 || (version > 1 && file.size() < 12)) {
    return format_error(where, "expected .npy version 1 to 3, got " + std::to_string(version));
  }
  const std::size_t begin = version == 1 ? 10 : 12;
  std::size_t length = byte(8) | byte(9) << 8;
  if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (length > file.size() - begin) return format_error(where, "expected a header, got the end");
  return std::pair(std::string_view(reinterpret_cast<const char*>(file.data()) + begin, length),
                   begin + length);
}

}  // namespace

Result<OutputFile> create_npy(const std::filesystem::path& path, const Shape& shape) {
  std::string axes;
  for (const std::size_t axis : shape) axes += std::to_string(axis) + ",";  // (3,) is a tuple too
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + axes + "), }";
  // 10 bytes come before the header; the data begins at a multiple of 64.
  constexpr std::size_t kPreambleBytes = 10;
  header.append(63 - (kPreambleBytes + header.size()) % 64, ' ');
  header += '\n';

  std::string preamble = "\x93NUMPY";
  preamble += '\x01';
  preamble += '\x00';
  preamble += static_cast<char>(header.size() & 0xff);
  preamble += static_cast<char>(header.size() >> 8);

  FPTQ_TRY(OutputFile file, OutputFile::create(path));
  FPTQ_TRY_VOID(file.write(preamble + header));
  return file;
}

Status append_npy(OutputFile& file, std::span<const float> values) {
  return file.write(std::as_bytes(values));
}

Result<Tensor> parse_npy(std::span<const std::byte> file, const std::string& where) {
  FPTQ_TRY(const auto found, find_header(file, where));
  const auto& [header, data_begin] = found;
  const auto descr = value_of(header, "descr");
  const auto order = value_of(header, "fortran_order");
  const auto shape_value = value_of(header, "shape");
  if (!descr || !order || !shape_value) {
    return format_error(where, "header: expected descr, fortran_order and shape");
  }
  const auto dtype = parse_type(*descr);
  if (!dtype || order->substr(0, 5) != "False") {
    return Error{Error::Kind::kUnsupported,
                 where + ": expected a C-order array of <f4, <f8, <i4, <i8 or |u1, got header " +
                     std::string(header)};
  }
  const auto shape = parse_shape(*shape_value);
  const auto count = shape ? element_count(*shape) : std::nullopt;
  std::size_t size_bytes = 0;
  if (!count || __builtin_mul_overflow(*count, dtype_bytes(*dtype), &size_bytes) ||
      size_bytes != file.size() - data_begin) {
    return format_error(where, "expected a shape of the " +
                                   std::to_string(file.size() - data_begin) +
                                   " bytes of data, got header " + std::string(header));
  }
  FPTQ_TRY(Tensor::Fresh fresh, Tensor::create(*dtype, *shape));
  if (size_bytes != 0) std::memcpy(fresh.data, file.data() + data_begin, size_bytes);
  return std::move(fresh.tensor);
}

Result<Tensor> read_npy(const std::filesystem::path& path) {
  FPTQ_TRY(const MappedFile file, MappedFile::open(path));
  return parse_npy(file.bytes(), path.string());
}

}  // namespace fptq::io
