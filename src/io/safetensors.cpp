#include "io/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/json.h"
#include "base/utf8.h"

namespace fptq::io {
namespace {

// In safetensors' vocabulary, but nothing that fptq computes with.
constexpr std::array<std::string_view, 7> kOtherDTypes = {
    "F4", "F6_E2M3", "F6_E3M2", "F8_E4M3", "F8_E5M2", "F8_E8M0", "C64"};

constexpr std::string_view kMetadataKey = "__metadata__";

Error format_error(const std::string& where, const std::string& what) {
  return Error{Error::Kind::kFormat, where + ": " + what};
}

// The header's text, once the bytes around it have been checked.
Result<std::string_view> header_text(std::span<const std::byte> file, const std::string& where) {
  if (file.size() < 8) {
    return format_error(where, "expected at least the 8 bytes of the header's length, got " +
                                   std::to_string(file.size()) + " bytes");
  }
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  if (length > kMaxSafetensorsHeaderBytes) {
    return format_error(where, "header length: expected at most " +
                                   std::to_string(kMaxSafetensorsHeaderBytes) + ", got " +
                                   std::to_string(length) + ". Is this a safetensors file?");
  }
  if (length > file.size() - 8) {
    return format_error(where, "header length: expected at most the " +
                                   std::to_string(file.size() - 8) + " bytes that follow, got " +
                                   std::to_string(length) + ". Is the file truncated?");
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, length);
  if (text.empty() || text.front() != '{') {
    return format_error(
        where, "header: expected it to begin with '{', got " +
                   (text.empty() ? std::string("nothing")
                                 : "byte " + std::to_string(static_cast<unsigned>(file[8]))));
  }
  if (const auto bad = invalid_utf8_at(text)) {
    return format_error(where, "header: expected UTF-8, got another byte at file offset " +
                                   std::to_string(8 + *bad));
  }
  return text;
}

Result<std::map<std::string, std::string>> parse_metadata(const Json& value,
                                                          const std::string& where) {
  if (!value.is_object()) {
    return format_error(where,
                        "__metadata__: expected an object, got " + std::string(value.type_name()));
  }
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      return format_error(where, "__metadata__: key \"" + key + "\": expected a string, got " +
                                     std::string(text.type_name()));
    }
    metadata.emplace(key, text.get_ref<const std::string&>());
  }
  return metadata;
}

// An integer >= 0 that fits a size_t.
std::optional<std::size_t> to_size(const Json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<std::size_t>();
}

Result<DType> parse_entry_dtype(const Json& value, const std::string& where) {
  const auto found = value.find("dtype");
  if (found == value.end() || !found->is_string()) {
    return format_error(where, "expected a string \"dtype\"");
  }
  const auto& name = found->get_ref<const std::string&>();
  if (const auto dtype = parse_dtype(name)) return *dtype;
  if (std::find(kOtherDTypes.begin(), kOtherDTypes.end(), name) != kOtherDTypes.end()) {
    return Error{Error::Kind::kUnsupported,
                 where + ": dtype " + name +
                     " is not supported. Convert the tensor to F32, F16 or BF16 first"};
  }
  return format_error(where, "dtype: expected a safetensors type, got \"" + name + "\"");
}

// `data_begin`: where in the file the offsets count from. `data_bytes`: bytes from there on.
Result<SafetensorsEntry> parse_entry(const std::string& name, const Json& value,
                                     std::size_t data_begin, std::size_t data_bytes,
                                     const std::string& file) {
  const std::string where = file + ": tensor \"" + name + "\"";
  if (!value.is_object()) {
    return format_error(where, "expected an object, got " + std::string(value.type_name()));
  }
  FPTQ_TRY(const DType dtype, parse_entry_dtype(value, where));

  const auto shape_value = value.find("shape");
  if (shape_value == value.end() || !shape_value->is_array()) {
    return format_error(where, "expected an array \"shape\"");
  }
  Shape shape;
  for (const Json& axis : *shape_value) {
    const auto size = to_size(axis);
    if (!size) return format_error(where, "shape: expected integers >= 0, got " + axis.dump());
    shape.push_back(*size);
  }

  const auto offsets = value.find("data_offsets");
  if (offsets == value.end() || !offsets->is_array() || offsets->size() != 2) {
    return format_error(where, "expected an array \"data_offsets\" of two integers");
  }
  const auto begin = to_size((*offsets)[0]);
  const auto end = to_size((*offsets)[1]);
  if (!begin || !end) {
    return format_error(where, "data_offsets: expected integers >= 0, got " + offsets->dump());
  }
  if (*begin > *end) {
    return format_error(where, "data_offsets: expected begin <= end, got " + offsets->dump());
  }
  if (*end > data_bytes) {
    return format_error(where, "data_offsets: expected them inside the " +
                                   std::to_string(data_bytes) + " bytes of data, got " +
                                   offsets->dump() + ". Is the file truncated?");
  }

  const auto count = element_count(shape);
  std::size_t size_bytes = 0;
  if (!count || __builtin_mul_overflow(*count, dtype_bytes(dtype), &size_bytes)) {
    return format_error(where, "shape " + shape_text(shape) + " of " +
                                   std::string(dtype_name(dtype)) +
                                   ": expected a size that fits 64 bits");
  }
  if (size_bytes != *end - *begin) {
    return format_error(where, "expected " + std::to_string(size_bytes) + " bytes for " +
                                   std::string(dtype_name(dtype)) + " " + shape_text(shape) +
                                   ", got data_offsets " + offsets->dump() + " of " +
                                   std::to_string(*end - *begin) + " bytes");
  }
  return SafetensorsEntry{name, dtype, std::move(shape), data_begin + *begin, data_begin + *end};
}

// No byte between data_begin and file_bytes belongs to two tensors or to none.
Status check_coverage(const std::vector<SafetensorsEntry>& entries, std::size_t data_begin,
                      std::size_t file_bytes, const std::string& where) {
  std::vector<const SafetensorsEntry*> order;
  order.reserve(entries.size());
  for (const SafetensorsEntry& entry : entries) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  std::size_t covered = data_begin;
  const SafetensorsEntry* previous = nullptr;
  for (const SafetensorsEntry* entry : order) {
    if (entry->begin < covered) {
      return format_error(where, "tensors \"" + previous->name + "\" and \"" + entry->name +
                                     "\" overlap: expected the second at data offset " +
                                     std::to_string(covered - data_begin) + ", got " +
                                     std::to_string(entry->begin - data_begin));
    }
    if (entry->begin > covered) {
      return format_error(where, "tensor \"" + entry->name + "\": expected it at data offset " +
                                     std::to_string(covered - data_begin) + ", got " +
                                     std::to_string(entry->begin - data_begin) +
                                     ": the bytes between belong to no tensor");
    }
    covered = entry->end;
    previous = entry;
  }
  if (covered != file_bytes) {
    return format_error(where, "expected the file to end with its last tensor at byte " +
                                   std::to_string(covered) + ", got " +
                                   std::to_string(file_bytes - covered) + " more bytes");
  }
  return {};
}

}  // namespace

const SafetensorsEntry* SafetensorsHeader::find(std::string_view name) const {
  const auto place = std::lower_bound(
      entries.begin(), entries.end(), name,
      [](const SafetensorsEntry& entry, std::string_view wanted) { return entry.name < wanted; });
  return place != entries.end() && place->name == name ? &*place : nullptr;
}

Result<SafetensorsHeader> parse_safetensors(std::span<const std::byte> file,
                                            const std::string& where) {
  FPTQ_TRY(const std::string_view text, header_text(file, where));
  FPTQ_TRY(const Json json, parse_json(text, where + ": header"));
  const std::size_t data_begin = 8 + text.size();
  SafetensorsHeader header;
  header.entries.reserve(json.size());
  for (const auto& [name, value] : json.items()) {
    if (name == kMetadataKey) {
      FPTQ_TRY(header.metadata, parse_metadata(value, where));
      continue;
    }
    FPTQ_TRY(SafetensorsEntry entry,
             parse_entry(name, value, data_begin, file.size() - data_begin, where));
    header.entries.push_back(std::move(entry));
  }
  FPTQ_TRY_VOID(check_coverage(header.entries, data_begin, file.size(), where));
  std::sort(header.entries.begin(), header.entries.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return header;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  FPTQ_TRY(MappedFile mapped, MappedFile::open(path));
  SafetensorsFile file;
  file.file_ = std::make_shared<const MappedFile>(std::move(mapped));
  FPTQ_TRY(file.header_, parse_safetensors(file.file_->bytes(), path.string()));
  return file;
}

Tensor SafetensorsFile::read(const SafetensorsEntry& entry) const {
  return Tensor(entry.dtype, entry.shape,
                file_->bytes().subspan(entry.begin, entry.end - entry.begin), file_);
}

Result<Tensor> SafetensorsFile::read(std::string_view name) const {
  const SafetensorsEntry* entry = header_.find(name);
  if (entry == nullptr) {
    return Error{Error::Kind::kNotFound,
                 path().string() + ": there is no tensor \"" + std::string(name) + "\""};
  }
  return read(*entry);
}

void SafetensorsFile::release(const SafetensorsEntry& entry) const {
  file_->release(file_->bytes().subspan(entry.begin, entry.end - entry.begin));
}

}  // namespace fptq::io
