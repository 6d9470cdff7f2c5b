#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace fptq {
namespace {

namespace fs = std::filesystem;

Status write_all(int descriptor, const fs::path& path, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return system_error(path, "write", errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace

void sync_directory(const fs::path& directory) {
  const int descriptor = ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

Error system_error(const fs::path& path, const char* action, int code) {
  const Error::Kind kind = code == ENOENT ? Error::Kind::kNotFound
                           : code == ENOSPC || code == EDQUOT || code == EFBIG ? Error::Kind::kLimit
                                                                               : Error::Kind::kIo;
  std::string message = path.string() + ": cannot " + action + ": " + std::strerror(code);
  if (kind == Error::Kind::kLimit) message += ". Free some space, or write to another disk";
  return Error{kind, std::move(message)};
}

Result<MappedFile> MappedFile::open(const fs::path& path) {
  // Without O_NONBLOCK, opening a named pipe waits for somebody to write into it.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return system_error(path, "open", errno);
  struct stat info {};
  if (::fstat(descriptor, &info) != 0) {
    const int code = errno;
    ::close(descriptor);
    return system_error(path, "read", code);
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(descriptor);
    return Error{Error::Kind::kIo, path.string() + ": expected a regular file, got something else"};
  }
  MappedFile file;
  file.path_ = path;
  file.size_bytes_ = static_cast<std::size_t>(info.st_size);
  if (file.size_bytes_ != 0) {
    void* data = ::mmap(nullptr, file.size_bytes_, PROT_READ, MAP_SHARED, descriptor, 0);
    if (data == MAP_FAILED) {
      const int code = errno;
      ::close(descriptor);
      file.size_bytes_ = 0;
      return system_error(path, "map", code);
    }
    file.data_ = static_cast<const std::byte*>(data);
  }
  ::close(descriptor);
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_bytes_);
}

void MappedFile::release(std::span<const std::byte> part) const {
  if (part.empty()) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(part.data()) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(part.data() + part.size());
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

Result<std::string> read_text_file(const fs::path& path, std::uint64_t max_bytes) {
  FPTQ_TRY(const MappedFile file, MappedFile::open(path));
  if (file.bytes().size() > max_bytes) {
    return Error{Error::Kind::kLimit, path.string() + ": expected at most " +
                                          std::to_string(max_bytes) + " bytes, got " +
                                          std::to_string(file.bytes().size())};
  }
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

Result<OutputFile> OutputFile::create(const fs::path& final_path) {
  OutputFile file;
  file.final_path_ = final_path;
  file.temporary_path_ = final_path;
  file.temporary_path_ += ".partial";
  file.descriptor_ =
      ::open(file.temporary_path_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (file.descriptor_ < 0) return system_error(file.temporary_path_, "create", errno);
  return file;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : final_path_(std::move(other.final_path_)),
      temporary_path_(std::move(other.temporary_path_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_path_.c_str());
}

Status OutputFile::write(std::span<const std::byte> bytes) {
  return write_all(descriptor_, temporary_path_, bytes);
}

Status OutputFile::write(std::string_view text) {
  return write(std::as_bytes(std::span(text.data(), text.size())));
}

Status OutputFile::write_at(std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written =
        ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset_bytes));
    if (written < 0) {
      if (errno == EINTR) continue;
      return system_error(temporary_path_, "write", errno);
    }
    offset_bytes += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Status OutputFile::commit() {
  if (::fsync(descriptor_) != 0) return system_error(temporary_path_, "write", errno);
  if (::close(std::exchange(descriptor_, -1)) != 0) {
    const int code = errno;
    ::unlink(temporary_path_.c_str());
    return system_error(temporary_path_, "write", code);
  }
  if (::rename(temporary_path_.c_str(), final_path_.c_str()) != 0) {
    const int code = errno;
    ::unlink(temporary_path_.c_str());
    return system_error(final_path_, "rename a finished file to", code);
  }
  sync_directory(final_path_.parent_path());
  return {};
}

Status write_text_file(const fs::path& path, std::string_view text) {
  FPTQ_TRY(OutputFile file, OutputFile::create(path));
  FPTQ_TRY_VOID(file.write(text));
  return file.commit();
}

Result<OutputDirectory> OutputDirectory::create(const fs::path& final_path, bool overwrite,
                                                bool keep_partial) {
  OutputDirectory directory;
  directory.final_path_ = final_path;
  // "out/" and "out" are the same place.
  if (!directory.final_path_.has_filename()) {
    directory.final_path_ = directory.final_path_.parent_path();
  }
  directory.partial_path_ = directory.final_path_;
  directory.partial_path_ += ".partial";
  std::error_code failure;
  if (fs::exists(directory.final_path_, failure) && !overwrite) {
    return Error{Error::Kind::kInvalidArgument,
                 directory.final_path_.string() +
                     ": already exists. Give another name, remove it, or pass --overwrite"};
  }
  if (!keep_partial) {
    fs::remove_all(directory.partial_path_, failure);
    if (failure) return system_error(directory.partial_path_, "remove", failure.value());
  }
  if (::mkdir(directory.partial_path_.c_str(), 0755) != 0 && errno != EEXIST) {
    return system_error(directory.partial_path_, "create the directory", errno);
  }
  return directory;
}

Status OutputDirectory::commit() {
  sync_directory(partial_path_);
  std::error_code failure;
  if (fs::exists(final_path_, failure)) {
    // The old output is moved aside first, so that FINAL is always either old or new.
    fs::path old_path = final_path_;
    old_path += ".old";
    fs::remove_all(old_path, failure);
    fs::rename(final_path_, old_path, failure);
    if (failure) return system_error(final_path_, "replace", failure.value());
    fs::rename(partial_path_, final_path_, failure);
    if (failure)
      return system_error(final_path_, "rename a finished directory to", failure.value());
    fs::remove_all(old_path, failure);
  } else {
    fs::rename(partial_path_, final_path_, failure);
    if (failure)
      return system_error(final_path_, "rename a finished directory to", failure.value());
  }
  sync_directory(final_path_.parent_path());
  return {};
}

void OutputDirectory::discard() {
  std::error_code failure;
  fs::remove_all(partial_path_, failure);
}

}  // namespace fptq
