// What of a model can be looked at alone, and what it costs.

#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "eval/explain.h"
#include "io/checkpoint.h"
#include "model/llama_config.h"

namespace fptq::eval {

// How a candidate differs from its base, besides rounding.
struct ModelChanges {
  model::LlamaConfig config;         // the candidate's
  std::vector<std::string> modules;  // model::module_names()
  bool other_basis = false;          // of the residual stream
  bool changed_norms = false;        // of blocks
  bool quantized_activations = false;

  [[nodiscard]] std::size_t linears() const { return 7 * config.num_layers; }
};

// The basis counts as another where the embeddings' distance is more than half of what the base's
// is long: sum (a - b)^2 > 0.25 sum a^2, over up to 4096 rows that lie evenly. Rounding to 4 bits
// makes about 0.01 of it, a rotation about 2. Errors: those of reading embedding and norms.
[[nodiscard]] Result<ModelChanges> find_changes(const io::Checkpoint& base,
                                                const io::Checkpoint& candidate, ThreadPool& pool);

struct ExplainedPart {
  std::string name;
  std::set<std::string> modules;  // empty: no weights
  bool cache = false;
};

// Embedding, each linear or each block with its norms, and the classifier with the final norm.
[[nodiscard]] std::vector<ExplainedPart> explained_parts(const ModelChanges& changes, bool blocks);

// Name, scheme and bytes of a part; no divergence yet.
[[nodiscard]] PartDivergence describe_part(const ExplainedPart& part,
                                           const io::Checkpoint& candidate,
                                           const ModelChanges& changes);

// Fills in nats_per_mb and sorts: most nats per MB first, parts without behind, by nats.
void sort_parts(std::vector<PartDivergence>& parts);

}  // namespace fptq::eval
