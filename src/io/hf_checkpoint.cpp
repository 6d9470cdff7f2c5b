#include "io/hf_checkpoint.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "base/file.h"
#include "io/pickle.h"
#include "io/safetensors.h"

namespace fptq::io {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSingleFile = "model.safetensors";
constexpr std::string_view kIndexFile = "model.safetensors.index.json";

// Small files about text, copied into the output of a quantization unchanged.
constexpr std::array<const char*, 5> kTextFiles = {
    "tokenizer_config.json", "generation_config.json", "special_tokens_map.json",
    "chat_template.jinja", "chat_template.json"};

// A config or a tokenizer larger than this is not one.
constexpr std::uint64_t kMaxTextFileBytes = 1ULL << 30;

Error format_error(const fs::path& where, const std::string& what) {
  return Error{Error::Kind::kFormat, where.string() + ": " + what};
}

constexpr std::string_view kModelPrefix = "model.";

// Whether a tensor or module of a LlamaModel is named as that model itself names it.
bool is_bare_name(std::string_view name) {
  static constexpr std::string_view kLayers = "layers.";
  const std::string_view first = name.substr(0, name.find('.'));
  if (first == "embed_tokens" || first == "norm") return true;
  return name.starts_with(kLayers) && name.size() > kLayers.size() && name[kLayers.size()] >= '0' &&
         name[kLayers.size()] <= '9';
}

// The same for the names and regular expressions of quantization_config. An expression has to match
// from the beginning of a name on, where the prefix has become possible.
void name_bare_modules(Json& config) {
  static constexpr std::string_view kRegex = "re:";
  const auto rename = [](Json& list) {
    if (!list.is_array()) return;
    for (Json& entry : list) {
      if (!entry.is_string()) continue;
      const auto target = entry.get<std::string>();
      if (is_bare_name(target)) entry = std::string(kModelPrefix) + target;
      if (!target.starts_with(kRegex)) continue;
      const std::size_t begin = kRegex.size() + (target.starts_with("re:^") ? 1 : 0);
      entry = "re:(?:model\\.)?(?:" + target.substr(begin) + ")";
    }
  };
  const auto quantization = config.find("quantization_config");
  if (quantization == config.end() || !quantization->is_object()) return;
  if (quantization->contains("ignore")) rename((*quantization)["ignore"]);
  const auto groups = quantization->find("config_groups");
  if (groups == quantization->end() || !groups->is_object()) return;
  for (auto& [name, group] : groups->items()) {
    if (group.is_object() && group.contains("targets")) rename(group["targets"]);
  }
}

class HfCheckpoint : public Checkpoint {
 public:
  HfCheckpoint(fs::path directory, fs::path name)
      : directory_(std::move(directory)), name_(std::move(name)) {}

  Status load_config();
  Status load_weights();
  Status name_bare_model();
  void name_tied_matrix();

  const fs::path& path() const override { return name_; }
  std::string_view container() const override { return "safetensors"; }
  const Json& config() const override { return config_; }
  std::span<const TensorInfo> tensors() const override { return infos_; }
  Result<Tensor> read(std::string_view name) const override;
  void release(std::string_view name) const override;
  Result<TokenizerFiles> tokenizer() const override;
  std::uint64_t weight_file_bytes() const override;
  std::span<const std::string> warnings() const override { return warnings_; }

 private:
  // Where a tensor of infos_ (the same place in the list) lies.
  struct Place {
    std::size_t file;
    const SafetensorsEntry* entry;
  };

  Status open_shards(const fs::path& index_path);
  Result<std::map<std::string, std::string>> read_index(const fs::path& index_path) const;
  Status check_index(const std::map<std::string, std::string>& shard_of,
                     const fs::path& index_path);
  Result<fs::path> find_only_file() const;
  Status list_tensors();
  void sort_by_name();
  const Place* place_of(std::string_view name) const;

  fs::path directory_;
  fs::path name_;
  Json config_;
  std::vector<SafetensorsFile> files_;
  std::vector<TensorInfo> infos_;
  std::vector<Place> places_;
  std::vector<std::string> warnings_;
};

Status HfCheckpoint::load_config() {
  const fs::path path = directory_ / "config.json";
  auto text = read_text_file(path, kMaxTextFileBytes);
  if (!text) return std::move(text).error();
  FPTQ_TRY(config_, parse_json(*text, path.string()));
  if (!config_.is_object()) {
    return format_error(path, "expected an object, got " + std::string(config_.type_name()));
  }
  return {};
}

Status HfCheckpoint::load_weights() {
  std::error_code failure;
  if (fs::exists(directory_ / kSingleFile, failure)) {
    FPTQ_TRY(SafetensorsFile file, SafetensorsFile::open(directory_ / kSingleFile));
    files_.push_back(std::move(file));
  } else if (fs::exists(directory_ / kIndexFile, failure)) {
    FPTQ_TRY_VOID(open_shards(directory_ / kIndexFile));
  } else {
    FPTQ_TRY(const fs::path path, find_only_file());
    FPTQ_TRY(SafetensorsFile file, SafetensorsFile::open(path));
    files_.push_back(std::move(file));
  }
  return list_tensors();
}

// What a file is that is no safetensors file but is called as weights are.
Error not_safetensors(const fs::path& path) {
  const auto file = MappedFile::open(path);
  if (!file) return file.error();
  if (is_pickle(file->bytes())) return pickle_error(path);
  return format_error(
      path,
      "expected safetensors, GGUF or llama2.c's format with the size that its header "
      "says, got another file. Was it downloaded completely?");
}

// Where neither of the standard names is there: the one *.safetensors file, or why there is none.
Result<fs::path> HfCheckpoint::find_only_file() const {
  std::vector<fs::path> found;
  std::string weights;  // of another kind
  std::error_code failure;
  for (const auto& item : fs::directory_iterator(directory_, failure)) {
    const fs::path extension = item.path().extension();
    if (extension == ".safetensors") found.push_back(item.path());
    if (extension == ".bin" || extension == ".pth" || extension == ".pt") {
      weights = std::max(weights, item.path().filename().string());
    }
  }
  if (found.size() == 1 && found[0].filename().string().find("-of-") == std::string::npos) {
    return found[0];
  }
  if (!found.empty()) {
    return Error{Error::Kind::kNotFound,
                 (directory_ / kIndexFile).string() + ": expected the index of " +
                     std::to_string(found.size()) +
                     " *.safetensors files, got none. Download the checkpoint completely"};
  }
  if (!weights.empty()) return not_safetensors(directory_ / weights);
  return Error{Error::Kind::kNotFound, directory_.string() + ": expected model.safetensors or " +
                                           std::string(kIndexFile) + ", got neither"};
}

Result<std::map<std::string, std::string>> HfCheckpoint::read_index(
    const fs::path& index_path) const {
  FPTQ_TRY(const std::string text, read_text_file(index_path, kMaxTextFileBytes));
  FPTQ_TRY(const Json index, parse_json(text, index_path.string()));
  const auto weight_map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || weight_map == index.end() || !weight_map->is_object()) {
    return format_error(index_path, "expected an object \"weight_map\"");
  }
  std::map<std::string, std::string> shard_of;
  for (const auto& [tensor, shard] : weight_map->items()) {
    if (!shard.is_string()) {
      return format_error(index_path, "tensor \"" + tensor + "\": expected the name of a shard");
    }
    const auto& name = shard.get_ref<const std::string&>();
    const bool plain = !name.empty() && name != "." && name != ".." &&
                       name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
    if (!plain) {
      return format_error(index_path, "tensor \"" + tensor +
                                          "\": expected a file name in the same directory, got \"" +
                                          name + "\"");
    }
    shard_of.emplace(tensor, name);
  }
  return shard_of;
}

Status HfCheckpoint::open_shards(const fs::path& index_path) {
  FPTQ_TRY(const auto shard_of, read_index(index_path));
  std::vector<std::string> shards;
  shards.reserve(shard_of.size());
  for (const auto& [tensor, shard] : shard_of) shards.push_back(shard);
  std::sort(shards.begin(), shards.end());
  shards.erase(std::unique(shards.begin(), shards.end()), shards.end());
  for (const std::string& shard : shards) {
    auto file = SafetensorsFile::open(directory_ / shard);
    if (!file && file.error().kind == Error::Kind::kNotFound) {
      return Error{Error::Kind::kNotFound,
                   (directory_ / shard).string() + ": expected this shard, which " +
                       index_path.filename().string() +
                       " names, got no file. Download the checkpoint completely"};
    }
    if (!file) return std::move(file).error();
    files_.push_back(*std::move(file));
  }
  return check_index(shard_of, index_path);
}

// The index and the shards have to agree on where each tensor is.
Status HfCheckpoint::check_index(const std::map<std::string, std::string>& shard_of,
                                 const fs::path& index_path) {
  std::map<std::string, const SafetensorsHeader*> header_of;
  for (const SafetensorsFile& file : files_) {
    header_of.emplace(file.path().filename().string(), &file.header());
  }
  for (const auto& [tensor, shard] : shard_of) {
    if (header_of.at(shard)->find(tensor) == nullptr) {
      return format_error(index_path, "tensor \"" + tensor + "\": expected it in " + shard +
                                          ", which does not hold it");
    }
  }
  std::size_t unlisted = 0;
  std::string example;
  for (const SafetensorsFile& file : files_) {
    for (const SafetensorsEntry& entry : file.header().entries) {
      if (shard_of.contains(entry.name)) continue;
      if (unlisted++ == 0) {
        example = "\"" + entry.name + "\" of " + file.path().filename().string();
      }
    }
  }
  if (unlisted != 0) {
    warnings_.push_back(index_path.string() + ": does not list " + std::to_string(unlisted) +
                        " tensors that the shards hold, such as " + example + "; they are used");
  }
  return {};
}

Status HfCheckpoint::list_tensors() {
  std::vector<Place> places;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    for (const SafetensorsEntry& entry : files_[i].header().entries) places.push_back({i, &entry});
  }
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return std::pair(std::string_view(a.entry->name), a.file) <
           std::pair(std::string_view(b.entry->name), b.file);
  });
  for (std::size_t i = 1; i < places.size(); ++i) {
    if (places[i].entry->name != places[i - 1].entry->name) continue;
    return format_error(files_[places[i].file].path(),
                        "tensor \"" + places[i].entry->name + "\": expected it in one shard, but " +
                            files_[places[i - 1].file].path().filename().string() +
                            " holds it too");
  }
  for (const Place& place : places) {
    const SafetensorsEntry& entry = *place.entry;
    infos_.push_back({entry.name, entry.dtype, entry.shape, entry.end - entry.begin,
                      std::string(dtype_name(entry.dtype)), files_[place.file].path().string()});
  }
  places_ = std::move(places);
  return {};
}

// A bare LlamaModel, saved without the model around it, names everything from itself on. Everybody
// above sees the names that it has within a LlamaForCausalLM.
Status HfCheckpoint::name_bare_model() {
  const auto bare = std::find_if(infos_.begin(), infos_.end(),
                                 [](const TensorInfo& info) { return is_bare_name(info.name); });
  if (bare == infos_.end()) return {};
  for (const TensorInfo& info : infos_) {
    if (!info.name.starts_with(kModelPrefix) ||
        !is_bare_name(std::string_view(info.name).substr(kModelPrefix.size()))) {
      continue;
    }
    return format_error(bare->file, "tensor \"" + bare->name +
                                        "\": expected names that all begin with \"model.\", or "
                                        "none, and there is \"" +
                                        info.name +
                                        "\" too. Does the directory hold two checkpoints?");
  }
  for (TensorInfo& info : infos_) {
    if (is_bare_name(info.name)) info.name.insert(0, kModelPrefix);
  }
  sort_by_name();
  name_bare_modules(config_);
  return {};
}

// Some writers keep a tied matrix under the classifier's name only. transformers takes it from
// either, so everybody above sees it where the embedding is looked for.
void HfCheckpoint::name_tied_matrix() {
  static constexpr std::string_view kEmbedding = "model.embed_tokens.weight";
  static constexpr std::string_view kClassifier = "lm_head.weight";
  const auto tied = config_.find("tie_word_embeddings");
  if (tied == config_.end() || *tied != true) return;
  const TensorInfo* matrix = find(kClassifier);
  if (matrix == nullptr || find(kEmbedding) != nullptr) return;
  infos_[static_cast<std::size_t>(matrix - infos_.data())].name = kEmbedding;
  sort_by_name();
}

void HfCheckpoint::sort_by_name() {
  std::vector<std::size_t> order(infos_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [this](std::size_t a, std::size_t b) { return infos_[a].name < infos_[b].name; });
  std::vector<TensorInfo> infos;
  std::vector<Place> places;
  for (const std::size_t index : order) {
    infos.push_back(std::move(infos_[index]));
    places.push_back(places_[index]);
  }
  infos_ = std::move(infos);
  places_ = std::move(places);
}

const HfCheckpoint::Place* HfCheckpoint::place_of(std::string_view name) const {
  const TensorInfo* info = find(name);
  return info == nullptr ? nullptr : &places_[static_cast<std::size_t>(info - infos_.data())];
}

Result<Tensor> HfCheckpoint::read(std::string_view name) const {
  const Place* place = place_of(name);
  if (place == nullptr) {
    return Error{Error::Kind::kNotFound,
                 directory_.string() + ": there is no tensor \"" + std::string(name) + "\""};
  }
  return files_[place->file].read(*place->entry);
}

void HfCheckpoint::release(std::string_view name) const {
  if (const Place* place = place_of(name)) files_[place->file].release(*place->entry);
}

Result<TokenizerFiles> HfCheckpoint::tokenizer() const {
  TokenizerFiles files;
  auto json = read_text_file(directory_ / "tokenizer.json", kMaxTextFileBytes);
  if (!json) {
    if (json.error().kind != Error::Kind::kNotFound) return std::move(json).error();
    std::error_code failure;
    const bool sentencepiece = fs::exists(directory_ / "tokenizer.model", failure);
    return Error{Error::Kind::kNotFound,
                 (directory_ / "tokenizer.json").string() + ": expected this file, got none. " +
                     (sentencepiece ? "Make it from tokenizer.model with transformers: "
                                      "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)"
                                    : "Copy it from where the checkpoint comes from")};
  }
  files.tokenizer_json = *std::move(json);
  for (const char* name : kTextFiles) {
    auto text = read_text_file(directory_ / name, kMaxTextFileBytes);
    if (text) {
      files.others.emplace(name, *std::move(text));
    } else if (text.error().kind != Error::Kind::kNotFound) {
      return std::move(text).error();
    }
  }
  return files;
}

std::uint64_t HfCheckpoint::weight_file_bytes() const {
  std::uint64_t bytes = 0;
  for (const SafetensorsFile& file : files_) bytes += file.file_bytes();
  return bytes;
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> open_hf_checkpoint(const fs::path& directory,
                                                       const fs::path& name) {
  auto checkpoint = std::make_unique<HfCheckpoint>(directory, name);
  FPTQ_TRY_VOID(checkpoint->load_weights());
  FPTQ_TRY_VOID(checkpoint->load_config());
  FPTQ_TRY_VOID(checkpoint->name_bare_model());
  checkpoint->name_tied_matrix();
  return std::unique_ptr<Checkpoint>(std::move(checkpoint));
}

}  // namespace fptq::io
