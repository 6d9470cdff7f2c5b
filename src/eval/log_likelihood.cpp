#include "eval/log_likelihood.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <string>
#include <utility>

#include "base/check.h"
#include "eval/logit_row.h"
#include "eval/logits_source.h"
#include "eval/prefix_tree.h"

namespace fptq::eval {
namespace {

// Caches of nodes that are begun. Further ones wait, but for one.
constexpr std::uint64_t kCacheBytes = std::uint64_t{256} << 20;
// Logits of a pass.
constexpr std::uint64_t kLogitsBytes = std::uint64_t{128} << 20;

std::uint64_t cache_bytes_per_token(const model::LlamaConfig& config, model::KvType kv) {
  const std::uint64_t element = kv == model::KvType::kF32 ? 4 : kv == model::KvType::kBF16 ? 2 : 1;
  return std::uint64_t{2} * config.num_layers * config.kv_width() * element;
}

std::size_t most_rows(std::size_t vocabulary) {
  return std::clamp<std::size_t>(kLogitsBytes / (vocabulary * sizeof(float)), 1,
                                 model::kPassTokens);
}

// A node on its way through the model.
struct NodeRun {
  std::optional<model::KvCache> cache;  // from when its turn comes until its children have theirs
  std::size_t computed = 0;             // tokens of it
  std::size_t children_without_cache = 0;
};

// What is taken from a node into one pass.
struct Part {
  std::size_t node;
  std::size_t begin;  // tokens of the node's sequences
  std::size_t count;
};

// The tree's nodes go through the model, parents before children. Passes stay full: while nodes of
// some documents are computed, those of the next are begun.
class TreeRun {
 public:
  TreeRun(model::LlamaModel& model, ThreadPool& pool, model::KvType kv,
          std::span<const ScoredSequence> sequences, std::vector<SequenceScore>& scores,
          const OnSequence& on_scored)
      : model_(model),
        pool_(pool),
        kv_(kv),
        sequences_(sequences),
        scores_(scores),
        on_scored_(on_scored),
        nodes_(prefix_tree(sequences)),
        runs_(nodes_.size()),
        vocabulary_(model.config().vocab_size),
        most_rows_(most_rows(vocabulary_)),
        exp_(model.isa()) {}

  // The tokens that all sequences begin with and that none scores.
  [[nodiscard]] std::span<const TokenId> beginning() const {
    const bool has_one = has_one_root() && !nodes_.front().scored;
    return has_one ? tokens_of(0).first(nodes_.front().end) : std::span<const TokenId>();
  }

  // known: positions of beginning() that `cache` holds. The rest of it comes into `cache` too,
  // which has to have room.
  Status run(model::KvCache* cache, std::size_t known) {
    shared_ = cache;
    for (std::size_t i = nodes_.size(); i-- > 0;) {
      if (nodes_[i].parent == i) waiting(i).push_front(i);
    }
    if (shared_ != nullptr) {
      waiting(0).pop_front();
      runs_[0].computed = known;
      ready_.push_back(0);
      finish_nodes();
    }
    for (;;) {
      FPTQ_TRY_VOID(begin_nodes());
      if (ready_.empty()) return {};
      FPTQ_TRY_VOID(run_pass(next_pass()));
      finish_nodes();
    }
  }

  [[nodiscard]] std::uint64_t most_cache_bytes() const { return most_cache_bytes_; }

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

  // Nodes of this one's kind whose parents are done and that have no cache yet.
  std::deque<std::size_t>& waiting(std::size_t node) {
    return nodes_[node].scored ? waiting_scored_ : waiting_;
  }

  // Begins nodes until they fill a pass: first those that score, because their documents are
  // finished first and give their caches back.
  Status begin_nodes() {
    std::size_t scored = 0;
    std::size_t unscored = 0;
    for (const std::size_t i : ready_) (nodes_[i].scored ? scored : unscored) += left_of(i);
    while (!waiting_scored_.empty() && scored < most_rows_ && has_room(waiting_scored_.front())) {
      scored += nodes_[waiting_scored_.front()].size();
      FPTQ_TRY_VOID(begin_first(waiting_scored_));
    }
    scored = std::min(scored, most_rows_);
    while (!waiting_.empty() && scored + unscored < model::kPassTokens &&
           has_room(waiting_.front())) {
      unscored += nodes_[waiting_.front()].size();
      FPTQ_TRY_VOID(begin_first(waiting_));
    }
    return {};
  }

  [[nodiscard]] std::size_t left_of(std::size_t node) const {
    return nodes_[node].size() - runs_[node].computed;
  }

  // The last child goes on with its parent's cache.
  [[nodiscard]] bool takes_cache(std::size_t node) const {
    const std::size_t parent = nodes_[node].parent;
    return parent != node && runs_[parent].cache && runs_[parent].children_without_cache == 1;
  }

  [[nodiscard]] bool has_room(std::size_t node) const {
    if (ready_.empty() || takes_cache(node)) return true;
    const std::uint64_t per_token = cache_bytes_per_token(model_.config(), kv_);
    return cache_bytes_ + nodes_[node].longest * per_token <= kCacheBytes;
  }

  Status begin_first(std::deque<std::size_t>& queue) {
    const std::size_t node = queue.front();
    queue.pop_front();
    const std::size_t parent = nodes_[node].parent;
    if (takes_cache(node)) {
      runs_[node].cache = std::move(runs_[parent].cache);
      runs_[parent].cache.reset();
    } else {
      FPTQ_TRY(runs_[node].cache, model_.new_cache(nodes_[node].longest, kv_));
      cache_bytes_ += runs_[node].cache->bytes();
      most_cache_bytes_ = std::max(most_cache_bytes_, cache_bytes_);
      if (parent != node) runs_[node].cache->copy_prefix(cache_of(parent), nodes_[parent].end);
    }
    if (parent != node) --runs_[parent].children_without_cache;
    ready_.push_back(node);
    return {};
  }

  // Children of nodes that are done may begin, before those of other documents.
  void finish_nodes() {
    std::deque<std::size_t> left;
    for (const std::size_t node : ready_) {
      if (left_of(node) > 0) {
        left.push_back(node);
        continue;
      }
      const std::vector<std::size_t>& children = nodes_[node].children;
      runs_[node].children_without_cache = children.size();
      for (auto child = children.rbegin(); child != children.rend(); ++child) {
        waiting(*child).push_front(*child);
      }
      if (!children.empty() || !runs_[node].cache) continue;
      cache_bytes_ -= runs_[node].cache->bytes();
      runs_[node].cache.reset();
    }
    ready_ = std::move(left);
  }

  [[nodiscard]] std::vector<Part> next_pass() const {
    std::vector<Part> parts;
    std::size_t tokens = model::kPassTokens;
    std::size_t rows = most_rows_;
    for (const std::size_t index : ready_) {
      const PrefixNode& node = nodes_[index];
      std::size_t count = std::min(left_of(index), tokens);
      if (node.scored) count = std::min(count, rows);
      if (count == 0) continue;
      parts.push_back({index, node.begin + runs_[index].computed, count});
      tokens -= count;
      if (node.scored) rows -= count;
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
      FPTQ_TRY_VOID(report_finished(part.node));
    }
    return {};
  }

  // Tells of the sequences that end with this node, if it is done.
  Status report_finished(std::size_t node) {
    if (!on_scored_ || left_of(node) > 0) return {};
    for (const std::size_t s : nodes_[node].sequences) {
      if (sequences_[s].tokens.size() - 1 != nodes_[node].end) continue;
      FPTQ_TRY_VOID(on_scored_(s, scores_[s]));
    }
    return {};
  }

  Status look_at_rows(std::size_t rows) {
    rows_.resize(rows);
    pool_.parallel_for(rows, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; ++r) {
        rows_[r] = look_at_row(row_of(r), exp_);
      }
    });
    for (const LogitRow& row : rows_) {
      if (std::isfinite(row.norm)) continue;
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
            static_cast<double>(row_of(row)[static_cast<std::size_t>(token)]) - rows_[row].norm;
        scores_[s].greedy = scores_[s].greedy && rows_[row].top == token;
      }
    }
  }

  model::LlamaModel& model_;
  ThreadPool& pool_;
  model::KvType kv_;
  std::span<const ScoredSequence> sequences_;
  std::vector<SequenceScore>& scores_;
  const OnSequence& on_scored_;
  std::vector<PrefixNode> nodes_;
  std::vector<NodeRun> runs_;
  std::size_t vocabulary_;                  // V
  std::size_t most_rows_;                   // of logits in a pass
  model::KvCache* shared_ = nullptr;        // takes part as node 0's cache
  std::deque<std::size_t> waiting_scored_;  // nodes whose parents are done, without a cache
  std::deque<std::size_t> waiting_;         // the same of those that score nothing
  std::deque<std::size_t> ready_;           // nodes with a cache that are not done
  std::uint64_t cache_bytes_ = 0;
  std::uint64_t most_cache_bytes_ = 0;
  std::vector<float> logits_;   // [rows, V] of the pass
  std::vector<LogitRow> rows_;  // what they say
  ops::Exp exp_;
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

Result<std::vector<SequenceScore>> LogLikelihoodScorer::score(
    std::span<const ScoredSequence> sequences, const OnSequence& on_scored) {
  FPTQ_TRY_VOID(check_ids(sequences, model_->config().vocab_size));
  std::vector<SequenceScore> scores(sequences.size());
  if (model_->config().rope.kind == model::RopeKind::kDynamic) {
    const OnSequence no_report;
    // There a position's key depends on the length of the sequence: nothing can be shared.
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      std::vector<SequenceScore> alone(1);
      TreeRun run(*model_, *pool_, kv_, sequences.subspan(i, 1), alone, no_report);
      FPTQ_TRY_VOID(run.run(nullptr, 0));
      scores[i] = alone.front();
      if (on_scored) FPTQ_TRY_VOID(on_scored(i, scores[i]));
    }
    return scores;
  }
  TreeRun run(*model_, *pool_, kv_, sequences, scores, on_scored);
  const std::span<const TokenId> tokens = run.beginning();
  // A few tokens are not worth a cache that is kept.
  constexpr std::size_t kWorthKeeping = 16;
  if (tokens.size() < kWorthKeeping) {
    FPTQ_TRY_VOID(run.run(nullptr, 0));
    most_cache_bytes_ = std::max(most_cache_bytes_, run.most_cache_bytes());
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
  most_cache_bytes_ = std::max(most_cache_bytes_, run.most_cache_bytes());
  beginning_.emplace(Beginning{{tokens.begin(), tokens.end()}, std::move(cache)});
  return scores;
}

}  // namespace fptq::eval
