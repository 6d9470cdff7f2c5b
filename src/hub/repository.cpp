#include "hub/repository.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "hub/etag.h"
#include "hub/selection.h"
#include "hub/url.h"

namespace fptq::hub {
namespace {

Error malformed(const std::string& where, const std::string& what) {
  return Error{Error::Kind::kFormat, where + ": " + what};
}

std::string printable(const std::string& text) {
  std::string out;
  for (const char c : text.substr(0, 200)) out += c < ' ' || c > '~' ? '?' : c;
  return out;
}

std::string full_name(const io::HubName& name) {
  return (name.dataset ? "datasets/" : "") + name.id();
}

// The number in a header, if there is one.
std::optional<std::uint64_t> number(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<Listing> parse_listing(const std::string& body, const std::string& where) {
  FPTQ_TRY(const Json json, parse_json(body, where));
  if (!json.is_object() || !json.contains("sha") || !json["sha"].is_string() ||
      !json.contains("siblings") || !json["siblings"].is_array()) {
    return malformed(where, "expected an object with \"sha\" and \"siblings\", got another answer");
  }
  Listing listing;
  listing.commit = json["sha"].get<std::string>();
  if (!is_hex(listing.commit, 40)) {
    return malformed(
        where, "expected a commit of 40 hexadecimal digits, got " + printable(listing.commit));
  }
  for (const Json& sibling : json["siblings"]) {
    if (!sibling.is_object() || !sibling.contains("rfilename") ||
        !sibling["rfilename"].is_string()) {
      return malformed(where, "expected {\"rfilename\"} in \"siblings\", got something else");
    }
    std::string path = sibling["rfilename"].get<std::string>();
    if (!is_safe_path(path)) {
      return malformed(where,
                       "expected files below the repository's directory, got " + printable(path));
    }
    listing.paths.push_back(std::move(path));
  }
  return listing;
}

}  // namespace

Error refusal(const Connection& connection, const HttpResponse& response,
              const std::string& where) {
  const std::string code = response.header("x-error-code");
  const bool has_token = !connection.environment.token.empty();
  if (response.status == 403 || code == "GatedRepo") {
    return Error{Error::Kind::kIo,
                 where + ": access is refused (status " + std::to_string(response.status) +
                     "). If its terms have to be accepted, do so on its page at " +
                     connection.environment.endpoint + ", then " +
                     (has_token ? "check that HF_TOKEN belongs to that account and may read it"
                                : "set HF_TOKEN to a token of that account")};
  }
  if (response.status == 401) {
    return Error{Error::Kind::kIo,
                 where + ": it is not there, or private (status 401). Check the name, and " +
                     (has_token ? "whether HF_TOKEN is still valid"
                                : "set HF_TOKEN to a token that may read it")};
  }
  if (response.status == 404 && code == "RevisionNotFound") {
    return Error{Error::Kind::kNotFound, where + ": there is no such revision"};
  }
  if (response.status == 404) {
    return Error{Error::Kind::kNotFound, where + ": there is no such name at " +
                                             connection.environment.endpoint +
                                             " (status 404). A data set needs --dataset"};
  }
  return Error{Error::Kind::kIo, where + ": expected a file, got an answer with status " +
                                     std::to_string(response.status) + " " +
                                     printable(response.header("x-error-message"))};
}

Result<Listing> list_repository(const Connection& connection, const io::HubName& name) {
  const Environment& environment = connection.environment;
  HttpRequest request;
  request.url = environment.endpoint + "/api/" + (name.dataset ? "datasets/" : "models/") +
                percent_encoded(name.id(), "/") + "/revision/" + percent_encoded(name.revision);
  request.timeout_s = environment.metadata_timeout_s;
  FPTQ_TRY(const HttpResponse response,
           perform_with_retries(connection.client, request, environment, connection.note));
  const std::string where = full_name(name) + "@" + name.revision;
  if (response.status != 200) return refusal(connection, response, where);
  return parse_listing(response.body, request.url);
}

Result<RemoteFile> find_file(const Connection& connection, const io::HubName& name,
                             const std::string& commit, const std::string& path) {
  const Environment& environment = connection.environment;
  RemoteFile file;
  file.path = path;
  file.url = environment.endpoint + "/" + percent_encoded(full_name(name), "/") + "/resolve/" +
             commit + "/" + percent_encoded(path, "/");
  HttpRequest request;
  request.url = file.url;
  request.head = true;
  request.timeout_s = environment.metadata_timeout_s;
  FPTQ_TRY(const HttpResponse response,
           perform_with_retries(connection.client, request, environment, connection.note));
  if (response.status >= 400) return refusal(connection, response, full_name(name) + "/" + path);
  const std::string answered = response.header("x-repo-commit");
  if (answered != commit) {
    return malformed(file.url, "expected X-Repo-Commit " + commit + ", got " +
                                   (answered.empty() ? "none" : printable(answered)) +
                                   ". Is HF_ENDPOINT a hub, and not something in between?");
  }
  const bool linked = !response.header("x-linked-etag").empty();
  const std::string tag = response.header(linked ? "x-linked-etag" : "etag");
  const auto etag = parse_etag(tag);
  if (!etag)
    return malformed(file.url, "expected an ETag that names a blob, got " + printable(tag));
  file.etag = *etag;
  file.size_bytes = number(response.header("x-linked-size"));
  // The length of a redirect is not that of the file.
  if (!file.size_bytes && response.status == 200) {
    file.size_bytes = number(response.header("content-length"));
  }
  return file;
}

}  // namespace fptq::hub
