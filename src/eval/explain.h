// Where a candidate's divergence from its base comes from.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/cpu.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "eval/logits_source.h"
#include "io/checkpoint.h"
#include "model/kv_cache.h"

namespace fptq::eval {

// What is switched on alone. kAuto: linears where there are at most 100, else blocks.
enum class ExplainPer : std::uint8_t { kAuto, kLinear, kBlock, kNone };

// "auto", "linear", "block", "none". Errors: kInvalidArgument lists the names.
[[nodiscard]] Result<ExplainPer> parse_explain_per(std::string_view name);
[[nodiscard]] std::string_view explain_per_name(ExplainPer per);

struct ExplainOptions {
  ThreadPool* pool = nullptr;  // required
  Isa isa = best_isa();
  model::KvType kv = model::KvType::kF32;  // the candidate's; the base keeps float32
  std::size_t context = 0;                 // tokens in a window; 0: 512, at most the model's
  std::size_t max_windows = 8;             // 0: all of the text
  ExplainPer per = ExplainPer::kAuto;
  std::uint64_t cache_bytes = std::uint64_t{1} << 30;  // for logits of the base
  ProgressFn progress;
};

// What both models are given. encode: of each; they have to agree.
struct ExplainText {
  std::string_view text;
  std::string name;  // for messages
  EncodeFn base_encode;
  EncodeFn candidate_encode;
  std::optional<TokenId> block_start;  // TextModel::block_start
};

// A group's share of the divergence, in nats.
struct BudgetShare {
  std::string group;   // "embedding", "weights", "activations", "classifier", "cache"
  double forward = 0;  // what it adds in the order of Explanation::budget
  double reverse = 0;  // what it adds in the reverse order, activations behind their weights
  double mean = 0;     // of the two; may be negative
};

// One part of the candidate with all else the base's.
struct PartDivergence {
  std::string name;    // "model.layers.0.mlp.up_proj", "model.layers.0", "lm_head", "cache"
  std::string scheme;  // "w4g32-a8t", "mixed"
  double nats = 0;
  double standard_error = 0;  // over windows
  std::uint64_t bytes = 0;    // of its weights in the file
  // 8-bit codes and a 16-bit scale per row, minus `bytes`; absent for what has no weights.
  std::optional<std::int64_t> bytes_to_w8c;
  // nats / MB of bytes_to_w8c: the most that a megabyte (1e6 bytes) can save here, as 8 bits lose
  // something too. Absent where 8 bits take no more bytes than now.
  std::optional<double> nats_per_mb;
};

// Divergences are multiples of 2^-40 nats and means of two of them multiples of 2^-41, so that
// sums have no rounding: the shares, and the parts with their interaction, add up to `total` in
// any order, as doubles.
struct Explanation {
  double total = 0;  // KL(base || candidate)
  double total_standard_error = 0;
  // KL(base || base as it is put together for this, no part the candidate's): 0 but for defects.
  double noise_floor = 0;
  std::vector<BudgetShare> budget;
  ExplainPer per = ExplainPer::kNone;  // what `parts` are
  std::vector<PartDivergence> parts;   // most nats per MB first
  double interaction = 0;              // total - sum of the parts; 0 where there are none
  std::size_t windows = 0;
  std::size_t context = 0;
  std::size_t tokens = 0;          // positions compared
  std::vector<std::string> notes;  // what could not be told apart, and why
};

// Measures in the windows of measure_kl(): the second half of each.
//
// Groups are switched on one after the other, in the order embedding, weights (decoder linears and
// norms of blocks), activations, classifier (with the final norm), cache; and in the reverse of
// it. Activations are integers only where weights are, so that they come behind the weights in
// both orders. The means over the two orders are an estimate of Shapley values that adds up.
//
// Where the candidate's norms differ from the base's, factors have moved between the linears of a
// block, and blocks are the least that can be told apart. Where its residual stream has another
// basis (the embedding is far from the base's: rotated models), all weights are one group.
//
// Errors: mix_checkpoints()'s, LlamaModel::load()'s, those of measure_kl() about text and windows;
// kInterrupted.
[[nodiscard]] Result<Explanation> explain_divergence(
    const std::shared_ptr<const io::Checkpoint>& base,
    const std::shared_ptr<const io::Checkpoint>& candidate, const ExplainText& text,
    const ExplainOptions& options);

// The object that `fptq explain --json` writes.
[[nodiscard]] Json to_json(const Explanation& explanation);

}  // namespace fptq::eval
