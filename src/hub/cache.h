// The part of the Hugging Face cache that belongs to one repository, as its own clients lay it out:
//
//   models--org--name/blobs/ETAG                    a file's content, under its name when complete
//   models--org--name/blobs/ETAG.incomplete         a content that is being fetched
//   models--org--name/snapshots/COMMIT/PATH         a link to ../../blobs/ETAG
//   models--org--name/refs/REVISION                 the commit that a branch or tag stood for
//   .locks/models--org--name/ETAG.lock              held by whoever writes that content

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "base/result.h"
#include "io/hub_cache.h"

namespace fptq::hub {

// Holds a lock file until it is destroyed.
class CacheLock {
 public:
  explicit CacheLock(int descriptor) : descriptor_(descriptor) {}
  CacheLock(CacheLock&& other) noexcept;
  CacheLock& operator=(CacheLock&&) = delete;
  ~CacheLock();

 private:
  int descriptor_;
};

class RepositoryCache {
 public:
  // Makes the directories. Errors: kIo, kLimit.
  [[nodiscard]] static Result<RepositoryCache> open(const io::HubName& name);

  [[nodiscard]] std::filesystem::path blob(const std::string& etag) const;
  [[nodiscard]] std::filesystem::path part(const std::string& etag) const;
  [[nodiscard]] std::filesystem::path snapshot(const std::string& commit) const;

  // Waits until nobody else fetches that content, or writes what `etag` names otherwise. `waiting`
  // is called several times a second; false ends it. Errors: kIo; kInterrupted.
  [[nodiscard]] Result<CacheLock> lock(const std::string& etag,
                                       const std::function<bool()>& waiting) const;

  // Makes snapshots/COMMIT/PATH a link to a blob; an old link is replaced.
  [[nodiscard]] Status link(const std::string& commit, const std::string& path,
                            const std::string& etag) const;

  // Remembers which commit a branch or tag stands for. Nothing to do where it is a commit itself.
  [[nodiscard]] Status remember(const std::string& revision, const std::string& commit) const;

  // Errors: kLimit where the disk has less room than that.
  [[nodiscard]] Status check_space(std::uint64_t needed_bytes) const;

 private:
  RepositoryCache() = default;

  std::filesystem::path root_;
  std::filesystem::path locks_;
};

}  // namespace fptq::hub
