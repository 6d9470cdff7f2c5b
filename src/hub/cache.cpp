#include "hub/cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "base/file.h"

namespace fptq::hub {
namespace {

namespace fs = std::filesystem;

Status make_directories(const fs::path& path) {
  std::error_code failure;
  fs::create_directories(path, failure);
  if (failure) return system_error(path, "create the directory", failure.value());
  return {};
}

}  // namespace

CacheLock::CacheLock(CacheLock&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}

CacheLock::~CacheLock() {
  // Closing releases the lock. The file stays: another process may hold it open.
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<RepositoryCache> RepositoryCache::open(const io::HubName& name) {
  RepositoryCache cache;
  cache.root_ = io::hub_repository_dir(name);
  cache.locks_ = io::hub_cache_dir() / ".locks" / cache.root_.filename();
  for (const char* part : {"blobs", "refs", "snapshots"}) {
    FPTQ_TRY_VOID(make_directories(cache.root_ / part));
  }
  FPTQ_TRY_VOID(make_directories(cache.locks_));
  return cache;
}

fs::path RepositoryCache::blob(const std::string& etag) const {
  return root_ / "blobs" / etag;
}

fs::path RepositoryCache::part(const std::string& etag) const {
  return root_ / "blobs" / (etag + ".incomplete");
}

fs::path RepositoryCache::snapshot(const std::string& commit) const {
  return root_ / "snapshots" / commit;
}

Result<CacheLock> RepositoryCache::lock(const std::string& etag,
                                        const std::function<bool()>& waiting) const {
  const fs::path path = locks_ / (etag + ".lock");
  const int descriptor = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  if (descriptor < 0) return system_error(path, "create", errno);
  CacheLock lock(descriptor);
  while (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return system_error(path, "lock", errno);
    if (!waiting()) return Error{Error::Kind::kInterrupted, "interrupted"};
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return lock;
}

Status RepositoryCache::link(const std::string& commit, const std::string& path,
                             const std::string& etag) const {
  const fs::path place = snapshot(commit) / path;
  FPTQ_TRY_VOID(make_directories(place.parent_path()));
  const fs::path target = fs::relative(blob(etag), place.parent_path());
  std::error_code failure;
  if (fs::read_symlink(place, failure) == target && !failure) return {};
  fs::remove(place, failure);
  fs::create_symlink(target, place, failure);
  // Another client may have been faster.
  std::error_code ignored;
  if (failure == std::errc::file_exists && fs::read_symlink(place, ignored) == target) return {};
  if (failure) return system_error(place, "create the link", failure.value());
  return {};
}

Status RepositoryCache::remember(const std::string& revision, const std::string& commit) const {
  if (revision == commit) return {};
  const fs::path path = root_ / "refs" / revision;
  FPTQ_TRY_VOID(make_directories(path.parent_path()));
  return write_text_file(path, commit);
}

Status RepositoryCache::check_space(std::uint64_t needed_bytes) const {
  std::error_code failure;
  const fs::space_info space = fs::space(root_, failure);
  if (failure || space.available >= needed_bytes) return {};
  return Error{Error::Kind::kLimit,
               root_.string() + ": expected room for " + std::to_string(needed_bytes) +
                   " bytes on this disk, got " + std::to_string(space.available) +
                   ". Free some space, or set HF_HUB_CACHE to a directory on another disk"};
}

}  // namespace fptq::hub
