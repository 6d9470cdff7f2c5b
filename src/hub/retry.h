// When a request is repeated, and when that ends.

#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "hub/http.h"

namespace fptq::hub {

// Says a line to the user: "model.safetensors: ...; trying again".
using NoteFn = std::function<void(const std::string&)>;

// Whether another try may succeed: a broken connection, too many requests, a server in trouble.
[[nodiscard]] bool may_succeed_later(const HttpResponse& response);

// Waits between the tries of one request: HttpClient's environment's first wait, doubled each time,
// or what the server asks for in Retry-After, up to 5 minutes.
class Retry {
 public:
  Retry(const Environment& environment, const HttpClient& client, const NoteFn& note)
      : environment_(environment), client_(client), note_(note) {}

  // Waits before the next try. Errors: kIo where there were five, or where the server wants to be
  // left alone for longer; kInterrupted.
  [[nodiscard]] Status wait(const HttpResponse& response, const std::string& where);

  // The last try got further: count from the beginning.
  void succeeded() { tries_ = 0; }

 private:
  const Environment& environment_;
  const HttpClient& client_;
  const NoteFn& note_;
  int tries_ = 0;
};

// Performs a request until it gets an answer that is worth reading.
[[nodiscard]] Result<HttpResponse> perform_with_retries(HttpClient& client,
                                                        const HttpRequest& request,
                                                        const Environment& environment,
                                                        const NoteFn& note);

}  // namespace fptq::hub
