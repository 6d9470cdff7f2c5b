#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/file.h"

namespace fptq {

Result<ScratchFile> ScratchFile::create(const std::filesystem::path& path,
                                        std::uint64_t size_bytes) {
  ScratchFile file;
  file.path_ = path;
  file.descriptor_ = ::open(path.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);
  if (file.descriptor_ < 0) return system_error(path, "create", errno);
  if (size_bytes > 0) {
    const int code = ::posix_fallocate(file.descriptor_, 0, static_cast<off_t>(size_bytes));
    if (code != 0) return system_error(path, "write", code);
  }
  FPTQ_TRY_VOID(file.map(size_bytes));
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
  FPTQ_TRY_VOID(file.map(size_bytes));
  return file;
}

Status ScratchFile::map(std::uint64_t size_bytes) {
  if (size_bytes == 0) return {};
  void* memory = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0);
  if (memory == MAP_FAILED) return system_error(path_, "map", errno);
  bytes_ = {static_cast<std::byte*>(memory), size_bytes};
  return {};
}

ScratchFile::ScratchFile(ScratchFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      bytes_(std::exchange(other.bytes_, {})) {}

ScratchFile& ScratchFile::operator=(ScratchFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

ScratchFile::~ScratchFile() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status ScratchFile::sync() const {
  if (!bytes_.empty() && ::msync(bytes_.data(), bytes_.size(), MS_SYNC) != 0) {
    return system_error(path_, "write", errno);
  }
  if (::fsync(descriptor_) != 0) return system_error(path_, "write", errno);
  sync_directory(path_.parent_path());
  return {};
}

Status ScratchFile::rename(const std::filesystem::path& path) {
  if (::rename(path_.c_str(), path.c_str()) != 0) return system_error(path, "write", errno);
  path_ = path;
  return {};
}

}  // namespace fptq
