#include "hub/http.h"

#include <curl/curl.h>

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "hub/url.h"

namespace fptq::hub {
namespace {

constexpr int kMaxRedirects = 10;
constexpr std::size_t kMaxBodyBytes = std::size_t{64} << 20;

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, FreeList>;

void append(HeaderList& list, const std::string& line) {
  list.reset(curl_slist_append(list.release(), line.c_str()));
}

template <typename Value>
void set(void* handle, CURLoption option, Value value) {
  curl_easy_setopt(handle, option, value);
}

// What a user can do about a failure to connect.
std::string explain(CURLcode code, const char* detail, std::int64_t timeout_s) {
  if (code == CURLE_OPERATION_TIMEDOUT) {
    return "nothing arrived for " + std::to_string(timeout_s) +
           " s (HF_HUB_DOWNLOAD_TIMEOUT or HF_HUB_ETAG_TIMEOUT set how long to wait)";
  }
  if (code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING) {
    return "the connection was cut";
  }
  const std::string_view text = detail;
  return text.empty() ? curl_easy_strerror(code) : std::string(text);
}

}  // namespace

std::string HttpResponse::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

// What curl's callbacks work on.
struct HttpClient::Transfer {
  const HttpClient& client;
  const HttpRequest& request;
  HttpResponse response;
  std::optional<Error> error;
  bool begun = false;
  bool stalled = false;
  curl_off_t arrived_bytes = 0;
  std::chrono::steady_clock::time_point last_arrival = std::chrono::steady_clock::now();

  // curl's own limit of speed looks at an average of the last seconds, and so comes late.
  bool may_go_on(curl_off_t now_bytes) {
    const auto now = std::chrono::steady_clock::now();
    if (now_bytes != arrived_bytes) last_arrival = now;
    arrived_bytes = now_bytes;
    stalled = now - last_arrival > std::chrono::seconds(request.timeout_s);
    return !stalled && client.keep_going();
  }

  bool goes_to_sink() const {
    return request.sink && (response.status == 200 || response.status == 206);
  }

  Status take(std::string_view bytes) {
    if (!goes_to_sink()) {
      if (response.body.size() + bytes.size() > kMaxBodyBytes) {
        return Error{Error::Kind::kFormat, request.url + ": expected an answer of at most " +
                                               std::to_string(kMaxBodyBytes) + " bytes, got more"};
      }
      response.body += bytes;
      return {};
    }
    FPTQ_TRY_VOID(begin());
    return request.sink(bytes);
  }

  Status begin() {
    if (std::exchange(begun, true) || !request.begin) return {};
    return request.begin(response);
  }

  static std::size_t on_body(char* data, std::size_t one, std::size_t size, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    Status status = transfer.take({data, one * size});
    if (status) return one * size;
    transfer.error = std::move(status).error();
    return 0;
  }

  static std::size_t on_header(char* data, std::size_t one, std::size_t size, void* self) {
    auto& response = static_cast<Transfer*>(self)->response;
    const std::string_view line = trimmed({data, one * size});
    if (line.starts_with("HTTP/")) {
      // Of an interim answer, such as 100, nothing is kept.
      response.headers.clear();
      const std::size_t space = line.find(' ');
      response.status = space == std::string_view::npos
                            ? 0
                            : std::atoi(std::string(line.substr(space + 1, 3)).c_str());
    } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
      response.headers[lower(line.substr(0, colon))] = trimmed(line.substr(colon + 1));
    }
    return one * size;
  }

  static int on_progress(void* self, curl_off_t, curl_off_t now_bytes, curl_off_t, curl_off_t) {
    return static_cast<Transfer*>(self)->may_go_on(now_bytes) ? 0 : 1;
  }
};

Result<std::unique_ptr<HttpClient>> HttpClient::create(const Environment& environment,
                                                       std::function<bool()> keep_going) {
  static std::once_flag initialized;
  std::call_once(initialized, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  auto origin = origin_of(environment.endpoint);
  if (!origin)
    return Error{Error::Kind::kInvalidArgument, "HF_ENDPOINT: " + origin.error().message};
  void* handle = curl_easy_init();
  if (handle == nullptr) return Error{Error::Kind::kLimit, "no memory for a connection"};
  return std::unique_ptr<HttpClient>(
      new HttpClient(environment, *std::move(origin), handle, std::move(keep_going)));
}

HttpClient::HttpClient(const Environment& environment, std::string origin, void* handle,
                       std::function<bool()> keep_going)
    : environment_(environment),
      endpoint_origin_(std::move(origin)),
      handle_(handle),
      keep_going_(std::move(keep_going)) {}

HttpClient::~HttpClient() {
  curl_easy_cleanup(handle_);
}

Result<HttpResponse> HttpClient::perform(const HttpRequest& request) {
  std::string url = request.url;
  std::map<std::string, std::string> about_file;  // headers of redirects that speak of the file
  for (int redirects = 0; redirects <= kMaxRedirects; ++redirects) {
    FPTQ_TRY(const std::string origin, origin_of(url));
    FPTQ_TRY(HttpResponse response, perform_once(request, url));
    if (origin == endpoint_origin_) {
      for (const char* name : {"x-repo-commit", "x-linked-etag", "x-linked-size"}) {
        if (const std::string value = response.header(name); !value.empty()) {
          about_file[name] = value;
        }
      }
    }
    const std::string location = response.header("location");
    const bool follows = is_redirect(response.status) && !location.empty();
    if (follows) {
      FPTQ_TRY(url, redirect_target(url, location));
      FPTQ_TRY(const std::string target, origin_of(url));
      if (!request.head || target == endpoint_origin_) continue;
    }
    response.headers.insert(about_file.begin(), about_file.end());
    return response;
  }
  return Error{Error::Kind::kFormat, request.url + ": expected at most " +
                                         std::to_string(kMaxRedirects) + " redirects, got more"};
}

Result<HttpResponse> HttpClient::perform_once(const HttpRequest& request, const std::string& url) {
  Transfer transfer{*this, request, {}, {}};
  char detail[CURL_ERROR_SIZE] = "";
  HeaderList headers;
  append(headers, "Accept-Encoding: identity");  // sizes are those of the file
  FPTQ_TRY(const std::string origin, origin_of(url));
  if (!environment_.token.empty() && origin == endpoint_origin_) {
    append(headers, "Authorization: Bearer " + environment_.token);
  }
  if (request.from_byte > 0) {
    append(headers, "Range: bytes=" + std::to_string(request.from_byte) + "-");
  }
  // Connections are kept, settings are not.
  curl_easy_reset(handle_);
  set(handle_, CURLOPT_URL, url.c_str());
  set(handle_, CURLOPT_PROTOCOLS_STR, "http,https");
  set(handle_, CURLOPT_FOLLOWLOCATION, 0L);
  set(handle_, CURLOPT_NOBODY, request.head ? 1L : 0L);
  set(handle_, CURLOPT_HTTPHEADER, headers.get());
  set(handle_, CURLOPT_USERAGENT, "fptq");
  set(handle_, CURLOPT_NOSIGNAL, 1L);
  set(handle_, CURLOPT_CONNECTTIMEOUT, static_cast<long>(request.timeout_s));
  set(handle_, CURLOPT_BUFFERSIZE, 256L * 1024);
  set(handle_, CURLOPT_ERRORBUFFER, detail);
  set(handle_, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(handle_, CURLOPT_WRITEDATA, static_cast<void*>(&transfer));
  set(handle_, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(handle_, CURLOPT_HEADERDATA, static_cast<void*>(&transfer));
  set(handle_, CURLOPT_NOPROGRESS, 0L);
  set(handle_, CURLOPT_XFERINFOFUNCTION, &Transfer::on_progress);
  set(handle_, CURLOPT_XFERINFODATA, static_cast<void*>(&transfer));
  if (!environment_.certificates.empty()) {
    set(handle_, CURLOPT_CAINFO, environment_.certificates.c_str());
  }
  CURLcode code = curl_easy_perform(handle_);
  if (transfer.error) return *transfer.error;
  if (transfer.stalled) code = CURLE_OPERATION_TIMEDOUT;
  if (code == CURLE_ABORTED_BY_CALLBACK) return Error{Error::Kind::kInterrupted, "interrupted"};
  if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE) {
    return Error{Error::Kind::kIo, url + ": " + explain(code, detail, request.timeout_s) +
                                       ". SSL_CERT_FILE names further certificates"};
  }
  if (code != CURLE_OK) {
    transfer.response.trouble = explain(code, detail, request.timeout_s);
    return std::move(transfer.response);
  }
  // A file of no bytes has a beginning too.
  if (transfer.goes_to_sink()) FPTQ_TRY_VOID(transfer.begin());
  return std::move(transfer.response);
}

}  // namespace fptq::hub
