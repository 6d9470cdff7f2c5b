#include "io/checkpoint.h"

#include <algorithm>

#include "base/file.h"
#include "io/gguf.h"
#include "io/gguf_checkpoint.h"
#include "io/hf_checkpoint.h"
#include "io/hub_cache.h"
#include "io/llama2c.h"
#include "io/llama2c_checkpoint.h"
#include "io/pickle.h"

namespace fptq::io {
namespace {

namespace fs = std::filesystem;

// The *.gguf files of a directory, by name. Of a split model only the first part counts.
std::vector<fs::path> gguf_files(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code failure;
  for (const auto& item : fs::directory_iterator(directory, failure)) {
    if (item.path().extension() != ".gguf") continue;
    const std::string name = item.path().filename().string();
    const bool later_part =
        name.find("-of-") != std::string::npos && name.find("-00001-of-") == std::string::npos;
    if (!later_part) found.push_back(item.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

bool has_safetensors(const fs::path& directory) {
  std::error_code failure;
  for (const auto& item : fs::directory_iterator(directory, failure)) {
    if (item.path().extension() == ".safetensors") return true;
  }
  return fs::exists(directory / "model.safetensors.index.json", failure);
}

// The *.bin files of a directory whose header and size are a llama2.c checkpoint's, by name;
// with its magic number also those of versions that are not read.
std::vector<fs::path> llama2c_files(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code failure;
  for (const auto& item : fs::directory_iterator(directory, failure)) {
    if (item.path().extension() != ".bin") continue;
    const auto file = MappedFile::open(item.path());
    if (!file || is_pickle(file->bytes())) continue;
    if (has_llama2c_magic(file->bytes()) || parse_llama2c(file->bytes(), "")) {
      found.push_back(item.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

Error several_models(const fs::path& directory, const std::string& kind,
                     const std::vector<fs::path>& files) {
  std::string names;
  for (const fs::path& file : files) names += " " + file.filename().string();
  return Error{Error::Kind::kInvalidArgument,
               directory.string() + ": expected one model, got the " + kind + " files" + names +
                   ". Give the path of one of them"};
}

Result<std::unique_ptr<Checkpoint>> open_directory(const fs::path& directory,
                                                   const fs::path& name) {
  if (has_safetensors(directory)) return open_hf_checkpoint(directory, name);
  const auto gguf = gguf_files(directory);
  if (gguf.size() == 1) return open_gguf_checkpoint(gguf[0], name);
  if (gguf.size() > 1) return several_models(directory, "GGUF", gguf);
  const auto llama2c = llama2c_files(directory);
  if (llama2c.size() == 1) return open_llama2c_checkpoint(llama2c[0], name);
  if (llama2c.size() > 1) return several_models(directory, "llama2.c", llama2c);
  return open_hf_checkpoint(directory, name);
}

Result<std::unique_ptr<Checkpoint>> open_file(const fs::path& path, const fs::path& name) {
  FPTQ_TRY(const MappedFile file, MappedFile::open(path));
  const std::span<const std::byte> bytes = file.bytes();
  const fs::path extension = path.extension();
  if (has_gguf_magic(bytes) || extension == ".gguf") return open_gguf_checkpoint(path, name);
  if (has_llama2c_magic(bytes)) return open_llama2c_checkpoint(path, name);
  if (is_pickle(bytes)) return pickle_error(path);
  if (extension == ".safetensors" || extension == ".json") {
    return Error{Error::Kind::kInvalidArgument,
                 path.string() + ": this is one file of a checkpoint. Give its directory, " +
                     fs::absolute(path).parent_path().string()};
  }
  if (extension == ".bin") return open_llama2c_checkpoint(path, name);
  return Error{Error::Kind::kFormat,
               path.string() +
                   ": expected a GGUF file, a llama2.c .bin or a Hugging Face directory, got "
                   "another file"};
}

}  // namespace

const TensorInfo* Checkpoint::find(std::string_view name) const {
  const std::span<const TensorInfo> all = tensors();
  const auto place = std::lower_bound(
      all.begin(), all.end(), name,
      [](const TensorInfo& info, std::string_view wanted) { return info.name < wanted; });
  return place != all.end() && place->name == name ? &*place : nullptr;
}

Result<std::unique_ptr<Checkpoint>> open_checkpoint(const fs::path& model) {
  FPTQ_TRY(const fs::path path, resolve_model(model.string()));
  std::error_code failure;
  return fs::is_directory(path, failure) ? open_directory(path, model) : open_file(path, model);
}

}  // namespace fptq::io
