// What the environment says about the hub, read as Hugging Face's own clients read it.

#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace fptq::hub {

struct Environment {
  std::string endpoint = "https://huggingface.co";  // HF_ENDPOINT, without a slash at its end
  // HF_TOKEN, else HUGGING_FACE_HUB_TOKEN, else the file HF_TOKEN_PATH or HF_HOME/token; empty
  // where there is none, or where HF_HUB_DISABLE_IMPLICIT_TOKEN says that none is to be sent.
  std::string token;
  bool offline = false;                  // HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE
  std::int64_t download_timeout_s = 10;  // HF_HUB_DOWNLOAD_TIMEOUT: without a byte
  std::int64_t metadata_timeout_s = 10;  // HF_HUB_ETAG_TIMEOUT: the same, for answers without files
  std::int64_t retry_wait_ms = 500;      // FPTQ_HUB_RETRY_MS: before the first repetition
  std::string certificates;              // SSL_CERT_FILE, REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE
};

// Errors: kInvalidArgument, naming the variable, for values that make no sense.
[[nodiscard]] Result<Environment> read_environment();

}  // namespace fptq::hub
