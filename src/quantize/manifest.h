// fptq_manifest.json: what was written, from what and by which program, with hashes of everything,
// its own included.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "tensor/tensor.h"

namespace fptq::quantize {

inline constexpr char kManifestFile[] = "fptq_manifest.json";

// The manifest's text with its own hash under run.manifest_sha256:
//   sha256(the text with 64 zeros in place of the hash), 64 lower-case hexadecimal digits.
// It lies under `run` because it differs from run to run, as the times beside it do.
[[nodiscard]] std::string seal_manifest(Json manifest);

// Whether the text holds the hash that seal_manifest() gives it, so that any changed byte of it is
// noticed. Somebody who means to deceive can seal it again: this is no signature.
// Errors: kCheckFailed with the hash that was found and the one that was expected.
[[nodiscard]] Status check_seal(std::string_view text);

// One tensor of the source and what was written for it.
struct ManifestTensor {
  std::string source;
  Shape shape;
  std::string source_sha256;                         // empty: the source has no such tensor
  std::map<std::string, std::string> output_sha256;  // tensor of the output -> hash
};

// What a manifest says, as far as it can be checked.
struct Manifest {
  std::string version;
  std::string recipe;
  std::uint64_t seed = 0;
  std::string cpu;                                // empty: not told
  std::string source_name;                        // of the checkpoint that was quantized
  std::optional<std::string> calibration_sha256;  // where it was calibrated
  std::map<std::string, std::string> files;       // name -> hash; the manifest is not among them
  std::vector<ManifestTensor> tensors;
};

// Errors: kFormat names what is missing or is something else than it has to be; file names are
// those of files in the directory itself.
[[nodiscard]] Result<Manifest> read_manifest(const Json& json, const std::string& where);

}  // namespace fptq::quantize
