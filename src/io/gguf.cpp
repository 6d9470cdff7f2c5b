#include "io/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <set>
#include <utility>

#include "base/check.h"

namespace fptq::io {
namespace {

constexpr std::uint64_t kMaxStringBytes = 1ULL << 30;
constexpr std::uint64_t kMaxArrayElements = 1ULL << 30;
constexpr std::uint64_t kMaxKeyBytes = 65535;
constexpr std::uint64_t kMaxNameBytes = 63;
constexpr std::uint32_t kMaxAxes = 4;
constexpr std::uint64_t kDefaultAlignment = 32;

struct GgufTypeInfo {
  std::string_view name;
  std::size_t bytes;  // of a number; 0 for strings and arrays
};

constexpr std::array<GgufTypeInfo, 13> kTypes = {{{"uint8", 1},
                                                  {"int8", 1},
                                                  {"uint16", 2},
                                                  {"int16", 2},
                                                  {"uint32", 4},
                                                  {"int32", 4},
                                                  {"float32", 4},
                                                  {"bool", 1},
                                                  {"string", 0},
                                                  {"array", 0},
                                                  {"uint64", 8},
                                                  {"int64", 8},
                                                  {"float64", 8}}};

const GgufTypeInfo& info_of(GgufType type) {
  return kTypes[static_cast<std::size_t>(type)];
}

template <typename T>
T load(const std::byte* source) {
  T value;
  std::memcpy(&value, source, sizeof value);
  return value;
}

std::int64_t load_integer(GgufType type, const std::byte* source) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kBool:
      return load<std::uint8_t>(source);
    case GgufType::kInt8:
      return load<std::int8_t>(source);
    case GgufType::kUint16:
      return load<std::uint16_t>(source);
    case GgufType::kInt16:
      return load<std::int16_t>(source);
    case GgufType::kUint32:
      return load<std::uint32_t>(source);
    case GgufType::kInt32:
      return load<std::int32_t>(source);
    case GgufType::kUint64:
    case GgufType::kInt64:
      return load<std::int64_t>(source);
    default:
      FPTQ_CHECK(false, "an integer type");
  }
}

// Reads forward through the file and never past its end.
class Cursor {
 public:
  Cursor(std::span<const std::byte> file, std::string where)
      : file_(file), where_(std::move(where)) {}

  std::size_t offset() const { return offset_; }
  std::size_t remaining() const { return file_.size() - offset_; }

  Error error(const std::string& what) const {
    return Error{Error::Kind::kFormat, where_ + ": byte " + std::to_string(offset_) + ": " + what};
  }

  Result<std::span<const std::byte>> take(std::uint64_t size_bytes, const std::string& what) {
    if (size_bytes > remaining()) {
      return error(what + ": expected " + std::to_string(size_bytes) + " bytes, got the last " +
                   std::to_string(remaining()) + " of the file. Is the file truncated?");
    }
    const auto bytes = file_.subspan(offset_, static_cast<std::size_t>(size_bytes));
    offset_ += bytes.size();
    return bytes;
  }

  template <typename T>
  Result<T> number(const std::string& what) {
    FPTQ_TRY(const auto bytes, take(sizeof(T), what));
    return load<T>(bytes.data());
  }

  Result<std::string_view> string(std::uint64_t max_bytes, const std::string& what) {
    const Cursor before = *this;
    FPTQ_TRY(const auto length, number<std::uint64_t>(what + ", length"));
    if (length > max_bytes) {
      return before.error(what + ": expected at most " + std::to_string(max_bytes) +
                          " bytes, got " + std::to_string(length));
    }
    FPTQ_TRY(const auto bytes, take(length, what));
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  Result<GgufType> type(const std::string& what) {
    const Cursor before = *this;
    FPTQ_TRY(const auto number, this->number<std::uint32_t>(what + ", type"));
    if (number >= kTypes.size()) {
      return before.error(what + ": expected a type below " + std::to_string(kTypes.size()) +
                          ", got " + std::to_string(number));
    }
    return static_cast<GgufType>(number);
  }

 private:
  std::span<const std::byte> file_;
  std::string where_;
  std::size_t offset_ = 0;
};

Result<GgufArray> read_array(Cursor& cursor, const std::string& what) {
  GgufArray array{};
  FPTQ_TRY(array.type, cursor.type(what));
  if (array.type == GgufType::kArray) {
    return cursor.error(what + ": expected an array of values, got an array of arrays");
  }
  FPTQ_TRY(const auto count, cursor.number<std::uint64_t>(what + ", number of elements"));
  if (count > kMaxArrayElements) {
    return cursor.error(what + ": expected at most " + std::to_string(kMaxArrayElements) +
                        " elements, got " + std::to_string(count));
  }
  array.count = static_cast<std::size_t>(count);
  if (array.type != GgufType::kString) {
    // Below 2^33: no overflow.
    FPTQ_TRY(array.numbers, cursor.take(count * info_of(array.type).bytes, what));
    return array;
  }
  if (count > cursor.remaining() / 8) {  // a string takes at least its length
    return cursor.error(what + ": expected " + std::to_string(count) + " strings, got the last " +
                        std::to_string(cursor.remaining()) + " bytes of the file");
  }
  array.strings.reserve(array.count);
  for (std::size_t i = 0; i < array.count; ++i) {
    FPTQ_TRY(const std::string_view text, cursor.string(kMaxStringBytes, what));
    array.strings.push_back(text);
  }
  return array;
}

Result<GgufValue> read_value(Cursor& cursor, const std::string& what) {
  FPTQ_TRY(const GgufType type, cursor.type(what));
  switch (type) {
    case GgufType::kString: {
      FPTQ_TRY(const std::string_view text, cursor.string(kMaxStringBytes, what));
      return GgufValue{type, text};
    }
    case GgufType::kArray: {
      FPTQ_TRY(GgufArray array, read_array(cursor, what));
      return GgufValue{type, std::move(array)};
    }
    case GgufType::kFloat32: {
      FPTQ_TRY(const auto number, cursor.number<float>(what));
      return GgufValue{type, static_cast<double>(number)};
    }
    case GgufType::kFloat64: {
      FPTQ_TRY(const auto number, cursor.number<double>(what));
      return GgufValue{type, number};
    }
    case GgufType::kUint64: {
      FPTQ_TRY(const auto number, cursor.number<std::uint64_t>(what));
      return GgufValue{type, number};
    }
    case GgufType::kBool: {
      FPTQ_TRY(const auto number, cursor.number<std::uint8_t>(what));
      if (number > 1) {
        return cursor.error(what + ": expected a bool 0 or 1, got " + std::to_string(number));
      }
      return GgufValue{type, number == 1};
    }
    default: {
      FPTQ_TRY(const auto bytes, cursor.take(info_of(type).bytes, what));
      const std::int64_t number = load_integer(type, bytes.data());
      if (number >= 0) return GgufValue{type, static_cast<std::uint64_t>(number)};
      return GgufValue{type, number};
    }
  }
}

Status read_metadata(Cursor& cursor, std::uint64_t count, GgufFile& file) {
  for (std::uint64_t i = 0; i < count; ++i) {
    FPTQ_TRY(const std::string_view key,
             cursor.string(kMaxKeyBytes, "metadata key " + std::to_string(i)));
    const std::string what = "metadata key \"" + std::string(key) + "\"";
    if (file.metadata.contains(key)) return cursor.error(what + ": expected it once, got it twice");
    FPTQ_TRY(GgufValue value, read_value(cursor, what));
    file.metadata.emplace(key, std::move(value));
  }
  return {};
}

// A tensor with `begin` still relative to the data.
Result<GgufTensor> read_tensor_info(Cursor& cursor, std::uint64_t index, const std::string& where) {
  FPTQ_TRY(const std::string_view name,
           cursor.string(kMaxNameBytes, "name of tensor " + std::to_string(index)));
  GgufTensor tensor{};
  tensor.name = name;
  const std::string what = "tensor \"" + tensor.name + "\"";
  FPTQ_TRY(const auto axes, cursor.number<std::uint32_t>(what + ", number of axes"));
  if (axes < 1 || axes > kMaxAxes) {
    return cursor.error(what + ": expected 1 to " + std::to_string(kMaxAxes) + " axes, got " +
                        std::to_string(axes));
  }
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < axes; ++i) {
    FPTQ_TRY(const auto size, cursor.number<std::uint64_t>(what + ", shape"));
    if (size == 0) return cursor.error(what + ": expected axes of at least 1, got 0");
    if (__builtin_mul_overflow(elements, size, &elements) || elements > INT64_MAX) {
      return cursor.error(what + ": expected a number of elements below 2^63, got a larger shape");
    }
    tensor.shape.insert(tensor.shape.begin(), static_cast<std::size_t>(size));
  }
  FPTQ_TRY(const auto type, cursor.number<std::uint32_t>(what + ", type"));
  const GgmlTypeInfo* info = find_ggml_type(type);
  if (info == nullptr) {
    const auto known = ggml_type_name(type);
    if (!known) return cursor.error(what + ": expected a ggml type, got " + std::to_string(type));
    return Error{Error::Kind::kUnsupported,
                 where + ": " + what + ": type " + std::string(*known) +
                     " is not supported. Use a file of F16, Q8_0 or Q4_K, for example"};
  }
  tensor.type = info->type;
  const std::size_t columns = tensor.shape.back();
  if (columns % info->block_elements != 0) {
    return cursor.error(what + ": expected rows of whole " + std::string(info->name) +
                        " blocks of " + std::to_string(info->block_elements) + ", got " +
                        std::to_string(columns) + " columns");
  }
  if (__builtin_mul_overflow(elements / info->block_elements, info->block_bytes,
                             &tensor.size_bytes)) {
    return cursor.error(what + ": expected a size that fits 64 bits, got shape " +
                        shape_text(tensor.shape));
  }
  FPTQ_TRY(tensor.begin, cursor.number<std::uint64_t>(what + ", offset"));
  return tensor;
}

Result<std::uint64_t> alignment_of(const GgufFile& file, const std::string& where) {
  const GgufValue* value = file.find("general.alignment");
  if (value == nullptr) return kDefaultAlignment;
  const auto* number = std::get_if<std::uint64_t>(&value->value);
  if (number == nullptr || !std::has_single_bit(*number) || *number > UINT32_MAX) {
    return Error{Error::Kind::kFormat,
                 where + ": general.alignment: expected a power of two below 2^32, got " +
                     (number == nullptr ? std::string(gguf_type_name(value->type))
                                        : std::to_string(*number))};
  }
  return *number;
}

// Turns offsets into the data to offsets into the file, once they are known to be good.
Status place_tensors(GgufFile& file, std::uint64_t data_begin, std::uint64_t file_bytes,
                     std::uint64_t alignment, const std::string& where) {
  const std::uint64_t data_bytes = file_bytes > data_begin ? file_bytes - data_begin : 0;
  const auto fail = [&](const GgufTensor& tensor, const std::string& what) {
    return Error{Error::Kind::kFormat, where + ": tensor \"" + tensor.name + "\": " + what};
  };
  for (GgufTensor& tensor : file.tensors) {
    if (tensor.begin % alignment != 0) {
      return fail(tensor, "expected an offset that is a multiple of " + std::to_string(alignment) +
                              ", got " + std::to_string(tensor.begin));
    }
    if (tensor.begin > data_bytes || tensor.size_bytes > data_bytes - tensor.begin) {
      return fail(tensor, "expected " + std::to_string(tensor.size_bytes) + " bytes at offset " +
                              std::to_string(tensor.begin) + " of the " +
                              std::to_string(data_bytes) +
                              " bytes of data, got the end of the file. Is the file truncated?");
    }
    tensor.begin += data_begin;
  }
  std::vector<const GgufTensor*> order;
  for (const GgufTensor& tensor : file.tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(),
            [](const auto* a, const auto* b) { return a->begin < b->begin; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const GgufTensor& before = *order[i - 1];
    if (order[i]->begin < before.begin + before.size_bytes) {
      return fail(*order[i],
                  "expected bytes of its own, got an overlap with tensor \"" + before.name + "\"");
    }
  }
  return {};
}

Status check_start(Cursor& cursor, GgufFile& file, const std::string& where) {
  FPTQ_TRY(const auto magic, cursor.take(4, "magic number"));
  if (!has_gguf_magic(magic)) {
    return Error{Error::Kind::kFormat, where + ": expected a file that begins with \"GGUF\""};
  }
  FPTQ_TRY(file.version, cursor.number<std::uint32_t>("version"));
  if (file.version != 0 && (file.version & 0xFFFFU) == 0) {
    return Error{Error::Kind::kUnsupported,
                 where + ": a big-endian GGUF file is not supported. Convert it to little-endian"};
  }
  if (file.version != 2 && file.version != 3) {
    return Error{Error::Kind::kUnsupported, where + ": expected GGUF version 2 or 3, got version " +
                                                std::to_string(file.version)};
  }
  return {};
}

}  // namespace

std::string_view gguf_type_name(GgufType type) {
  return info_of(type).name;
}

std::int64_t GgufArray::integer(std::size_t index) const {
  FPTQ_CHECK(index < count, "an element of the array");
  return load_integer(type, numbers.data() + index * info_of(type).bytes);
}

double GgufArray::real(std::size_t index) const {
  FPTQ_CHECK(index < count, "an element of the array");
  const std::byte* source = numbers.data() + index * info_of(type).bytes;
  if (type == GgufType::kFloat32) return static_cast<double>(load<float>(source));
  FPTQ_CHECK(type == GgufType::kFloat64, "a float type");
  return load<double>(source);
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto place = metadata.find(key);
  return place == metadata.end() ? nullptr : &place->second;
}

bool has_gguf_magic(std::span<const std::byte> file) {
  return file.size() >= 4 && std::memcmp(file.data(), "GGUF", 4) == 0;
}

Result<GgufFile> parse_gguf(std::span<const std::byte> bytes, const std::string& where) {
  Cursor cursor(bytes, where);
  GgufFile file{};
  FPTQ_TRY_VOID(check_start(cursor, file, where));
  FPTQ_TRY(const auto tensor_count, cursor.number<std::uint64_t>("number of tensors"));
  FPTQ_TRY(const auto key_count, cursor.number<std::uint64_t>("number of metadata keys"));
  FPTQ_TRY_VOID(read_metadata(cursor, key_count, file));
  FPTQ_TRY(const std::uint64_t alignment, alignment_of(file, where));
  std::set<std::string, std::less<>> names;
  for (std::uint64_t i = 0; i < tensor_count; ++i) {
    FPTQ_TRY(GgufTensor tensor, read_tensor_info(cursor, i, where));
    if (!names.insert(tensor.name).second) {
      return cursor.error("tensor \"" + tensor.name + "\": expected it once, got it twice");
    }
    file.tensors.push_back(std::move(tensor));
  }
  // Below 2^63 + 2^32: no overflow.
  const std::uint64_t data_begin = (cursor.offset() + alignment - 1) / alignment * alignment;
  FPTQ_TRY_VOID(place_tensors(file, data_begin, bytes.size(), alignment, where));
  return file;
}

}  // namespace fptq::io
