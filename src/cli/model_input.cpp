#include "cli/model_input.h"

#include <fmt/format.h>

#include <utility>

#include "base/file.h"
#include "io/hub_cache.h"
#include "numeric/scheme.h"

namespace fptq::cli {
namespace {

// A directory with a tokenizer.json, or that file itself; else empty.
std::filesystem::path tokenizer_json_of(const std::filesystem::path& model) {
  std::error_code ignored;
  if (std::filesystem::is_directory(model, ignored)) {
    std::filesystem::path file = model / "tokenizer.json";
    return std::filesystem::exists(file, ignored) ? file : std::filesystem::path();
  }
  return model.filename() == "tokenizer.json" ? model : std::filesystem::path();
}

// Every decoder linear has to run the scheme of --require, by whichever of its names.
Status check_required_scheme(const model::LlamaModel& model, const std::string& wanted) {
  if (wanted.empty()) return {};
  const Result<Scheme> scheme = parse_scheme(wanted);
  const std::string required = scheme && scheme->weights ? scheme_name(*scheme) : wanted;
  if (model.scheme() == required) return {};
  for (const model::ReceiptEntry& entry : model.receipt()) {
    if (entry.layer.starts_with("model.layers.") && entry.scheme != required) {
      return Error{Error::Kind::kCheckFailed,
                   fmt::format("--require {}: {} runs {}", required, entry.layer, entry.scheme)};
    }
  }
  return Error{Error::Kind::kCheckFailed,
               fmt::format("--require {}: the decoder linears run {}", required, model.scheme())};
}

// Every id has to have a row in the embedding.
Status check_vocabulary(const text::Tokenizer& tokenizer, std::size_t rows,
                        const std::string& where) {
  if (tokenizer.vocabulary_size() <= rows) return {};
  return Error{Error::Kind::kFormat,
               fmt::format("{}: tokenizer.json: expected at most {} entries, the rows of the "
                           "embedding, got {}. Does it belong to this model?",
                           where, rows, tokenizer.vocabulary_size())};
}

}  // namespace

Result<text::Tokenizer> load_tokenizer(const std::filesystem::path& model) {
  FPTQ_TRY(const std::filesystem::path path, io::resolve_model(model.string()));
  const std::filesystem::path file = tokenizer_json_of(path);
  if (!file.empty()) {
    FPTQ_TRY(const std::string json, read_text_file(file));
    return text::Tokenizer::from_json(json, file.string());
  }
  FPTQ_TRY(const auto checkpoint, io::open_checkpoint(model));
  FPTQ_TRY(const io::TokenizerFiles files, checkpoint->tokenizer());
  return text::Tokenizer::from_json(files.tokenizer_json, model.string());
}

Result<LoadedModel> load_model(const std::filesystem::path& model, const CommonOptions& common,
                               const RunOptions& run, Console& console) {
  FPTQ_TRY(std::shared_ptr<const io::Checkpoint> checkpoint, io::open_checkpoint(model));
  return load_model(std::move(checkpoint), common, run, console);
}

Result<LoadedModel> load_model(std::shared_ptr<const io::Checkpoint> checkpoint,
                               const CommonOptions& common, const RunOptions& run,
                               Console& console) {
  LoadedModel loaded;
  loaded.checkpoint = std::move(checkpoint);
  loaded.pool = std::make_unique<ThreadPool>(common.threads);
  model::LoadOptions options;
  options.pool = loaded.pool.get();
  options.activations = run.activations;
  options.ram_limit_bytes = common.ram_limit_bytes;
  FPTQ_TRY(options.isa, selected_isa(common));
  FPTQ_TRY(model::LlamaModel llama, model::LlamaModel::load(loaded.checkpoint, options));
  for (const std::string& warning : llama.warnings()) console.warn(warning);
  if (run.context > llama.config().max_positions) {
    console.warn(fmt::format("--ctx {}: {} was made for {} tokens; beyond them it may lose track",
                             run.context, loaded.checkpoint->path().string(),
                             llama.config().max_positions));
  }
  FPTQ_TRY_VOID(check_required_scheme(llama, run.require));
  loaded.model = std::make_unique<model::LlamaModel>(std::move(llama));
  return loaded;
}

Status check_tokenizer(const io::Checkpoint& checkpoint, Console& console) {
  const std::string where = checkpoint.path().string();
  FPTQ_TRY(const model::LlamaConfig config,
           model::parse_llama_config(checkpoint.config(), where + "/config.json"));
  const Result<io::TokenizerFiles> files = checkpoint.tokenizer();
  if (!files && files.error().kind == Error::Kind::kNotFound) return {};
  const Result<text::Tokenizer> tokenizer =
      files ? text::Tokenizer::from_json(files->tokenizer_json, where) : files.error();
  if (tokenizer) return check_vocabulary(*tokenizer, config.vocab_size, where);
  console.warn(tokenizer.error().message);
  return {};
}

Result<ModelText> load_text(const LoadedModel& loaded) {
  FPTQ_TRY(io::TokenizerFiles files, loaded.checkpoint->tokenizer());
  const std::string where = loaded.checkpoint->path().string();
  FPTQ_TRY(text::Tokenizer tokenizer, text::Tokenizer::from_json(files.tokenizer_json, where));
  FPTQ_TRY_VOID(check_vocabulary(tokenizer, loaded.model->config().vocab_size, where));
  FPTQ_TRY(text::SpecialTokens special,
           text::special_tokens(files.others, loaded.checkpoint->config(), tokenizer, where));
  return ModelText{std::move(tokenizer), std::move(special), std::move(files.others)};
}

}  // namespace fptq::cli
