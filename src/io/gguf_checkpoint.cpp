#include "io/gguf_checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/file.h"
#include "io/gguf.h"
#include "io/gguf_llama.h"
#include "io/gguf_metadata.h"
#include "io/gguf_tokenizer.h"
#include "io/rope_order.h"

namespace fptq::io {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxParts = 99'999;

std::string five_digits(std::uint64_t number) {
  const std::string digits = std::to_string(number);
  return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
}

// "-00002-of-00003.gguf"
std::string part_suffix(std::uint64_t number, std::uint64_t count) {
  return "-" + five_digits(number) + "-of-" + five_digits(count) + ".gguf";
}

class GgufCheckpoint : public Checkpoint {
 public:
  explicit GgufCheckpoint(fs::path name) : name_(std::move(name)) {}

  Status load(const fs::path& path);

  const fs::path& path() const override { return name_; }
  std::string_view container() const override { return "gguf"; }
  const Json& config() const override { return config_; }
  std::span<const TensorInfo> tensors() const override { return infos_; }
  Result<Tensor> read(std::string_view name) const override;
  void release(std::string_view name) const override;
  Result<TokenizerFiles> tokenizer() const override;
  std::uint64_t weight_file_bytes() const override;
  std::span<const std::string> warnings() const override { return {}; }

 private:
  struct Part {
    std::shared_ptr<const MappedFile> mapped;
    GgufFile file;
    std::string where() const { return mapped->path().string(); }
  };
  // A tensor under its new name.
  struct Place {
    std::string name;
    std::size_t part;
    const GgufTensor* tensor;
    std::size_t rotary_heads;  // 0: no rows to reorder
  };

  Status open_part(const fs::path& path);
  Status open_other_parts(const fs::path& first);
  Status list_tensors();
  Result<std::vector<float>> rope_factors() const;
  std::size_t rotary_heads(std::string_view hf_name) const;
  const Place* place_of(std::string_view name) const;
  std::span<const std::byte> bytes_of(const Place& place) const {
    return parts_[place.part].mapped->bytes().subspan(place.tensor->begin,
                                                      place.tensor->size_bytes);
  }
  Result<Tensor> read_values(const Place& place) const;

  fs::path name_;
  std::vector<Part> parts_;
  Json config_;
  std::vector<TensorInfo> infos_;
  std::vector<Place> places_;
};

Status GgufCheckpoint::open_part(const fs::path& path) {
  FPTQ_TRY(MappedFile mapped, MappedFile::open(path));
  auto shared = std::make_shared<const MappedFile>(std::move(mapped));
  FPTQ_TRY(GgufFile file, parse_gguf(shared->bytes(), path.string()));
  parts_.push_back({std::move(shared), std::move(file)});
  return {};
}

Status GgufCheckpoint::open_other_parts(const fs::path& first) {
  const std::string where = first.string();
  const GgufMetadata metadata(parts_[0].file, where);
  FPTQ_TRY(const auto count, metadata.size("split.count"));
  FPTQ_TRY(const auto number, metadata.size("split.no"));
  if (count.value_or(0) <= 1) return {};
  if (*count > kMaxParts) {
    return metadata.error("split.count", "expected at most " + std::to_string(kMaxParts) +
                                             " parts, got " + std::to_string(*count));
  }
  const std::string suffix = part_suffix(number.value_or(0) + 1, *count);
  const std::string file_name = first.filename().string();
  if (file_name.size() <= suffix.size() || !file_name.ends_with(suffix)) {
    return Error{Error::Kind::kFormat, where + ": expected a file name that ends in " + suffix +
                                           ", as the metadata says of this part of a split model"};
  }
  const std::string stem = file_name.substr(0, file_name.size() - suffix.size());
  if (number.value_or(0) != 0) {
    return Error{Error::Kind::kInvalidArgument,
                 where + ": this is part " + std::to_string(*number + 1) + " of " +
                     std::to_string(*count) + ". Give the first, " + stem + part_suffix(1, *count)};
  }
  for (std::uint64_t i = 2; i <= *count; ++i) {
    const fs::path path = first.parent_path() / (stem + part_suffix(i, *count));
    auto opened = open_part(path);
    if (!opened && opened.error().kind == Error::Kind::kNotFound) {
      return Error{Error::Kind::kNotFound, path.string() + ": expected this part of " +
                                               std::to_string(*count) +
                                               ", got no file. Download the model completely"};
    }
    if (!opened) return opened;
  }
  return {};
}

// Values of rope_freqs.weight, which is not handed out as a tensor; empty where there is none.
Result<std::vector<float>> GgufCheckpoint::rope_factors() const {
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    for (const GgufTensor& tensor : parts_[i].file.tensors) {
      if (tensor.name != kGgufRopeFactors) continue;
      FPTQ_TRY(const Tensor values, read_values({tensor.name, i, &tensor, 0}));
      return values.to_f32();
    }
  }
  return std::vector<float>();
}

// Heads whose rows a projection stores as interleaved pairs.
std::size_t GgufCheckpoint::rotary_heads(std::string_view hf_name) const {
  const auto is = [&](std::string_view part) {
    return hf_name.find(part) != std::string_view::npos;
  };
  if (is(".q_proj.")) return config_["num_attention_heads"].get<std::size_t>();
  if (is(".k_proj.")) return config_["num_key_value_heads"].get<std::size_t>();
  return 0;
}

Status GgufCheckpoint::list_tensors() {
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    for (const GgufTensor& tensor : parts_[i].file.tensors) {
      if (tensor.name == kGgufRopeFactors) continue;
      const auto name = hf_name_of_gguf(tensor.name);
      if (!name) {
        return Error{Error::Kind::kUnsupported,
                     parts_[i].where() + ": tensor \"" + tensor.name +
                         "\": expected a tensor of a Llama model, got one that is not supported"};
      }
      places_.push_back({*name, i, &tensor, rotary_heads(*name)});
    }
  }
  std::sort(places_.begin(), places_.end(),
            [](const Place& a, const Place& b) { return a.name < b.name; });
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const Place& place = places_[i];
    const std::string file = parts_[place.part].where();
    if (i != 0 && places_[i - 1].name == place.name) {
      return Error{Error::Kind::kFormat, file + ": tensor \"" + place.tensor->name +
                                             "\": expected it in one part, got it in two"};
    }
    infos_.push_back({place.name, ggml_read_dtype(place.tensor->type), place.tensor->shape,
                      place.tensor->size_bytes,
                      std::string(ggml_type_info(place.tensor->type).name), file});
  }
  return {};
}

Status GgufCheckpoint::load(const fs::path& path) {
  FPTQ_TRY_VOID(open_part(path));
  FPTQ_TRY_VOID(open_other_parts(path));
  std::vector<GgufTensor> all;
  for (const Part& part : parts_) {
    all.insert(all.end(), part.file.tensors.begin(), part.file.tensors.end());
  }
  FPTQ_TRY(const std::vector<float> factors, rope_factors());
  FPTQ_TRY(config_, llama_config_of_gguf(parts_[0].file, all, factors, path.string()));
  return list_tensors();
}

const GgufCheckpoint::Place* GgufCheckpoint::place_of(std::string_view name) const {
  const TensorInfo* info = find(name);
  return info == nullptr ? nullptr : &places_[static_cast<std::size_t>(info - infos_.data())];
}

// The tensor as the file orders its rows.
Result<Tensor> GgufCheckpoint::read_values(const Place& place) const {
  const GgufTensor& tensor = *place.tensor;
  const std::span<const std::byte> bytes = bytes_of(place);
  const GgmlTypeInfo& info = ggml_type_info(tensor.type);
  const DType dtype = ggml_read_dtype(tensor.type);
  if (info.block_elements == 1) {
    return Tensor(dtype, tensor.shape, bytes, parts_[place.part].mapped);
  }
  FPTQ_TRY(Tensor::Fresh fresh, Tensor::create(dtype, tensor.shape));
  dequantize_ggml_blocks(tensor.type, bytes.data(), bytes.size() / info.block_bytes,
                         reinterpret_cast<float*>(fresh.data));
  return std::move(fresh.tensor);
}

Result<Tensor> GgufCheckpoint::read(std::string_view name) const {
  const Place* place = place_of(name);
  if (place == nullptr) {
    return Error{Error::Kind::kNotFound,
                 name_.string() + ": there is no tensor \"" + std::string(name) + "\""};
  }
  FPTQ_TRY(Tensor stored, read_values(*place));
  if (place->rotary_heads == 0) return stored;
  auto reordered = half_split_rows(stored, place->rotary_heads);
  if (reordered) return reordered;
  return with_context(reordered.error(),
                      parts_[place->part].where() + ": tensor \"" + place->tensor->name + "\"");
}

void GgufCheckpoint::release(std::string_view name) const {
  if (const Place* place = place_of(name)) parts_[place->part].mapped->release(bytes_of(*place));
}

Result<TokenizerFiles> GgufCheckpoint::tokenizer() const {
  FPTQ_TRY(const GgufVocabulary vocabulary, vocabulary_of_gguf(parts_[0].file, parts_[0].where()));
  return tokenizer_from_gguf(vocabulary, parts_[0].where());
}

std::uint64_t GgufCheckpoint::weight_file_bytes() const {
  std::uint64_t bytes = 0;
  for (const Part& part : parts_) bytes += part.mapped->bytes().size();
  return bytes;
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> open_gguf_checkpoint(const fs::path& file,
                                                         const fs::path& name) {
  auto checkpoint = std::make_unique<GgufCheckpoint>(name);
  FPTQ_TRY_VOID(checkpoint->load(file));
  return std::unique_ptr<Checkpoint>(std::move(checkpoint));
}

}  // namespace fptq::io
