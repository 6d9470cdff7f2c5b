// Addresses, as far as requests and redirects need them.

#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace fptq::hub {

// Everything but letters, digits and "-._~" as %XX; `keep`: further characters that stay.
[[nodiscard]] std::string percent_encoded(std::string_view text, std::string_view keep = "");

// "https://host:443": scheme, host in lower case and port, the default one included.
// Errors: kFormat for what is not an absolute http or https address.
[[nodiscard]] Result<std::string> origin_of(const std::string& url);

// Where a redirect leads: `location` as an address, or relative to `url`.
// Errors: kFormat for an address that is neither http nor https, or that leaves https for http.
[[nodiscard]] Result<std::string> redirect_target(const std::string& url,
                                                  const std::string& location);

}  // namespace fptq::hub
