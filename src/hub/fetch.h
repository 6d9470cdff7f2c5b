// Models and data sets from a hub into the cache.

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "hub/environment.h"
#include "hub/retry.h"
#include "io/hub_cache.h"

namespace fptq::hub {

struct FetchOptions {
  std::vector<std::string> include;  // globs; empty: what fptq reads
  std::string config;                // of a data set; empty: all
  std::string split;                 // of a data set; empty: all
  ProgressFn progress;
  NoteFn note;
};

struct FetchedFile {
  std::string path;             // in the repository
  std::filesystem::path local;  // in the snapshot
  std::uint64_t size_bytes;
  bool fetched;  // false: it was in the cache
};

struct Fetched {
  io::HubName name;  // with the revision that was taken
  std::string commit;
  std::filesystem::path snapshot;
  std::vector<FetchedFile> files;
};

// Makes sure that the cache has the files that are wanted of the newest state of a revision. With
// `offline`, looks into the cache only. A snapshot shows a file only once all are complete.
//
// A data set without Parquet files of its own is taken from refs/convert/parquet, where hubs keep a
// converted copy.
//
// Errors: kNotFound, kIo, kFormat, kUnsupported, kInvalidArgument as they say; kLimit before the
// download where the disk is too small; kInterrupted: the same call goes on later.
[[nodiscard]] Result<Fetched> fetch(const io::HubName& name, const FetchOptions& options,
                                    const Environment& environment);

}  // namespace fptq::hub
