// A model that `eval` and `compare` measure, with everything that they read it through.

#pragma once

#include <filesystem>
#include <memory>

#include "base/result.h"
#include "cli/console.h"
#include "cli/model_input.h"
#include "cli/options.h"
#include "eval/logits_source.h"
#include "eval/model_logits.h"

namespace fptq::cli {

struct EvaluatedModel {
  LoadedModel loaded;
  std::unique_ptr<ModelText> text;
  std::unique_ptr<eval::ModelLogits> logits;
  eval::TextModel view;
};

// Errors: load_model()'s and load_text()'s.
[[nodiscard]] Result<EvaluatedModel> load_for_evaluation(const std::filesystem::path& model,
                                                         const CommonOptions& common,
                                                         const RunOptions& run, Console& console);

}  // namespace fptq::cli
