#include "eval/explain.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/check.h"
#include "eval/documents.h"
#include "eval/explain_parts.h"
#include "eval/model_logits.h"
#include "eval/window_divergence.h"
#include "eval/windows.h"
#include "model/mixed_checkpoint.h"

namespace fptq::eval {
namespace {

constexpr std::array<std::string_view, 4> kPerNames = {"auto", "linear", "block", "none"};
constexpr std::size_t kMostLinears = 100;

// The nearest multiple of 2^-40: sums of such numbers below 2^12 are exact.
double on_grid(double nats) {
  return std::ldexp(std::nearbyint(std::ldexp(nats, 40)), -40);
}

Result<std::vector<WindowDivergence::Window>> make_windows(const ExplainText& text,
                                                           std::size_t vocabulary,
                                                           std::size_t context,
                                                           std::size_t max_windows) {
  FPTQ_TRY(const DocumentSet set,
           make_documents(Protocol::kLlamaCpp, DocumentMode::kAuto, text.text, text.name));
  const std::string& document = set.documents.front().text;
  FPTQ_TRY(const std::vector<TokenId> stream, text.base_encode(document));
  FPTQ_TRY(const std::vector<TokenId> other, text.candidate_encode(document));
  if (stream != other) {
    return Error{Error::Kind::kInvalidArgument,
                 text.name +
                     ": expected two models that tokenize the text alike, and they do not. Is the "
                     "candidate made from that base?"};
  }
  for (const TokenId id : stream) {
    if (id >= 0 && static_cast<std::size_t>(id) < vocabulary) continue;
    return Error{Error::Kind::kFormat,
                 "tokenizer: expected ids below " + std::to_string(vocabulary) +
                     ", the rows of the models' classifiers, got " + std::to_string(id)};
  }
  std::vector<Window> planned = plan_windows(Protocol::kLlamaCpp, stream.size(), context);
  if (planned.empty()) {
    return Error{Error::Kind::kFormat, text.name + ": KL divergence: expected at least " +
                                           std::to_string(context) + " tokens (one window), got " +
                                           std::to_string(stream.size()) +
                                           ". Use a longer text or a smaller context (--ctx)"};
  }
  if (max_windows > 0 && planned.size() > max_windows) planned.resize(max_windows);
  std::vector<WindowDivergence::Window> windows;
  windows.reserve(planned.size());
  for (const Window& window : planned) {
    windows.push_back({window_tokens(Protocol::kLlamaCpp, window, stream, text.block_start),
                       window.first_scored});
  }
  return windows;
}

// Which parts of the candidate are switched on.
struct State {
  std::set<std::string> modules;
  bool activations = false;
  bool cache = false;

  auto operator<=>(const State&) const = default;
};

// One player of the budget.
struct Group {
  std::string name;
  std::set<std::string> modules;  // what it switches on
  bool activations = false;
  bool cache = false;
};

class Explainer {
 public:
  Explainer(const std::shared_ptr<const io::Checkpoint>& base,
            const std::shared_ptr<const io::Checkpoint>& candidate, const ExplainOptions& options)
      : base_(base), candidate_(candidate), options_(options) {}

  Result<Explanation> explain(const ExplainText& text) {
    FPTQ_TRY(const ModelChanges changes, find_changes(*base_, *candidate_, *options_.pool));
    // Says as well where the two cannot be mixed, before anything is measured.
    FPTQ_TRY(auto base_model, load(State{}));
    ModelLogits base_logits(base_model);
    const std::size_t positions = base_model.config().max_positions;
    result_.context =
        options_.context != 0 ? options_.context : default_context(Protocol::kLlamaCpp, positions);
    if (result_.context < smallest_context(Protocol::kLlamaCpp)) {
      return Error{Error::Kind::kInvalidArgument,
                   "context: expected at least " +
                       std::to_string(smallest_context(Protocol::kLlamaCpp)) +
                       " tokens for a KL divergence, got " + std::to_string(result_.context)};
    }
    FPTQ_TRY(auto windows,
             make_windows(text, base_logits.vocabulary(), result_.context, options_.max_windows));
    model::LoadOptions how{.pool = options_.pool, .isa = options_.isa};
    FPTQ_TRY(auto original, model::LlamaModel::load(base_, how));
    ModelLogits original_logits(original);
    FPTQ_TRY(WindowDivergence divergence,
             WindowDivergence::create(original_logits, *options_.pool, std::move(windows),
                                      options_.cache_bytes));
    divergence_ = &divergence;
    result_.windows = divergence.windows();
    result_.tokens = divergence.tokens();

    const std::vector<Group> groups = make_groups(changes);
    const std::vector<ExplainedPart> parts = choose_parts(changes);
    plan_measurements(groups, parts);
    FPTQ_TRY(const WindowKl nothing, measure(State{}));
    result_.noise_floor = nothing.mean;
    FPTQ_TRY(const WindowKl everything, measure(full_));
    result_.total = everything.mean;
    result_.total_standard_error = everything.standard_error;
    FPTQ_TRY_VOID(share_out(groups));
    FPTQ_TRY_VOID(measure_parts(parts, changes));
    return std::move(result_);
  }

 private:
  std::vector<Group> make_groups(const ModelChanges& changes) {
    Group embedding{"embedding", {model::kEmbeddingModuleName}};
    Group weights{"weights", {}};
    Group classifier{"classifier", {model::kFinalNormName, model::kClassifierModuleName}};
    for (const std::string& module : changes.modules) {
      full_.modules.insert(module);
      if (module.starts_with("model.layers.")) weights.modules.insert(module);
    }
    std::vector<Group> groups;
    if (changes.other_basis) {
      result_.notes.push_back(
          "the candidate's residual stream has another basis (its embedding is far from the "
          "base's, as in rotated models): its weights work only all together, so that they are "
          "one group and no linear can be looked at alone");
      groups.push_back(Group{"weights", full_.modules});
    } else {
      groups.push_back(std::move(embedding));
      groups.push_back(std::move(weights));
    }
    full_.activations = changes.quantized_activations;
    if (full_.activations) groups.push_back(Group{"activations", {}, true});
    if (!changes.other_basis) groups.push_back(std::move(classifier));
    full_.cache = options_.kv != model::KvType::kF32;
    if (full_.cache) groups.push_back(Group{"cache", {}, false, true});
    return groups;
  }

  // What is switched on alone, with the cache that all have.
  std::vector<ExplainedPart> choose_parts(const ModelChanges& changes) {
    ExplainPer per = options_.per;
    if (per == ExplainPer::kAuto) {
      per = changes.linears() <= kMostLinears ? ExplainPer::kLinear : ExplainPer::kBlock;
    }
    if (changes.other_basis) per = ExplainPer::kNone;
    if (per == ExplainPer::kLinear && changes.changed_norms) {
      per = ExplainPer::kBlock;
      result_.notes.push_back(
          "norms of the candidate differ from the base's: factors have moved between the linears "
          "of a block, so that blocks are looked at and not linears");
    }
    result_.per = per;
    if (per == ExplainPer::kNone) return {};
    return explained_parts(changes, per == ExplainPer::kBlock);
  }

  static void switch_on(const Group& group, State& state) {
    state.modules.insert(group.modules.begin(), group.modules.end());
    state.activations |= group.activations;
    state.cache |= group.cache;
  }

  // The groups' states in one order, from nothing to everything.
  static std::vector<State> states_of(const std::vector<const Group*>& order) {
    std::vector<State> states = {State{}};
    for (const Group* group : order) {
      states.push_back(states.back());
      switch_on(*group, states.back());
    }
    return states;
  }

  static std::vector<const Group*> forward_order(const std::vector<Group>& groups) {
    std::vector<const Group*> order;
    order.reserve(groups.size());
    for (const Group& group : groups) order.push_back(&group);
    return order;
  }

  static std::vector<const Group*> reverse_order(const std::vector<Group>& groups) {
    std::vector<const Group*> order = forward_order(groups);
    std::reverse(order.begin(), order.end());
    // Activations become integers where weights are, and come behind them.
    for (std::size_t i = 0; i + 1 < order.size(); ++i) {
      if (!order[i]->activations) continue;
      std::swap(order[i], order[i + 1]);
      break;
    }
    return order;
  }

  [[nodiscard]] State alone(const ExplainedPart& part) const {
    return State{part.modules, full_.activations && !part.modules.empty(), part.cache};
  }

  void plan_measurements(const std::vector<Group>& groups,
                         const std::vector<ExplainedPart>& parts) {
    std::set<State> states;
    for (const auto& order : {forward_order(groups), reverse_order(groups)}) {
      for (const State& state : states_of(order)) states.insert(state);
    }
    for (const ExplainedPart& part : parts) states.insert(alone(part));
    if (full_.cache && !parts.empty()) states.insert(State{{}, false, true});
    planned_ = states.size();
  }

  Result<model::LlamaModel> load(const State& state) const {
    model::LoadOptions how{.pool = options_.pool, .isa = options_.isa};
    how.activations =
        state.activations ? model::ActivationMode::kAsStored : model::ActivationMode::kFloat;
    // The candidate itself, so that the total is what `compare` measures.
    const bool whole = !full_.modules.empty() && state.modules == full_.modules;
    if (whole) return model::LlamaModel::load(candidate_, how);
    FPTQ_TRY(auto mixed, model::mix_checkpoints(base_, candidate_, state.modules));
    return model::LlamaModel::load(std::move(mixed), how);
  }

  Result<WindowKl> measure(const State& state) {
    if (const auto known = measured_.find(state); known != measured_.end()) return known->second;
    FPTQ_TRY(model::LlamaModel model, load(state));
    ModelLogits logits(model, state.cache ? options_.kv : model::KvType::kF32);
    FPTQ_TRY(WindowKl kl, divergence_->measure(logits));
    kl.mean = on_grid(kl.mean);
    measured_.emplace(state, kl);
    if (!report_progress(options_.progress, "explaining", measured_.size(),
                         std::max(planned_, measured_.size()))) {
      return Error{Error::Kind::kInterrupted, "explain: interrupted"};
    }
    return kl;
  }

  // What each group adds, by name, in one order.
  Result<std::map<std::string, double>> increments(const std::vector<const Group*>& order) {
    std::map<std::string, double> added;
    const std::vector<State> states = states_of(order);
    for (std::size_t i = 0; i < order.size(); ++i) {
      FPTQ_TRY(const WindowKl before, measure(states[i]));
      FPTQ_TRY(const WindowKl after, measure(states[i + 1]));
      // The shares begin at 0; what is measured with nothing switched on belongs to the first.
      added[order[i]->name] = after.mean - (i == 0 ? 0.0 : before.mean);
    }
    return added;
  }

  Status share_out(const std::vector<Group>& groups) {
    FPTQ_TRY(const auto forward, increments(forward_order(groups)));
    FPTQ_TRY(const auto reverse, increments(reverse_order(groups)));
    for (const Group& group : groups) {
      const double first = forward.at(group.name);
      const double second = reverse.at(group.name);
      result_.budget.push_back({group.name, first, second, (first + second) / 2});
    }
    return {};
  }

  Status measure_parts(std::vector<ExplainedPart> parts, const ModelChanges& changes) {
    if (parts.empty()) return {};
    if (full_.cache) parts.push_back(ExplainedPart{.name = "cache", .modules = {}, .cache = true});
    result_.interaction = result_.total;
    for (const ExplainedPart& part : parts) {
      FPTQ_TRY(const WindowKl kl, measure(alone(part)));
      result_.parts.push_back(describe_part(part, *candidate_, changes));
      result_.parts.back().nats = kl.mean;
      result_.parts.back().standard_error = kl.standard_error;
      result_.interaction -= kl.mean;
    }
    sort_parts(result_.parts);
    return {};
  }

  const std::shared_ptr<const io::Checkpoint>& base_;
  const std::shared_ptr<const io::Checkpoint>& candidate_;
  const ExplainOptions& options_;
  WindowDivergence* divergence_ = nullptr;
  State full_;
  std::map<State, WindowKl> measured_;
  std::size_t planned_ = 0;
  Explanation result_;
};

}  // namespace

Result<ExplainPer> parse_explain_per(std::string_view name) {
  const auto found = std::find(kPerNames.begin(), kPerNames.end(), name);
  if (found != kPerNames.end()) return static_cast<ExplainPer>(found - kPerNames.begin());
  return Error{Error::Kind::kInvalidArgument, "--per \"" + std::string(name.substr(0, 80)) +
                                                  "\": expected auto, linear, block or none"};
}

std::string_view explain_per_name(ExplainPer per) {
  return kPerNames[static_cast<std::size_t>(per)];
}

Result<Explanation> explain_divergence(const std::shared_ptr<const io::Checkpoint>& base,
                                       const std::shared_ptr<const io::Checkpoint>& candidate,
                                       const ExplainText& text, const ExplainOptions& options) {
  FPTQ_CHECK(options.pool != nullptr && base != nullptr && candidate != nullptr,
             "two checkpoints and a thread pool");
  return Explainer(base, candidate, options).explain(text);
}

Json to_json(const Explanation& explanation) {
  const auto or_null = [](const auto& value) { return value ? Json(*value) : Json(); };
  Json budget = Json::array();
  for (const BudgetShare& share : explanation.budget) {
    budget.push_back({{"group", share.group},
                      {"forward", share.forward},
                      {"reverse", share.reverse},
                      {"mean", share.mean}});
  }
  Json parts = Json::array();
  for (const PartDivergence& part : explanation.parts) {
    parts.push_back({{"name", part.name},
                     {"scheme", part.scheme},
                     {"nats", part.nats},
                     {"stderr", part.standard_error},
                     {"bytes", part.bytes},
                     {"bytes_to_w8c", or_null(part.bytes_to_w8c)},
                     {"nats_per_mb", or_null(part.nats_per_mb)}});
  }
  return {{"total", explanation.total},
          {"stderr", explanation.total_standard_error},
          {"noise_floor", explanation.noise_floor},
          {"budget", std::move(budget)},
          {"per", std::string(explain_per_name(explanation.per))},
          {"parts", std::move(parts)},
          {"interaction", explanation.parts.empty() ? Json() : Json(explanation.interaction)},
          {"windows", explanation.windows},
          {"ctx", explanation.context},
          {"tokens", explanation.tokens},
          {"notes", explanation.notes}};
}

}  // namespace fptq::eval
