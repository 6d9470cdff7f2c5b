// What a hub says about a model or a data set.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "hub/environment.h"
#include "hub/http.h"
#include "hub/retry.h"
#include "io/hub_cache.h"

namespace fptq::hub {

struct Listing {
  std::string commit;              // 40 hexadecimal digits
  std::vector<std::string> paths;  // safe ones
};

struct RemoteFile {
  std::string path;
  std::string url;
  std::string etag;
  std::optional<std::uint64_t> size_bytes;
};

// A client and what goes with every request.
struct Connection {
  const Environment& environment;
  HttpClient& client;
  const NoteFn& note;
};

// GET api/models/ID/revision/REVISION, or api/datasets/...
// Errors: kNotFound for a name or revision that is not there; kIo where access is refused, with
// what to do, and where the server fails; kFormat for answers that break the rules, also for a path
// that would leave the snapshot's directory.
[[nodiscard]] Result<Listing> list_repository(const Connection& connection,
                                              const io::HubName& name);

// HEAD ID/resolve/COMMIT/PATH. Errors: as above; kFormat also where the answer is about another
// commit or has no usable etag.
[[nodiscard]] Result<RemoteFile> find_file(const Connection& connection, const io::HubName& name,
                                           const std::string& commit, const std::string& path);

// Why there is no file in an answer with that status.
[[nodiscard]] Error refusal(const Connection& connection, const HttpResponse& response,
                            const std::string& where);

}  // namespace fptq::hub
