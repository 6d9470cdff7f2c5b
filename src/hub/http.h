// HTTP requests to a hub: redirects, the token, time-outs. Repetition is retry.h's.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "hub/environment.h"

namespace fptq::hub {

struct HttpResponse {
  int status = 0;                              // 0: the connection failed; `trouble` says how
  std::string trouble;                         // empty where the answer arrived completely
  std::map<std::string, std::string> headers;  // names in lower case; of several, the last
  std::string body;                            // of an answer that was not given to a sink

  // Empty where there is no such header.
  [[nodiscard]] std::string header(const std::string& name) const;
};

struct HttpRequest {
  std::string url;
  // Ask for headers only, and follow redirects only within the endpoint's own host: that host
  // answers for the file, even where its bytes lie elsewhere.
  bool head = false;
  // Ask for the bytes from here on.
  std::uint64_t from_byte = 0;
  std::int64_t timeout_s = 10;
  // The headers of an answer with status 200 or 206, then its bytes. Without a sink, or with
  // another status, the body goes into the response. An error ends the request.
  std::function<Status(const HttpResponse&)> begin;
  std::function<Status(std::string_view)> sink;
};

// Thread safety: none.
class HttpClient {
 public:
  // keep_going: called several times a second during requests; false interrupts them.
  static Result<std::unique_ptr<HttpClient>> create(const Environment& environment,
                                                    std::function<bool()> keep_going);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // One request and what it is redirected to. The token is sent to the endpoint's own origin only.
  // Errors: kInterrupted; the sink's; kFormat for redirects that are not followed and for bodies
  // above 64 MiB; kIo for a certificate that does not hold. Failures that another try may mend are
  // responses with `trouble`.
  [[nodiscard]] Result<HttpResponse> perform(const HttpRequest& request);

  [[nodiscard]] bool keep_going() const { return keep_going_(); }

 private:
  struct Transfer;
  HttpClient(const Environment& environment, std::string origin, void* handle,
             std::function<bool()> keep_going);
  Result<HttpResponse> perform_once(const HttpRequest& request, const std::string& url);

  const Environment& environment_;
  std::string endpoint_origin_;
  void* handle_;  // CURL*: its header stays out of ours
  std::function<bool()> keep_going_;
};

}  // namespace fptq::hub
