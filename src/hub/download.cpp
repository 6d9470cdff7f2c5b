#include "hub/download.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <span>
#include <utility>
#include <vector>

#include "base/file.h"
#include "hub/etag.h"

namespace fptq::hub {
namespace {

namespace fs = std::filesystem;

// A content that is arriving: the part file and what is known of its bytes.
class Part {
 public:
  Part(const RemoteFile& file, fs::path path, Meter& meter)
      : file_(file), path_(std::move(path)), meter_(meter), check_(file.etag, file.size_bytes) {}
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;
  ~Part() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  // Opens the part file and reads what it has. Errors: kIo; kInterrupted.
  Status open();
  // Throws away what is there.
  Status restart();
  Status append(std::string_view bytes);
  // What the headers of an answer promise, compared with what is known.
  Status begin(const HttpResponse& response);
  // Checks the content and gives it its name.
  Status finish(const fs::path& final_path);

  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
  // Whether all is there; where the size is not known, only the connection's end tells.
  [[nodiscard]] bool is_whole() const {
    return file_.size_bytes && size_bytes_ == *file_.size_bytes;
  }

 private:
  Error wrong_size(const std::string& got) const {
    return Error{Error::Kind::kFormat, file_.url + ": expected " +
                                           std::to_string(file_.size_bytes.value_or(0)) +
                                           " bytes, got " + got};
  }
  void discard() { ::unlink(path_.c_str()); }

  const RemoteFile& file_;
  fs::path path_;
  Meter& meter_;
  ContentCheck check_;
  int descriptor_ = -1;
  std::uint64_t size_bytes_ = 0;
};

Status Part::open() {
  descriptor_ = ::open(path_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  if (descriptor_ < 0) return system_error(path_, "create", errno);
  std::vector<char> buffer(std::size_t{1} << 20);
  for (;;) {
    const ssize_t got = ::read(descriptor_, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(path_, "read", errno);
    if (got == 0) break;
    const auto bytes = std::as_bytes(std::span(buffer.data(), static_cast<std::size_t>(got)));
    check_.update(bytes);
    size_bytes_ += bytes.size();
    meter_.arrived(bytes.size());
    if (!meter_.report()) return Error{Error::Kind::kInterrupted, "interrupted"};
  }
  if (file_.size_bytes && size_bytes_ > *file_.size_bytes) return restart();
  return {};
}

Status Part::restart() {
  if (::ftruncate(descriptor_, 0) != 0 || ::lseek(descriptor_, 0, SEEK_SET) != 0) {
    return system_error(path_, "empty", errno);
  }
  meter_.lost(size_bytes_);
  size_bytes_ = 0;
  check_ = ContentCheck(file_.etag, file_.size_bytes);
  return {};
}

Status Part::append(std::string_view bytes) {
  if (file_.size_bytes && bytes.size() > *file_.size_bytes - size_bytes_) {
    discard();
    return wrong_size("more");
  }
  const auto all = std::as_bytes(std::span(bytes.data(), bytes.size()));
  for (auto left = all; !left.empty();) {
    const ssize_t written = ::write(descriptor_, left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_error(path_, "write", errno);
    left = left.subspan(static_cast<std::size_t>(written));
  }
  check_.update(all);
  size_bytes_ += all.size();
  meter_.arrived(all.size());
  return {};
}

Status Part::begin(const HttpResponse& response) {
  if (response.status == 200) {
    if (size_bytes_ > 0) FPTQ_TRY_VOID(restart());
    const std::string length = response.header("content-length");
    if (file_.size_bytes && !length.empty() && length != std::to_string(*file_.size_bytes)) {
      discard();
      return wrong_size(length);
    }
    return {};
  }
  const std::string range = response.header("content-range");
  if (range.starts_with("bytes " + std::to_string(size_bytes_) + "-")) return {};
  return Error{Error::Kind::kFormat, file_.url + ": expected the bytes from " +
                                         std::to_string(size_bytes_) + " on, got the range \"" +
                                         range + "\""};
}

Status Part::finish(const fs::path& final_path) {
  if (const auto mismatch = check_.mismatch()) {
    discard();
    return Error{Error::Kind::kFormat,
                 file_.url + ": " + *mismatch + ". What arrived was thrown away; try again"};
  }
  if (::fsync(descriptor_) != 0) return system_error(path_, "write", errno);
  if (::rename(path_.c_str(), final_path.c_str()) != 0) {
    return system_error(final_path, "rename a finished file to", errno);
  }
  return {};
}

// Whether the blob is there, with the size that the server says.
bool is_there(const fs::path& blob, const RemoteFile& file) {
  std::error_code failure;
  const std::uint64_t size_bytes = fs::file_size(blob, failure);
  return !failure && (!file.size_bytes || size_bytes == *file.size_bytes);
}

// Requests what is missing until it is there.
Status fill(const Connection& connection, const RemoteFile& file, Part& part) {
  Retry retry(connection.environment, connection.client, connection.note);
  while (!part.is_whole()) {
    const std::uint64_t before = part.size_bytes();
    HttpRequest request;
    request.url = file.url;
    request.from_byte = before;
    request.timeout_s = connection.environment.download_timeout_s;
    request.begin = [&](const HttpResponse& response) { return part.begin(response); };
    request.sink = [&](std::string_view bytes) { return part.append(bytes); };
    FPTQ_TRY(HttpResponse response, connection.client.perform(request));
    if (response.status == 416 && before > 0) {
      FPTQ_TRY_VOID(part.restart());
      response.trouble = "the server has no bytes from " + std::to_string(before) + " on";
    } else if (!may_succeed_later(response)) {
      if (response.status != 200 && response.status != 206) {
        return refusal(connection, response, file.url);
      }
      if (part.is_whole() || !file.size_bytes) return {};
      response.trouble = "the connection was cut";
    }
    constexpr std::uint64_t kProgressBytes = 1 << 20;
    if (part.size_bytes() > before + kProgressBytes) retry.succeeded();
    FPTQ_TRY_VOID(retry.wait(response, file.path));
  }
  return {};
}

}  // namespace

Result<bool> download(const Connection& connection, const RepositoryCache& cache,
                      const RemoteFile& file, Meter& meter) {
  const fs::path blob = cache.blob(file.etag);
  FPTQ_TRY(const CacheLock lock, cache.lock(file.etag, [&] { return meter.report(); }));
  if (is_there(blob, file)) return false;
  Part part(file, cache.part(file.etag), meter);
  FPTQ_TRY_VOID(part.open());
  FPTQ_TRY_VOID(fill(connection, file, part));
  FPTQ_TRY_VOID(part.finish(blob));
  return true;
}

}  // namespace fptq::hub
