#include "cli/evaluated_model.h"

#include <utility>

#include "eval/text_model.h"

namespace fptq::cli {

Result<EvaluatedModel> load_for_evaluation(const std::filesystem::path& model,
                                           const CommonOptions& common, const RunOptions& run,
                                           Console& console) {
  EvaluatedModel result;
  FPTQ_TRY(result.loaded, load_model(model, common, run, console));
  FPTQ_TRY(ModelText text, load_text(result.loaded));
  result.text = std::make_unique<ModelText>(std::move(text));
  result.logits = std::make_unique<eval::ModelLogits>(*result.loaded.model, run.kv);
  result.view = eval::make_text_model(*result.logits, result.text->tokenizer, result.text->special,
                                      result.loaded.model->config().max_positions);
  return result;
}

}  // namespace fptq::cli
