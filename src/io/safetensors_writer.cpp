#include "io/safetensors_writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/utf8.h"
#include "io/safetensors.h"

namespace fptq::io {
namespace {

namespace fs = std::filesystem;

// A declared tensor, its place, and how much of it has been written.
struct Slot {
  TensorSpec spec;
  std::size_t size_bytes = 0;
  std::size_t shard = 0;
  std::uint64_t file_offset = 0;
  std::size_t written_bytes = 0;
  std::optional<Sha256> hash;
  bool complete = false;
};

struct Shard {
  std::string name;
  std::vector<std::size_t> slots;  // in the order of the file
  std::string header;              // with its length before it
  std::uint64_t file_bytes = 0;
  std::size_t incomplete = 0;
  std::optional<OutputFile> file;
  Sha256 hash;  // of the first hashed_bytes
  std::uint64_t hashed_bytes = 0;
};

Error invalid(const fs::path& directory, std::string_view name, const std::string& what) {
  return Error{Error::Kind::kInvalidArgument,
               directory.string() + ": tensor \"" + std::string(name) + "\": " + what};
}

// Offsets stay aligned: multiples of 8 first, then ever narrower elements.
void order_for_alignment(const std::vector<Slot>& slots, std::vector<std::size_t>& order) {
  const auto odd = std::stable_partition(order.begin(), order.end(), [&](std::size_t slot) {
    return slots[slot].size_bytes % 8 == 0;
  });
  std::stable_sort(odd, order.end(), [&](std::size_t a, std::size_t b) {
    return dtype_bytes(slots[a].spec.dtype) > dtype_bytes(slots[b].spec.dtype);
  });
}

// The 8 bytes of length and the JSON, padded with spaces so that the data begin at a multiple
// of 8. Sets the file offsets of the shard's slots.
std::string make_header(std::vector<Slot>& slots, Shard& shard,
                        const std::map<std::string, std::string>& metadata) {
  Json json = Json::object();
  auto& members = json.get_ref<Json::object_t&>();
  if (!metadata.empty()) members.Container::emplace_back("__metadata__", Json(metadata));
  std::uint64_t offset = 0;
  for (const std::size_t index : shard.slots) {
    Slot& slot = slots[index];
    Json entry = Json::object();
    entry["dtype"] = dtype_name(slot.spec.dtype);
    entry["shape"] = slot.spec.shape;
    entry["data_offsets"] = {offset, offset + slot.size_bytes};
    // Not operator[], which would search all names written so far.
    members.Container::emplace_back(slot.spec.name, std::move(entry));
    slot.file_offset = offset;
    offset += slot.size_bytes;
  }
  std::string text = json.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::array<char, 8> length{};
  const std::uint64_t header_bytes = text.size();
  std::memcpy(length.data(), &header_bytes, 8);
  text.insert(0, length.data(), 8);
  for (const std::size_t index : shard.slots) slots[index].file_offset += text.size();
  shard.file_bytes = text.size() + offset;
  return text;
}

std::string shard_name(std::size_t index, std::size_t count) {
  if (count == 1) return "model.safetensors";
  const auto five = [](std::size_t number) {
    const std::string digits = std::to_string(number);
    return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
  };
  return "model-" + five(index + 1) + "-of-" + five(count) + ".safetensors";
}

}  // namespace

struct SafetensorsWriter::Impl {
  fs::path directory;
  std::vector<Slot> slots;
  std::map<std::string, std::size_t, std::less<>> slot_of;
  std::vector<Shard> shards;
  std::vector<WrittenTensor> tensors;
  std::vector<WrittenFile> files;
  std::uint64_t total_bytes = 0;

  Status declare(std::vector<TensorSpec> specs);
  Status plan(const SafetensorsWriterOptions& options);
  Status open(Shard& shard);
  Status put(Shard& shard, std::uint64_t offset, std::span<const std::byte> bytes);
  Status complete(Slot& slot);
  Status commit(Shard& shard);
  Status write_index();
};

Status SafetensorsWriter::Impl::declare(std::vector<TensorSpec> specs) {
  for (TensorSpec& spec : specs) {
    if (spec.name.empty() || spec.name == "__metadata__" || invalid_utf8_at(spec.name)) {
      return invalid(directory, spec.name, "expected a name in UTF-8, not empty, not reserved");
    }
    const auto count = element_count(spec.shape);
    std::size_t size_bytes = 0;
    if (!count || __builtin_mul_overflow(*count, dtype_bytes(spec.dtype), &size_bytes) ||
        __builtin_add_overflow(total_bytes, size_bytes, &total_bytes)) {
      return Error{Error::Kind::kLimit, directory.string() + ": tensor \"" + spec.name +
                                            "\": shape " + shape_text(spec.shape) +
                                            " is too large"};
    }
    if (!slot_of.emplace(spec.name, slots.size()).second) {
      return invalid(directory, spec.name, "declared twice");
    }
    Slot slot;
    slot.spec = std::move(spec);
    slot.size_bytes = size_bytes;
    slots.push_back(std::move(slot));
  }
  return {};
}

Status SafetensorsWriter::Impl::plan(const SafetensorsWriterOptions& options) {
  shards.emplace_back();
  std::uint64_t shard_bytes = 0;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const bool fits = slots[i].size_bytes <= options.max_shard_bytes &&
                      shard_bytes <= options.max_shard_bytes - slots[i].size_bytes;
    if (!fits && !shards.back().slots.empty()) {
      shards.emplace_back();
      shard_bytes = 0;
    }
    slots[i].shard = shards.size() - 1;
    shards.back().slots.push_back(i);
    shard_bytes += slots[i].size_bytes;
  }
  for (std::size_t i = 0; i < shards.size(); ++i) {
    Shard& shard = shards[i];
    shard.name = shard_name(i, shards.size());
    shard.incomplete = shard.slots.size();
    order_for_alignment(slots, shard.slots);
    shard.header = make_header(slots, shard, options.metadata);
    if (shard.header.size() - 8 > kMaxSafetensorsHeaderBytes) {
      return Error{Error::Kind::kUnsupported,
                   (directory / shard.name).string() + ": a header of " +
                       std::to_string(shard.header.size() - 8) +
                       " bytes exceeds the format's limit. Lower the size of a shard"};
    }
  }
  return {};
}

Status SafetensorsWriter::Impl::open(Shard& shard) {
  FPTQ_TRY(OutputFile file, OutputFile::create(directory / shard.name));
  shard.file.emplace(std::move(file));
  return put(shard, 0, std::as_bytes(std::span(shard.header)));
}

Status SafetensorsWriter::Impl::put(Shard& shard, std::uint64_t offset,
                                    std::span<const std::byte> bytes) {
  FPTQ_TRY_VOID(shard.file->write_at(offset, bytes));
  if (offset == shard.hashed_bytes) {
    shard.hash.update(bytes);
    shard.hashed_bytes += bytes.size();
  }
  return {};
}

Status SafetensorsWriter::Impl::complete(Slot& slot) {
  slot.complete = true;
  Shard& shard = shards[slot.shard];
  tensors.push_back({slot.spec.name, shard.name, slot.hash->finish(), slot.size_bytes});
  slot.hash.reset();
  return --shard.incomplete == 0 ? commit(shard) : Status();
}

Status SafetensorsWriter::Impl::commit(Shard& shard) {
  FPTQ_TRY_VOID(shard.file->commit());
  shard.file.reset();
  if (shard.hashed_bytes != shard.file_bytes) {
    // What was written out of order is read back.
    FPTQ_TRY(const MappedFile written, MappedFile::open(directory / shard.name));
    FPTQ_CHECK(written.bytes().size() == shard.file_bytes, "every tensor was written whole");
    shard.hash.update(written.bytes().subspan(shard.hashed_bytes));
  }
  files.push_back({shard.name, shard.hash.finish(), shard.file_bytes});
  return {};
}

Status SafetensorsWriter::Impl::write_index() {
  Json weight_map = Json::object();
  for (const auto& [name, slot] : slot_of) {  // sorted by name
    weight_map.get_ref<Json::object_t&>().Container::emplace_back(
        name, Json(shards[slots[slot].shard].name));
  }
  Json index = Json::object();
  index["metadata"] = {{"total_size", total_bytes}};
  index["weight_map"] = std::move(weight_map);
  const std::string name = "model.safetensors.index.json";
  const std::string text = index.dump(2) + "\n";
  FPTQ_TRY_VOID(write_text_file(directory / name, text));
  files.push_back({name, sha256_hex(std::as_bytes(std::span(text))), text.size()});
  return {};
}

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&&) noexcept = default;
SafetensorsWriter::~SafetensorsWriter() = default;

Result<SafetensorsWriter> SafetensorsWriter::create(const fs::path& directory,
                                                    std::vector<TensorSpec> tensors,
                                                    SafetensorsWriterOptions options) {
  auto impl = std::make_unique<Impl>();
  impl->directory = directory;
  FPTQ_TRY_VOID(impl->declare(std::move(tensors)));
  FPTQ_TRY_VOID(impl->plan(options));
  return SafetensorsWriter(std::move(impl));
}

Status SafetensorsWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  const auto found = impl_->slot_of.find(name);
  if (found == impl_->slot_of.end()) return invalid(impl_->directory, name, "was not declared");
  Slot& slot = impl_->slots[found->second];
  if (slot.complete || bytes.size() > slot.size_bytes - slot.written_bytes) {
    return invalid(impl_->directory, name,
                   "expected " + std::to_string(slot.size_bytes) + " bytes, got " +
                       std::to_string(slot.written_bytes + bytes.size()));
  }
  Shard& shard = impl_->shards[slot.shard];
  if (!shard.file) FPTQ_TRY_VOID(impl_->open(shard));
  if (!slot.hash) slot.hash.emplace();
  FPTQ_TRY_VOID(impl_->put(shard, slot.file_offset + slot.written_bytes, bytes));
  slot.hash->update(bytes);
  slot.written_bytes += bytes.size();
  return slot.written_bytes == slot.size_bytes ? impl_->complete(slot) : Status();
}

Status SafetensorsWriter::write(std::string_view name, const Tensor& tensor) {
  const auto found = impl_->slot_of.find(name);
  if (found == impl_->slot_of.end()) return invalid(impl_->directory, name, "was not declared");
  const TensorSpec& spec = impl_->slots[found->second].spec;
  if (tensor.dtype() != spec.dtype || tensor.shape() != spec.shape) {
    return invalid(impl_->directory, name,
                   "expected " + std::string(dtype_name(spec.dtype)) + " " +
                       shape_text(spec.shape) + ", got " + std::string(dtype_name(tensor.dtype())) +
                       " " + shape_text(tensor.shape()));
  }
  return write(name, tensor.bytes());
}

Status SafetensorsWriter::finish() {
  // A tensor without elements has nothing to write, and need not be mentioned.
  for (Slot& slot : impl_->slots) {
    if (!slot.complete && slot.size_bytes == 0)
      FPTQ_TRY_VOID(write(slot.spec.name, std::span<const std::byte>()));
  }
  for (const Slot& slot : impl_->slots) {
    if (!slot.complete) {
      return invalid(impl_->directory, slot.spec.name,
                     "expected " + std::to_string(slot.size_bytes) + " bytes, got only " +
                         std::to_string(slot.written_bytes));
    }
  }
  if (impl_->slots.empty()) {
    FPTQ_TRY_VOID(impl_->open(impl_->shards.front()));
    FPTQ_TRY_VOID(impl_->commit(impl_->shards.front()));
  }
  return impl_->shards.size() > 1 ? impl_->write_index() : Status();
}

std::span<const WrittenTensor> SafetensorsWriter::written_tensors() const {
  return impl_->tensors;
}
std::span<const WrittenFile> SafetensorsWriter::written_files() const {
  return impl_->files;
}
std::uint64_t SafetensorsWriter::total_bytes() const {
  return impl_->total_bytes;
}

}  // namespace fptq::io
