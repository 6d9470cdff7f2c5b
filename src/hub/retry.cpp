#include "hub/retry.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <ctime>
#include <thread>

namespace fptq::hub {
namespace {

constexpr int kMaxTries = 5;
constexpr std::int64_t kMaxWaitMs = 300'000;

// What Retry-After asks for, a number of seconds or a date; -1 where it asks for nothing.
std::int64_t requested_wait_ms(const HttpResponse& response) {
  const std::string text = response.header("retry-after");
  if (text.empty()) return -1;
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc::result_out_of_range) return kMaxWaitMs + 1;
  if (error != std::errc() || end != text.data() + text.size()) {
    const std::time_t then = curl_getdate(text.c_str(), nullptr);
    if (then < 0) return -1;
    seconds = then - std::time(nullptr);
  }
  return std::clamp<std::int64_t>(seconds, 0, kMaxWaitMs) * 1000;
}

std::string reason(const HttpResponse& response) {
  if (!response.trouble.empty()) return response.trouble;
  return "the server answers with status " + std::to_string(response.status);
}

}  // namespace

bool may_succeed_later(const HttpResponse& response) {
  return !response.trouble.empty() || response.status == 408 || response.status == 429 ||
         response.status >= 500;
}

Status Retry::wait(const HttpResponse& response, const std::string& where) {
  ++tries_;
  if (tries_ >= kMaxTries) {
    return Error{Error::Kind::kIo, where + ": " + reason(response) + ", " +
                                       std::to_string(kMaxTries) +
                                       " times. The same command goes on from here later"};
  }
  const std::int64_t requested_ms = requested_wait_ms(response);
  if (requested_ms > kMaxWaitMs) {
    return Error{Error::Kind::kIo, where + ": " + reason(response) + " and asks to wait for " +
                                       response.header("retry-after") +
                                       " (s). The same command goes on from here later"};
  }
  const std::int64_t wait_ms =
      requested_ms >= 0 ? requested_ms : environment_.retry_wait_ms << (tries_ - 1);
  if (note_) {
    note_(where + ": " + reason(response) + "; trying again" +
          (wait_ms >= 1000 ? " in " + std::to_string(wait_ms / 1000) + " s" : ""));
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(wait_ms);
  do {
    if (!client_.keep_going()) return Error{Error::Kind::kInterrupted, "interrupted"};
    const auto left = end - std::chrono::steady_clock::now();
    std::this_thread::sleep_for(std::clamp<std::chrono::nanoseconds>(
        left, std::chrono::nanoseconds(0), std::chrono::milliseconds(50)));
  } while (std::chrono::steady_clock::now() < end);
  return {};
}

Result<HttpResponse> perform_with_retries(HttpClient& client, const HttpRequest& request,
                                          const Environment& environment, const NoteFn& note) {
  Retry retry(environment, client, note);
  for (;;) {
    FPTQ_TRY(HttpResponse response, client.perform(request));
    if (!may_succeed_later(response)) return response;
    FPTQ_TRY_VOID(retry.wait(response, request.url));
  }
}

}  // namespace fptq::hub
