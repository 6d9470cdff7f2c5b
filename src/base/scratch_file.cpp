#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/file.h"

namespace fptq {

Result<ScratchFile> ScratchFile::create(const std::filesystem::path& path) {
  ScratchFile file;
  file.path_ = path;
  file.descriptor_ = ::open(path.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);
  if (file.descriptor_ < 0) return system_error(path, "create", errno);
  return file;
}

Result<ScratchFile> ScratchFile::open(const std::filesystem::path& path, std::uint64_t size_bytes) {
  ScratchFile file;
  file.path_ = path;
  file.descriptor_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (file.descriptor_ < 0) return system_error(path, "open", errno);
  struct stat info {};
  if (::fstat(file.descriptor_, &info) != 0) return system_error(path, "read", errno);
  const bool regular = S_ISREG(info.st_mode);
  if (!regular || static_cast<std::uint64_t>(info.st_size) != size_bytes) {
    return Error{Error::Kind::kFormat,
                 path.string() + ": expected a file of " + std::to_string(size_bytes) +
                     " bytes, got " +
                     (regular ? std::to_string(info.st_size) + " bytes" : "something else")};
  }
  return file;
}

ScratchFile::ScratchFile(ScratchFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

ScratchFile& ScratchFile::operator=(ScratchFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

ScratchFile::~ScratchFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status ScratchFile::read_at(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got =
        ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset_bytes));
    if (got < 0) {
      if (errno == EINTR) continue;
      return system_error(path_, "read", errno);
    }
    if (got == 0) {
      return Error{Error::Kind::kIo, path_.string() + ": expected " + std::to_string(out.size()) +
                                         " more bytes at offset " + std::to_string(offset_bytes) +
                                         ", got the end of the file"};
    }
    out = out.subspan(static_cast<std::size_t>(got));
    offset_bytes += static_cast<std::uint64_t>(got);
  }
  return {};
}

Status ScratchFile::write_at(std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put =
        ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset_bytes));
    if (put < 0) {
      if (errno == EINTR) continue;
      return system_error(path_, "write", errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset_bytes += static_cast<std::uint64_t>(put);
  }
  return {};
}

void ScratchFile::begin_sync(std::uint64_t offset_bytes, std::uint64_t size_bytes) {
#if defined(__linux__)
  static_cast<void>(::sync_file_range(descriptor_, static_cast<off_t>(offset_bytes),
                                      static_cast<off_t>(size_bytes), SYNC_FILE_RANGE_WRITE));
#else
  static_cast<void>(offset_bytes);
  static_cast<void>(size_bytes);
#endif
}

Status ScratchFile::sync() {
  if (::fsync(descriptor_) != 0) return system_error(path_, "write", errno);
  return {};
}

}  // namespace fptq
