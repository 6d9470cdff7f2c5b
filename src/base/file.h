// Files: read-only mappings, and outputs that appear under their name only when complete.

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fptq {

// What the system refused: "PATH: cannot ACTION: No space left on device ...". code: an errno
// value. kNotFound for ENOENT, kLimit where the disk is full, else kIo.
[[nodiscard]] Error system_error(const std::filesystem::path& path, const char* action, int code);

// A whole file mapped read-only. Movable; the bytes live until it is destroyed.
// If another program truncates the file meanwhile, access raises SIGBUS.
class MappedFile {
 public:
  // Errors: kNotFound, kIo. An empty file is mapped as an empty span; a directory is an error.
  [[nodiscard]] static Result<MappedFile> open(const std::filesystem::path& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_bytes_}; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  // Tells the system that these bytes will not be needed soon, so that resident memory stays
  // small while a large file is streamed. The bytes remain readable.
  void release(std::span<const std::byte> part) const;

 private:
  MappedFile() = default;

  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
};

// The whole file as text. Errors: kNotFound, kIo; kLimit above max_bytes.
[[nodiscard]] Result<std::string> read_text_file(const std::filesystem::path& path,
                                                 std::uint64_t max_bytes = 1ULL << 32);

// A file being written under a temporary name beside its final one. commit() makes it durable
// and renames it; without commit() the destructor removes it, so a final name is never partial.
class OutputFile {
 public:
  // Errors: kIo.
  [[nodiscard]] static Result<OutputFile> create(const std::filesystem::path& final_path);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  // Appends. Errors: kLimit where the disk is full, kIo otherwise.
  [[nodiscard]] Status write(std::span<const std::byte> bytes);
  [[nodiscard]] Status write(std::string_view text);
  // Overwrites bytes already written, at an absolute offset.
  [[nodiscard]] Status write_at(std::uint64_t offset_bytes, std::span<const std::byte> bytes);
  // Replaces whatever has the final name.
  [[nodiscard]] Status commit();

 private:
  OutputFile() = default;

  std::filesystem::path final_path_;
  std::filesystem::path temporary_path_;
  int descriptor_ = -1;
};

// A file that is memory, for what does not fit into the machine's: the system writes pages back and
// reads them as it needs room. It keeps its name until somebody removes it.
//
// All of it is reserved on the disk when it is created, so that no page lacks a place later. A disk
// that fails afterwards ends the program (SIGBUS), as with every mapped file.
// Thread safety: that of memory.
class ScratchFile {
 public:
  // A new file of zeros, or an old one replaced. Errors: kLimit where the disk is full, kIo.
  [[nodiscard]] static Result<ScratchFile> create(const std::filesystem::path& path,
                                                  std::uint64_t size_bytes);
  // One that is there already. Errors: kNotFound, kIo; kFormat for another size.
  [[nodiscard]] static Result<ScratchFile> open(const std::filesystem::path& path,
                                                std::uint64_t size_bytes);

  ScratchFile(ScratchFile&& other) noexcept;
  ScratchFile& operator=(ScratchFile&& other) noexcept;
  ~ScratchFile();

  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }
  // The same as floats.
  [[nodiscard]] float* floats() const { return reinterpret_cast<float*>(bytes_.data()); }

  // Makes what was written survive the machine's end, under the name that the file has. While it
  // runs, other threads may read. Errors: kLimit, kIo.
  [[nodiscard]] Status sync() const;
  // Takes another name in the same directory; what had that name is gone. Errors: kIo.
  [[nodiscard]] Status rename(const std::filesystem::path& path);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  ScratchFile() = default;
  [[nodiscard]] Status map(std::uint64_t size_bytes);

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::span<std::byte> bytes_;
};

// Lets what was created or renamed in a directory survive the machine's end, where the system can.
void sync_directory(const std::filesystem::path& directory);

// Writes a small file whole, atomically.
[[nodiscard]] Status write_text_file(const std::filesystem::path& path, std::string_view text);

// A directory being filled under the name `FINAL.partial`; commit() renames it to FINAL.
// Without commit() it stays for a later resume, or is removed by discard().
class OutputDirectory {
 public:
  // Errors: kInvalidArgument where FINAL exists and overwrite is false; kIo where the parent is
  // missing or read-only. A left-over `FINAL.partial` is emptied unless keep_partial.
  [[nodiscard]] static Result<OutputDirectory> create(const std::filesystem::path& final_path,
                                                      bool overwrite, bool keep_partial = false);

  // Where files are to be written.
  [[nodiscard]] const std::filesystem::path& path() const { return partial_path_; }
  [[nodiscard]] const std::filesystem::path& final_path() const { return final_path_; }
  [[nodiscard]] Status commit();
  void discard();

 private:
  OutputDirectory() = default;

  std::filesystem::path final_path_;
  std::filesystem::path partial_path_;
};

}  // namespace fptq
