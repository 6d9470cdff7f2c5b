// One file's content, into the cache.

#pragma once

#include "base/result.h"
#include "hub/cache.h"
#include "hub/meter.h"
#include "hub/repository.h"

namespace fptq::hub {

// Fetches a file into its blob, unless that is there. What an earlier run left is not fetched
// again, and a connection that is cut is taken up where it was; both keep the part file on failure.
// Returns whether anything was fetched.
//
// Errors: kFormat where the content is not what its etag or its size says (the part is thrown
// away); kIo, kLimit, kInterrupted, and refusal()'s.
[[nodiscard]] Result<bool> download(const Connection& connection, const RepositoryCache& cache,
                                    const RemoteFile& file, Meter& meter);

}  // namespace fptq::hub
