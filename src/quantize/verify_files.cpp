// Hashes of files and of the tensors in them.

#include <algorithm>
#include <map>
#include <span>
#include <string_view>

#include "base/file.h"
#include "base/sha256.h"
#include "quantize/verify_steps.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

// Bytes that are hashed between two looks at the progress.
constexpr std::size_t kChunkBytes = std::size_t{8} << 20;

bool is_weight_file(std::string_view name) {
  return name.ends_with(".safetensors");
}

std::string hash_text(const std::string& expected, const std::string& found) {
  return "expected sha256 " + expected + ", got " + found;
}

// Hashes the tensors of a file while its bytes pass by in ascending order.
class TensorHasher {
 public:
  explicit TensorHasher(const io::SafetensorsHeader& header) {
    for (const io::SafetensorsEntry& entry : header.entries) entries_.push_back(&entry);
    std::sort(entries_.begin(), entries_.end(), [](const auto* a, const auto* b) {
      return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
    });
  }

  // file: its bytes [0, begin) have passed, and those up to `end` do now.
  void pass(std::span<const std::byte> file, std::size_t begin, std::size_t end) {
    while (next_ < entries_.size()) {
      const io::SafetensorsEntry& entry = *entries_[next_];
      const std::size_t from = std::max(begin, entry.begin);
      const std::size_t to = std::min(end, entry.end);
      if (from < to) hash_.update(file.subspan(from, to - from));
      if (entry.end > end) return;
      hashes_[entry.name] = hash_.finish();
      hash_ = Sha256();
      ++next_;
    }
  }

  // name -> hash of the tensors that have passed whole.
  [[nodiscard]] const std::map<std::string, std::string>& hashes() const { return hashes_; }

 private:
  std::vector<const io::SafetensorsEntry*> entries_;
  std::size_t next_ = 0;
  Sha256 hash_;
  std::map<std::string, std::string> hashes_;
};

}  // namespace

Status Verification::check_files() {
  check_listing();
  weights_.files.reserve(manifest_.files.size());  // entries are pointed to
  for (const auto& [name, sha256] : manifest_.files) {
    std::error_code missing;
    const std::uint64_t size = fs::file_size(directory_ / name, missing);
    if (!missing) bytes_total_ += size;
  }
  for (const auto& [name, sha256] : manifest_.files) {
    std::error_code failure;
    if (!fs::is_regular_file(directory_ / name, failure)) {
      add(name, "expected a file, as the manifest lists it, got none");
      if (is_weight_file(name)) weights_.complete = false;
      continue;
    }
    FPTQ_TRY_VOID(is_weight_file(name) ? check_weight_file(name, sha256)
                                       : check_other_file(name, sha256));
    ++report_.files;
  }
  check_tensor_names();
  return {};
}

void Verification::check_listing() {
  std::vector<std::string> unknown;
  std::error_code failure;
  for (fs::directory_iterator entry(directory_, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    const std::string name = entry->path().filename().string();
    if (name != kManifestFile && !manifest_.files.contains(name)) unknown.push_back(name);
  }
  std::sort(unknown.begin(), unknown.end());
  for (const std::string& name : unknown) add(name, "not in the manifest");
  if (failure) add("", directory_.string() + ": cannot list: " + failure.message());
}

Status Verification::check_other_file(const std::string& name, const std::string& sha256) {
  FPTQ_TRY(const MappedFile file, MappedFile::open(directory_ / name));
  const std::string found = sha256_hex(file.bytes());
  if (found != sha256) {
    add({name, "", std::pair{std::uint64_t{0}, std::uint64_t{file.bytes().size()}},
         "changed: " + hash_text(sha256, found)});
  }
  report_.bytes += file.bytes().size();
  return step("hashing", report_.bytes, bytes_total_);
}

Status Verification::check_weight_file(const std::string& name, const std::string& sha256) {
  FPTQ_TRY(const MappedFile file, MappedFile::open(directory_ / name));
  const std::span<const std::byte> bytes = file.bytes();
  auto opened = io::SafetensorsFile::open(directory_ / name);
  const io::SafetensorsHeader none;
  TensorHasher tensors(opened ? opened->header() : none);
  Sha256 whole;
  for (std::size_t begin = 0; begin < bytes.size(); begin += kChunkBytes) {
    const std::size_t end = std::min(begin + kChunkBytes, bytes.size());
    options_.pool->parallel_for(2, 1, [&](std::size_t piece, std::size_t) {
      if (piece == 0) {
        whole.update(bytes.subspan(begin, end - begin));
      } else {
        tensors.pass(bytes, begin, end);
      }
    });
    file.release(bytes.subspan(begin, end - begin));
    report_.bytes += end - begin;
    FPTQ_TRY_VOID(step("hashing", report_.bytes, bytes_total_));
  }
  tensors.pass(bytes, bytes.size(), bytes.size());  // those without elements at the end
  const std::string found = whole.finish();
  if (!opened) {
    weights_.complete = false;
    add(name, "changed: " + hash_text(sha256, found) + "; " + opened.error().message);
    return {};
  }

  std::size_t changed = 0;
  std::size_t data_begin = bytes.size();
  const std::size_t index = weights_.files.size();
  weights_.files.push_back(*std::move(opened));
  for (const io::SafetensorsEntry& entry : weights_.files.back().header().entries) {
    ++report_.tensors;
    data_begin = std::min(data_begin, entry.begin);
    if (!weights_.tensors.emplace(entry.name, TensorPlace{index, &entry}).second) {
      add({name, entry.name, {}, "another file holds a tensor of that name"});
    }
    const auto expected = expected_tensors_.find(entry.name);
    if (expected == expected_tensors_.end()) continue;  // told by check_tensor_names()
    const std::string& hash = tensors.hashes().at(entry.name);
    if (hash == expected->second) continue;
    ++changed;
    add({name, entry.name, std::pair{std::uint64_t{entry.begin}, std::uint64_t{entry.end}},
         "changed: " + hash_text(expected->second, hash)});
  }
  if (found != sha256 && changed == 0) {
    add({name, "", std::pair{std::uint64_t{0}, std::uint64_t{data_begin}},
         "the header changed, and no tensor's bytes: " + hash_text(sha256, found)});
  } else if (found == sha256 && changed != 0) {
    add(kManifestFile, "hashes of " + std::to_string(changed) + " tensors contradict that of " +
                           name + ", which holds");
  }
  return {};
}

void Verification::check_tensor_names() {
  for (const auto& [name, place] : weights_.tensors) {
    if (expected_tensors_.contains(name)) continue;
    add({weights_.file_name(place), name, {}, "not in the manifest"});
  }
  if (!weights_.complete) return;  // has been told
  for (const auto& [name, sha256] : expected_tensors_) {
    if (!weights_.tensors.contains(name)) {
      add({"", name, {}, "in the manifest, and in none of the files"});
    }
  }
}

}  // namespace fptq::quantize
