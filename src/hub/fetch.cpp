#include "hub/fetch.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "hub/cache.h"
#include "hub/download.h"
#include "hub/http.h"
#include "hub/meter.h"
#include "hub/repository.h"
#include "hub/selection.h"

namespace fptq::hub {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConvertedRevision = "refs/convert/parquet";

Result<std::vector<std::string>> select(const std::vector<std::string>& paths,
                                        const io::HubName& name, const FetchOptions& options) {
  if (!options.include.empty()) return select_by_globs(paths, options.include);
  if (!name.dataset) return select_model_files(paths);
  FPTQ_TRY(const std::vector<DataFile> files,
           select_data_files(parquet_files(paths), options.config, options.split));
  std::vector<std::string> selected;
  selected.reserve(files.size());
  for (const DataFile& file : files) selected.push_back(file.path);
  return selected;
}

// `name`, or the converted copy of a data set that has no Parquet files.
Result<Listing> list_with_data(const Connection& connection, io::HubName& name,
                               const FetchOptions& options) {
  FPTQ_TRY(Listing listing, list_repository(connection, name));
  if (!name.dataset || name.revision != "main" || !options.include.empty() ||
      !parquet_files(listing.paths).empty()) {
    return listing;
  }
  io::HubName converted = name;
  converted.revision = kConvertedRevision;
  auto second = list_repository(connection, converted);
  if (!second && second.error().kind == Error::Kind::kNotFound) return listing;
  if (!second) return std::move(second).error();
  if (connection.note) {
    connection.note(name.id() + ": no Parquet files on main; taking " + kConvertedRevision);
  }
  name = std::move(converted);
  return second;
}

std::uint64_t size_on_disk(const fs::path& path) {
  std::error_code failure;
  const std::uint64_t size_bytes = fs::file_size(path, failure);
  return failure ? 0 : size_bytes;
}

// What still has to arrive has to find room.
Status check_space(const RepositoryCache& cache, const std::vector<RemoteFile>& files,
                   Meter& meter) {
  std::uint64_t missing_bytes = 0;
  for (const RemoteFile& file : files) {
    std::error_code failure;
    if (!file.size_bytes || fs::exists(cache.blob(file.etag), failure)) continue;
    meter.expect(*file.size_bytes);
    const std::uint64_t there = std::min(size_on_disk(cache.part(file.etag)), *file.size_bytes);
    if (__builtin_add_overflow(missing_bytes, *file.size_bytes - there, &missing_bytes)) {
      missing_bytes = UINT64_MAX;
    }
  }
  return cache.check_space(missing_bytes);
}

Result<Fetched> fetch_files(const Connection& connection, io::HubName name,
                            const FetchOptions& options, Meter& meter) {
  FPTQ_TRY(const Listing listing, list_with_data(connection, name, options));
  auto selected = select(listing.paths, name, options);
  if (!selected) return with_context(selected.error(), name.id());

  std::vector<RemoteFile> remote;
  for (const std::string& path : *selected) {
    FPTQ_TRY(RemoteFile file, find_file(connection, name, listing.commit, path));
    remote.push_back(std::move(file));
  }
  FPTQ_TRY(const RepositoryCache cache, RepositoryCache::open(name));
  FPTQ_TRY_VOID(check_space(cache, remote, meter));

  Fetched result{name, listing.commit, cache.snapshot(listing.commit), {}};
  for (const RemoteFile& file : remote) {
    FPTQ_TRY(const bool fetched, download(connection, cache, file, meter));
    result.files.push_back(
        {file.path, result.snapshot / file.path, size_on_disk(cache.blob(file.etag)), fetched});
  }
  // Two commands that fetch the same would write the same names.
  FPTQ_TRY(const CacheLock lock, cache.lock("snapshots", [&] { return meter.report(); }));
  for (const RemoteFile& file : remote) {
    FPTQ_TRY_VOID(cache.link(listing.commit, file.path, file.etag));
  }
  FPTQ_TRY_VOID(cache.remember(name.revision, listing.commit));
  return result;
}

Result<Fetched> find_in_cache(const io::HubName& name, const FetchOptions& options) {
  io::HubName found = name;
  std::optional<fs::path> snapshot = io::find_snapshot(found);
  if (!snapshot && name.dataset && name.revision == "main") {
    found.revision = kConvertedRevision;
    snapshot = io::find_snapshot(found);
  }
  if (!snapshot) {
    return Error{Error::Kind::kNotFound,
                 name.id() + ": the cache at " + io::hub_cache_dir().string() +
                     " does not hold revision " + name.revision +
                     ", and HF_HUB_OFFLINE says that nothing may be fetched"};
  }
  std::vector<std::string> paths;
  std::error_code failure;
  for (const auto& item : fs::recursive_directory_iterator(*snapshot, failure)) {
    if (item.is_regular_file(failure)) {
      paths.push_back(item.path().lexically_relative(*snapshot).string());
    }
  }
  std::sort(paths.begin(), paths.end());
  auto selected = select(paths, found, options);
  if (!selected) {
    return with_context(selected.error(), snapshot->string() + " (HF_HUB_OFFLINE is set)");
  }
  Fetched result{found, snapshot->filename().string(), *snapshot, {}};
  for (const std::string& path : *selected) {
    result.files.push_back({path, *snapshot / path, size_on_disk(*snapshot / path), false});
  }
  return result;
}

}  // namespace

Result<Fetched> fetch(const io::HubName& name, const FetchOptions& options,
                      const Environment& environment) {
  if (environment.offline) return find_in_cache(name, options);
  Meter meter(options.progress);
  FPTQ_TRY(const std::unique_ptr<HttpClient> client,
           HttpClient::create(environment, [&] { return meter.report(); }));
  auto fetched = fetch_files({environment, *client, options.note}, name, options, meter);
  meter.finish();  // after a failure too, so that no bar stands before its message
  return fetched;
}

}  // namespace fptq::hub
