#include "io/llama2c_checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/file.h"
#include "io/gguf_tokenizer.h"
#include "io/llama2c.h"
#include "io/rope_order.h"

namespace fptq::io {
namespace {

namespace fs = std::filesystem;

Json config_of(const Llama2cFile& file) {
  return {{"architectures", Json::array({"LlamaForCausalLM"})},
          {"model_type", "llama"},
          {"hidden_size", file.dim},
          {"intermediate_size", file.hidden_dim},
          {"num_hidden_layers", file.layers},
          {"num_attention_heads", file.heads},
          {"num_key_value_heads", file.kv_heads},
          {"head_dim", file.dim / file.heads},
          {"vocab_size", file.vocab_size},
          {"max_position_embeddings", file.seq_len},
          {"hidden_act", "silu"},
          // The two constants are fixed in llama2.c's source.
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"rope_scaling", nullptr},
          {"attention_bias", false},
          {"mlp_bias", false},
          {"bos_token_id", 1},
          {"eos_token_id", 2},
          {"tie_word_embeddings", file.tied},
          {"torch_dtype", "float32"}};
}

class Llama2cCheckpoint : public Checkpoint {
 public:
  Llama2cCheckpoint(std::shared_ptr<const MappedFile> mapped, Llama2cFile file, fs::path name)
      : mapped_(std::move(mapped)),
        file_(std::move(file)),
        name_(std::move(name)),
        config_(config_of(file_)) {
    for (const Llama2cTensor& tensor : file_.tensors) {
      infos_.push_back({tensor.name, DType::kF32, tensor.shape, tensor.size_bytes, "F32",
                        mapped_->path().string()});
    }
  }

  const fs::path& path() const override { return name_; }
  std::string_view container() const override { return "llama2.c"; }
  const Json& config() const override { return config_; }
  std::span<const TensorInfo> tensors() const override { return infos_; }
  Result<Tensor> read(std::string_view name) const override;
  void release(std::string_view name) const override;
  Result<TokenizerFiles> tokenizer() const override;
  std::uint64_t weight_file_bytes() const override { return mapped_->bytes().size(); }
  std::span<const std::string> warnings() const override { return {}; }

 private:
  std::span<const std::byte> bytes_of(const Llama2cTensor& tensor) const {
    return mapped_->bytes().subspan(tensor.begin, tensor.size_bytes);
  }
  const Llama2cTensor* tensor_of(std::string_view name) const {
    const TensorInfo* info = find(name);
    return info == nullptr ? nullptr
                           : &file_.tensors[static_cast<std::size_t>(info - infos_.data())];
  }
  Result<fs::path> vocabulary_path() const;

  std::shared_ptr<const MappedFile> mapped_;
  Llama2cFile file_;
  fs::path name_;
  Json config_;
  std::vector<TensorInfo> infos_;
};

Result<Tensor> Llama2cCheckpoint::read(std::string_view name) const {
  const Llama2cTensor* tensor = tensor_of(name);
  if (tensor == nullptr) {
    return Error{Error::Kind::kNotFound,
                 mapped_->path().string() + ": there is no tensor \"" + std::string(name) + "\""};
  }
  const Tensor stored(DType::kF32, tensor->shape, bytes_of(*tensor), mapped_);
  return tensor->rotary_heads == 0 ? stored : half_split_rows(stored, tensor->rotary_heads);
}

void Llama2cCheckpoint::release(std::string_view name) const {
  if (const Llama2cTensor* tensor = tensor_of(name)) mapped_->release(bytes_of(*tensor));
}

Result<fs::path> Llama2cCheckpoint::vocabulary_path() const {
  const fs::path directory = fs::absolute(mapped_->path()).parent_path();
  std::error_code failure;
  if (fs::exists(directory / "tokenizer.bin", failure)) return directory / "tokenizer.bin";
  std::vector<fs::path> found;
  for (const auto& item : fs::directory_iterator(directory, failure)) {
    const std::string file = item.path().filename().string();
    if (file.rfind("tok", 0) == 0 && item.path().extension() == ".bin") {
      found.push_back(item.path());
    }
  }
  if (found.size() == 1) return found[0];
  return Error{Error::Kind::kNotFound,
               directory.string() + ": expected tokenizer.bin or one file tok*.bin, got " +
                   (found.empty() ? "none" : std::to_string(found.size())) +
                   ". Put the model's tokenizer beside " + mapped_->path().filename().string() +
                   " under the name tokenizer.bin"};
}

Result<TokenizerFiles> Llama2cCheckpoint::tokenizer() const {
  FPTQ_TRY(const fs::path path, vocabulary_path());
  FPTQ_TRY(const MappedFile file, MappedFile::open(path));
  FPTQ_TRY(const Llama2cVocabulary vocabulary,
           parse_llama2c_vocabulary(file.bytes(), file_.vocab_size, path.string()));
  return tokenizer_from_llama2c(vocabulary.tokens, vocabulary.scores, path.string());
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> open_llama2c_checkpoint(const fs::path& file,
                                                            const fs::path& name) {
  FPTQ_TRY(MappedFile mapped, MappedFile::open(file));
  auto shared = std::make_shared<const MappedFile>(std::move(mapped));
  FPTQ_TRY(Llama2cFile parsed, parse_llama2c(shared->bytes(), file.string()));
  return std::unique_ptr<Checkpoint>(
      std::make_unique<Llama2cCheckpoint>(std::move(shared), std::move(parsed), name));
}

}  // namespace fptq::io
