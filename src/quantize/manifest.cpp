#include "quantize/manifest.h"

#include <nlohmann/json.hpp>
#include <span>

#include "base/sha256.h"

namespace fptq::quantize {
namespace {

constexpr std::size_t kHashDigits = 64;
constexpr std::string_view kSealKey = "\"manifest_sha256\": \"";

std::string hash_without_seal(std::string text, std::size_t begin) {
  text.replace(begin, kHashDigits, kHashDigits, '0');
  return sha256_hex(std::as_bytes(std::span(text)));
}

// Where the digits of the text's own hash begin; nothing where there is no room for them.
std::optional<std::size_t> seal_position(std::string_view text) {
  const std::size_t key = text.rfind(kSealKey);
  if (key == std::string_view::npos) return std::nullopt;
  const std::size_t begin = key + kSealKey.size();
  if (begin + kHashDigits >= text.size()) return std::nullopt;
  return begin;
}

bool is_hash(const Json& value) {
  return value.is_string() && value.get_ref<const std::string&>().size() == kHashDigits &&
         value.get_ref<const std::string&>().find_first_not_of("0123456789abcdef") ==
             std::string::npos;
}

Error unexpected(const std::string& where, const std::string& what, const std::string& expected) {
  return Error{Error::Kind::kFormat, where + ": " + what + ": expected " + expected};
}

// The member `key` of an object; null where there is none.
const Json& member(const Json& object, const char* key) {
  static const Json nothing;
  const auto found = object.find(key);
  return found == object.end() ? nothing : *found;
}

Result<std::map<std::string, std::string>> read_hashes(const Json& json, const std::string& where,
                                                       const std::string& what) {
  if (!json.is_object()) return unexpected(where, what, "an object of names and SHA-256 hashes");
  std::map<std::string, std::string> hashes;
  for (const auto& [name, hash] : json.items()) {
    if (!is_hash(hash)) return unexpected(where, what + " \"" + name + "\"", "a SHA-256 hash");
    hashes[name] = hash.get<std::string>();
  }
  return hashes;
}

Result<ManifestTensor> read_tensor(const Json& json, const std::string& where,
                                   const std::string& what) {
  if (!json.is_object() || !member(json, "source").is_string()) {
    return unexpected(where, what, "an object that names its source");
  }
  ManifestTensor tensor;
  tensor.source = json["source"].get<std::string>();
  const Json& hash = member(json, "source_sha256");
  if (!is_hash(hash) && !(hash.is_null() && json.contains("source_sha256"))) {
    return unexpected(where, what + ".source_sha256", "a SHA-256 hash");
  }
  if (is_hash(hash)) tensor.source_sha256 = hash.get<std::string>();
  const Json& shape = member(json, "shape");
  if (!shape.is_array()) return unexpected(where, what + ".shape", "a list of integers");
  for (const Json& axis : shape) {
    if (!axis.is_number_unsigned()) {
      return unexpected(where, what + ".shape", "a list of integers");
    }
    tensor.shape.push_back(axis.get<std::size_t>());
  }
  FPTQ_TRY(tensor.output_sha256,
           read_hashes(member(json, "output_sha256"), where, what + ".output_sha256"));
  return tensor;
}

}  // namespace

std::string seal_manifest(Json manifest) {
  manifest["run"]["manifest_sha256"] = std::string(kHashDigits, '0');
  std::string text = manifest.dump(2) + "\n";
  const std::size_t begin = *seal_position(text);
  text.replace(begin, kHashDigits, hash_without_seal(text, begin));
  return text;
}

Status check_seal(std::string_view text) {
  const std::optional<std::size_t> begin = seal_position(text);
  if (!begin) {
    return Error{Error::Kind::kCheckFailed,
                 "expected the file's own hash under run.manifest_sha256, got none: it was changed,"
                 " or written by a version without that hash"};
  }
  const std::string found(text.substr(*begin, kHashDigits));
  const std::string expected = hash_without_seal(std::string(text), *begin);
  if (found == expected) return {};
  return Error{Error::Kind::kCheckFailed, "changed: expected sha256 " + found +
                                              ", as run.manifest_sha256 says, got " + expected};
}

Result<Manifest> read_manifest(const Json& json, const std::string& where) {
  if (!json.is_object() || member(json, "program") != "fptq") {
    return unexpected(where, "program", "\"fptq\"");
  }
  Manifest manifest;
  for (const auto& [key, text] :
       {std::pair{"version", &manifest.version}, std::pair{"recipe", &manifest.recipe}}) {
    if (!member(json, key).is_string()) return unexpected(where, key, "text");
    *text = json[key].get<std::string>();
  }
  if (!member(json, "seed").is_number_unsigned()) {
    return unexpected(where, "seed", "an integer from 0 on");
  }
  manifest.seed = json["seed"].get<std::uint64_t>();
  if (const Json& source = member(json, "source"); source.is_object()) {
    const Json& name = member(source, "name");
    if (name.is_string()) manifest.source_name = name.get<std::string>();
  }
  if (const Json& run = member(json, "run"); run.is_object()) {
    const Json& cpu = member(run, "cpu");
    if (cpu.is_string()) manifest.cpu = cpu.get<std::string>();
  }
  if (const Json& hash = member(json, "calibration_sha256"); !hash.is_null()) {
    if (!is_hash(hash)) return unexpected(where, "calibration_sha256", "a SHA-256 hash or null");
    manifest.calibration_sha256 = hash.get<std::string>();
  }
  FPTQ_TRY(manifest.files, read_hashes(member(json, "files"), where, "files"));
  for (const auto& [name, hash] : manifest.files) {
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
      return unexpected(where, "files: \"" + name + "\"", "the name of a file in that directory");
    }
  }
  const Json& tensors = member(json, "tensors");
  if (!tensors.is_array()) return unexpected(where, "tensors", "a list");
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    FPTQ_TRY(ManifestTensor tensor,
             read_tensor(tensors[i], where, "tensors[" + std::to_string(i) + "]"));
    manifest.tensors.push_back(std::move(tensor));
  }
  return manifest;
}

}  // namespace fptq::quantize
