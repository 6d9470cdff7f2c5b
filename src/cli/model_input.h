// From the argument MODEL to an open checkpoint, a tokenizer, a loaded model.

#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/thread_pool.h"
#include "cli/console.h"
#include "cli/options.h"
#include "io/checkpoint.h"
#include "model/llama_model.h"
#include "text/special_tokens.h"
#include "text/tokenizer.h"

namespace fptq::cli {

// The tokenizer of MODEL, which may also be a directory without weights or a tokenizer.json.
[[nodiscard]] Result<text::Tokenizer> load_tokenizer(const std::filesystem::path& model);

// A model and the threads that run it.
struct LoadedModel {
  std::unique_ptr<ThreadPool> pool;
  std::shared_ptr<const io::Checkpoint> checkpoint;
  std::unique_ptr<model::LlamaModel> model;
};

// Loads MODEL as the flags say, and prints its warnings.
// Errors: kCheckFailed where a decoder linear would not run the scheme of --require.
[[nodiscard]] Result<LoadedModel> load_model(const std::filesystem::path& model,
                                             const CommonOptions& common, const RunOptions& run,
                                             Console& console);

// The same for a checkpoint that is open already.
[[nodiscard]] Result<LoadedModel> load_model(std::shared_ptr<const io::Checkpoint> checkpoint,
                                             const CommonOptions& common, const RunOptions& run,
                                             Console& console);

// The tokenizer of a checkpoint whose weights are only read, not run. One that this program cannot
// load is worth a warning there, and none at all is nothing.
// Errors: kFormat where it has ids for which the embedding has no row.
[[nodiscard]] Status check_tokenizer(const io::Checkpoint& checkpoint, Console& console);

// What a checkpoint says about text.
struct ModelText {
  text::Tokenizer tokenizer;
  text::SpecialTokens special;
  std::map<std::string, std::string> files;  // tokenizer_config.json, ...: name -> contents
};

// The tokenizer that came with a loaded model.
// Errors: kFormat where it has ids for which the embedding has no row.
[[nodiscard]] Result<ModelText> load_text(const LoadedModel& loaded);

}  // namespace fptq::cli
