#include "cli/hub_models.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "hub/fetch.h"
#include "io/hub_cache.h"

namespace fptq::cli {

void fetch_named_models(Console& console) {
  io::set_hub_fetcher([&console](const io::HubName& name) -> Result<std::filesystem::path> {
    FPTQ_TRY(const hub::Environment environment, hub::read_environment());
    // What is in the cache is good enough offline: opening it says what is missing.
    if (environment.offline) {
      if (const auto snapshot = io::find_snapshot(name)) return *snapshot;
    } else {
      console.note(fmt::format("fetching {} from {}", name.id(), environment.endpoint));
    }
    hub::FetchOptions options;
    options.progress = console.progress();
    options.note = [&console](const std::string& line) { console.note(line); };
    FPTQ_TRY(hub::Fetched fetched, hub::fetch(name, options, environment));
    return std::move(fetched.snapshot);
  });
}

}  // namespace fptq::cli
