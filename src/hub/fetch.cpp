#include "hub/fetch.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

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

// Requests that run at once. More would gain little from one server, and some count them.
constexpr std::size_t kConnections = 4;

// A connection of its own for each of a few threads, which share the files of a repository.
class Downloads {
 public:
  static Result<std::unique_ptr<Downloads>> create(const Environment& environment,
                                                   const NoteFn& note, const Meter& meter) {
    std::unique_ptr<Downloads> result(new Downloads(environment, note));
    for (std::size_t i = 0; i < kConnections; ++i) {
      FPTQ_TRY(std::unique_ptr<HttpClient> client,
               HttpClient::create(environment, [&meter, all = result.get()] {
                 return !all->failed_ && meter.report();
               }));
      result->clients_.push_back(std::move(client));
    }
    return result;
  }

  // The first connection, for what comes one after the other.
  [[nodiscard]] Connection first() const { return {environment_, *clients_.front(), note_}; }

  // Calls work(connection, i) for each i below `count`, a few at a time in ascending order. After
  // an error nothing else is begun, and what runs is interrupted. Returns the first error that
  // came.
  template <typename Work>
  Status for_each(std::size_t count, const Work& work) {
    std::atomic<std::size_t> next = 0;
    const auto run = [&](HttpClient& client) {
      const Connection connection{environment_, client, note_};
      for (std::size_t i = next++; i < count && !failed_; i = next++) {
        if (Status status = work(connection, i); !status) fail(std::move(status));
      }
    };
    std::vector<std::thread> threads;
    for (std::size_t i = 1; i < std::min(count, clients_.size()); ++i) {
      threads.emplace_back(run, std::ref(*clients_[i]));
    }
    run(*clients_.front());
    for (std::thread& thread : threads) thread.join();
    return error_;
  }

 private:
  Downloads(const Environment& environment, const NoteFn& note)
      : environment_(environment), note_([this, &note](const std::string& line) {
          const std::lock_guard lock(mutex_);
          if (note) note(line);
        }) {}

  // What is interrupted because of an error comes after it.
  void fail(Status status) {
    const std::lock_guard lock(mutex_);
    if (!failed_) error_ = std::move(status);
    failed_ = true;
  }

  const Environment& environment_;
  std::mutex mutex_;
  NoteFn note_;
  std::vector<std::unique_ptr<HttpClient>> clients_;
  std::atomic<bool> failed_ = false;
  Status error_;
};

Result<Fetched> fetch_files(Downloads& downloads, io::HubName name, const FetchOptions& options,
                            Meter& meter) {
  const Connection connection = downloads.first();
  FPTQ_TRY(const Listing listing, list_with_data(connection, name, options));
  auto selected = select(listing.paths, name, options);
  if (!selected) return with_context(selected.error(), name.id());

  std::vector<RemoteFile> remote(selected->size());
  FPTQ_TRY_VOID(
      downloads.for_each(remote.size(), [&](const Connection& own, std::size_t i) -> Status {
        FPTQ_TRY(remote[i], find_file(own, name, listing.commit, (*selected)[i]));
        return {};
      }));
  FPTQ_TRY(const RepositoryCache cache, RepositoryCache::open(name));
  FPTQ_TRY_VOID(check_space(cache, remote, meter));

  Fetched result{name, listing.commit, cache.snapshot(listing.commit), {}};
  result.files.resize(remote.size());
  FPTQ_TRY_VOID(
      downloads.for_each(remote.size(), [&](const Connection& own, std::size_t i) -> Status {
        const RemoteFile& file = remote[i];
        FPTQ_TRY(const bool fetched, download(own, cache, file, meter));
        result.files[i] = {file.path, result.snapshot / file.path,
                           size_on_disk(cache.blob(file.etag)), fetched};
        return {};
      }));
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
  FPTQ_TRY(const std::unique_ptr<Downloads> downloads,
           Downloads::create(environment, options.note, meter));
  auto fetched = fetch_files(*downloads, name, options, meter);
  meter.finish();  // after a failure too, so that no bar stands before its message
  return fetched;
}

}  // namespace fptq::hub
