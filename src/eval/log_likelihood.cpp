#include "eval/log_likelihood.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <string>
#include <utility>

#include "base/check.h"
#include "eval/logits_source.h"
#include "eval/prefix_tree.h"
#include "eval/softmax.h"
#include "numeric/softmax.h"

namespace fptq::eval {
namespace {

constexpr std::uint64_t kCacheBytes = std::uint64_t{256} << 20;
// Tokens of sequences that are scored together: some passes, whatever they have in common.
constexpr std::size_t kTokensTogether = 8 * model::kPassTokens;

std::uint64_t cache_bytes_per_token(const model::LlamaConfig& config, model::KvType kv) {
  const std::uint64_t element = kv == model::KvType::kF32 ? 4 : kv == model::KvType::kBF16 ? 2 : 1;
  return std::uint64_t{2} * config.num_layers * config.kv_width() * element;
}

// A node on its way through the model.
struct NodeRun {
  std::optional<model::KvCache> cache;  // from when its turn comes until its children have theirs
  std::size_t computed = 0;             // tokens of it
};

// What is taken from a node into one pass.
struct Part {
  std::size_t node;
  std::size_t begin;  // tokens of the node's sequences
  std::size_t count;
};

// The tree's nodes go through the model in the order in which their parents are done.
class TreeRun {
 public:
  TreeRun(model::LlamaModel& model, ThreadPool& pool, model::KvType kv,
          std::span<const ScoredSequence> sequences, std::vector<SequenceScore>& scores)
      : model_(model),
        pool_(pool),
        kv_(kv),
        sequences_(sequences),
        scores_(scores),
        nodes_(prefix_tree(sequences)),
        runs_(nodes_.size()),
        vocabulary_(model.config().vocab_size),
        most_rows_(logits_rows_at_a_time(vocabulary_)) {}

  // The tokens that all sequences begin with and that none scores.
  [[nodiscard]] std::span<const TokenId> beginning() const {
    const bool has_one = has_one_root() && !nodes_.front().scored;
    return has_one ? tokens_of(0).first(nodes_.front().end) : std::span<const TokenId>();
  }

  // known: positions of beginning() that `cache` holds. The rest of it comes into `cache` too,
  // which has to have room.
  Status run(model::KvCache* cache, std::size_t known) {
    shared_ = cache;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].parent == i) ready_.push_back(i);
    }
    if (shared_ != nullptr) runs_[0].computed = known;
    for (const std::size_t i : ready_) {
      if (shared_ == nullptr || i > 0) {
        FPTQ_TRY(runs_[i].cache, model_.new_cache(nodes_[i].longest, kv_));
      }
    }
    for (;;) {
      FPTQ_TRY_VOID(release_children());
      if (ready_.empty()) return {};
      FPTQ_TRY_VOID(run_pass(next_pass()));
    }
  }

 private:
  [[nodiscard]] bool has_one_root() const {
    return std::count_if(nodes_.begin(), nodes_.end(),
                         [](const PrefixNode& node) { return node.begin == 0; }) == 1;
  }

  [[nodiscard]] std::span<const TokenId> tokens_of(std::size_t node) const {
    return sequences_[nodes_[node].sequences.front()].tokens;
  }

  [[nodiscard]] model::KvCache& cache_of(std::size_t node) {
    return shared_ != nullptr && node == 0 ? *shared_ : *runs_[node].cache;
  }

  // Gives caches to the children of nodes that are done; the last one goes on with its parent's.
  Status release_children() {
    while (!ready_.empty() && runs_[ready_.front()].computed == nodes_[ready_.front()].size()) {
      const std::size_t done = ready_.front();
      ready_.pop_front();
      const std::vector<std::size_t>& children = nodes_[done].children;
      for (const std::size_t child : children) {
        const bool moves = child == children.back() && runs_[done].cache.has_value();
        if (moves) {
          runs_[child].cache = std::move(runs_[done].cache);
        } else {
          FPTQ_TRY(runs_[child].cache, model_.new_cache(nodes_[child].longest, kv_));
          runs_[child].cache->copy_prefix(cache_of(done), nodes_[done].end);
        }
        ready_.push_back(child);
      }
      runs_[done].cache.reset();
    }
    return {};
  }

  [[nodiscard]] std::vector<Part> next_pass() const {
    std::vector<Part> parts;
    std::size_t tokens = model::kPassTokens;
    std::size_t rows = most_rows_;
    for (const std::size_t index : ready_) {
      const PrefixNode& node = nodes_[index];
      const std::size_t done = runs_[index].computed;
      std::size_t count = std::min(node.size() - done, tokens);
      if (node.scored) count = std::min(count, rows);
      if (count == 0) break;
      parts.push_back({index, node.begin + done, count});
      tokens -= count;
      if (node.scored) rows -= count;
      // The nodes behind wait for this one, so that those that are done stand in front.
      if (done + count < node.size()) break;
    }
    return parts;
  }

  Status run_pass(const std::vector<Part>& parts) {
    std::vector<model::SequenceInput> inputs;
    std::size_t rows = 0;
    for (const Part& part : parts) {
      const PrefixNode& node = nodes_[part.node];
      inputs.push_back(
          {.ids = tokens_of(part.node).subspan(part.begin, part.count),
           .cache = &cache_of(part.node),
           .logits = node.scored ? model::LogitsWanted::kAll : model::LogitsWanted::kNone,
           .total_length = node.longest});
      rows += node.scored ? part.count : 0;
    }
    logits_.resize(rows * vocabulary_);
    FPTQ_TRY_VOID(model_.forward(inputs, logits_));
    FPTQ_TRY_VOID(look_at_rows(rows));
    std::size_t row = 0;
    for (const Part& part : parts) {
      runs_[part.node].computed += part.count;
      if (!nodes_[part.node].scored) continue;
      add_scores(part, row);
      row += part.count;
    }
    return {};
  }

  // The norm and the most probable token of every row of logits.
  Status look_at_rows(std::size_t rows) {
    norms_.assign(rows, 0.0);
    tops_.assign(rows, 0);
    pool_.parallel_for(rows, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; ++r) {
        const std::span<const float> row = row_of(r);
        norms_[r] = log_sum_exp(row);
        tops_[r] = most_probable(row);
      }
    });
    for (const double norm : norms_) {
      if (std::isfinite(norm)) continue;
      return Error{Error::Kind::kFormat,
                   "task: expected finite logits, got infinity or NaN. Are the weights damaged?"};
    }
    return {};
  }

  [[nodiscard]] std::span<const float> row_of(std::size_t row) const {
    return std::span(logits_).subspan(row * vocabulary_, vocabulary_);
  }

  // The logits of position p say what token p + 1 is. first_row: of the part's first token.
  void add_scores(const Part& part, std::size_t first_row) {
    for (const std::size_t s : nodes_[part.node].sequences) {
      const ScoredSequence& sequence = sequences_[s];
      for (std::size_t i = 0; i < part.count; ++i) {
        const std::size_t next = part.begin + i + 1;
        if (next < sequence.first_scored) continue;
        const TokenId token = sequence.tokens[next];
        const std::size_t row = first_row + i;
        scores_[s].log_likelihood +=
            static_cast<double>(row_of(row)[static_cast<std::size_t>(token)]) - norms_[row];
        scores_[s].greedy = scores_[s].greedy && tops_[row] == token;
      }
    }
  }

  model::LlamaModel& model_;
  ThreadPool& pool_;
  model::KvType kv_;
  std::span<const ScoredSequence> sequences_;
  std::vector<SequenceScore>& scores_;
  std::vector<PrefixNode> nodes_;
  std::vector<NodeRun> runs_;
  std::size_t vocabulary_;            // V
  std::size_t most_rows_;             // of logits in a pass
  model::KvCache* shared_ = nullptr;  // takes part as node 0's cache
  std::deque<std::size_t> ready_;     // nodes whose parents are done
  std::vector<float> logits_;         // [rows, V] of the pass
  std::vector<double> norms_;         // of the rows
  std::vector<TokenId> tops_;
};

Status check_ids(std::span<const ScoredSequence> sequences, std::size_t vocabulary) {
  for (const ScoredSequence& sequence : sequences) {
    for (const TokenId id : sequence.tokens) {
      if (id >= 0 && static_cast<std::size_t>(id) < vocabulary) continue;
      return Error{Error::Kind::kInvalidArgument,
                   "tokenizer: expected ids below " + std::to_string(vocabulary) +
                       ", the rows of the model's classifier, got " + std::to_string(id)};
    }
  }
  return {};
}

}  // namespace

std::size_t LogLikelihoodScorer::fit_together(std::span<const ScoredSequence> sequences) const {
  const std::uint64_t per_token = cache_bytes_per_token(model_->config(), kv_);
  std::size_t tokens = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    tokens += sequences[i].tokens.size();
    if (i > 0 && (tokens > kTokensTogether || tokens * per_token > kCacheBytes)) return i;
  }
  return sequences.size();
}

Result<std::vector<SequenceScore>> LogLikelihoodScorer::score(
    std::span<const ScoredSequence> sequences) {
  FPTQ_TRY_VOID(check_ids(sequences, model_->config().vocab_size));
  std::vector<SequenceScore> scores(sequences.size());
  if (model_->config().rope.kind == model::RopeKind::kDynamic) {
    // There a position's key depends on the length of the sequence: nothing can be shared.
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      std::vector<SequenceScore> alone(1);
      TreeRun run(*model_, *pool_, kv_, sequences.subspan(i, 1), alone);
      FPTQ_TRY_VOID(run.run(nullptr, 0));
      scores[i] = alone.front();
    }
    return scores;
  }
  TreeRun run(*model_, *pool_, kv_, sequences, scores);
  const std::span<const TokenId> tokens = run.beginning();
  // A few tokens are not worth a cache that is kept.
  constexpr std::size_t kWorthKeeping = 16;
  if (tokens.size() < kWorthKeeping) {
    FPTQ_TRY_VOID(run.run(nullptr, 0));
    return scores;
  }
  std::size_t known = 0;
  FPTQ_TRY(model::KvCache cache, model_->new_cache(tokens.size(), kv_));
  if (beginning_) {
    const auto [end, other] = std::mismatch(tokens.begin(), tokens.end(),
                                            beginning_->tokens.begin(), beginning_->tokens.end());
    known = static_cast<std::size_t>(end - tokens.begin());
    cache.copy_prefix(beginning_->cache, known);
  }
  FPTQ_TRY_VOID(run.run(&cache, known));
  beginning_.emplace(Beginning{{tokens.begin(), tokens.end()}, std::move(cache)});
  return scores;
}

}  // namespace fptq::eval
