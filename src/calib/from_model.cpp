// Calibration on what the model itself says.

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/rng.h"
#include "base/sha256.h"
#include "calib/boundaries.h"
#include "calib/calibration_set.h"
#include "calib/options.h"
#include "engine/batch.h"

namespace fptq::calib {
namespace {

// Sequences that decode together, as far as their caches stay within the limit. stories15m on one
// thread: 8, 16, 32, 64, 128 of them gave 1770, 2240, 2500, 2210, 1650 tokens per second.
constexpr std::size_t kMostTogether = 32;
constexpr std::uint64_t kMostCacheBytes = std::uint64_t{1} << 30;

// A number from three, each of whose bits depends on all of theirs (the finalizer of splitmix64).
std::uint64_t mix(std::uint64_t seed, std::uint64_t sequence, std::uint64_t start) {
  std::uint64_t x = seed;
  for (const std::uint64_t word : {sequence, start}) {
    x += 0x9e3779b97f4a7c15u * (word + 1);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    x ^= x >> 31;
  }
  return x;
}

std::size_t sequences_together(const model::LlamaConfig& config, std::size_t capacity,
                               std::size_t wanted) {
  const std::uint64_t bytes =
      2 * sizeof(float) * config.num_layers * config.num_kv_heads * config.head_dim * capacity;
  const std::uint64_t fitting = std::max<std::uint64_t>(1, kMostCacheBytes / bytes);
  return std::min({wanted, kMostTogether, static_cast<std::size_t>(fitting)});
}

// What the model goes on from in sequence number `sequence`: BOS, else EOS, else any ordinary
// token.
Result<std::int32_t> first_token(const text::Tokenizer& tokenizer,
                                 const text::SpecialTokens& special, std::size_t vocabulary,
                                 std::uint64_t seed) {
  const auto usable = [&](std::int32_t id) {
    return id >= 0 && static_cast<std::size_t>(id) < vocabulary;
  };
  if (special.bos && usable(*special.bos)) return *special.bos;
  const std::optional<std::int32_t> eos = end_of_text(special);
  if (eos && usable(*eos)) return *eos;
  const std::size_t count = std::min(vocabulary, tokenizer.vocabulary_size());
  const std::size_t offset = count == 0 ? 0 : Rng(seed).below(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto id = static_cast<std::int32_t>((offset + i) % count);
    if (tokenizer.is_known(id) && !tokenizer.is_special(id)) return id;
  }
  return Error{Error::Kind::kFormat,
               "tokenizer: expected a token that is not special to start from, got none"};
}

// Draws all sequences.
class SelfSampler {
 public:
  SelfSampler(model::LlamaModel& model, const text::Tokenizer& tokenizer,
              const text::SpecialTokens& special, std::size_t length,
              const CalibrationOptions& options)
      : vocabulary_(model.config().vocab_size),
        tokenizer_(&tokenizer),
        special_(&special),
        bos_(added_bos(special)),
        // What the model starts from is not in the sequence where the tokenizer adds no BOS.
        left_out_(bos_ ? 0 : 1),
        target_(length + left_out_),
        seed_(options.seed),
        beginnings_(&options.beginnings) {}

  // [sequences][length]
  Result<std::vector<std::vector<std::int32_t>>> draw(engine::Batch batch, std::size_t sequences,
                                                      const ProgressFn& progress) {
    std::vector<std::vector<std::int32_t>> drawn(sequences);
    const std::uint64_t total = static_cast<std::uint64_t>(sequences) * (target_ - left_out_);
    std::size_t next = 0;
    std::uint64_t reported = 0;
    for (;;) {
      while (next < sequences && batch.free_sequences() > 0) {
        Draft draft{next, {}, 0, 0};
        FPTQ_TRY(const std::int32_t first,
                 first_token(*tokenizer_, *special_, vocabulary_, mix(seed_, next, 0)));
        begin(first, draft);
        FPTQ_TRY_VOID(add(batch, std::move(draft)));
        ++next;
      }
      if (batch.active_sequences() == 0) return drawn;
      std::vector<engine::Finished> finished = batch.step();
      for (auto& [id, draft] : drafts_) ++draft.steps;
      for (engine::Finished& one : finished) {
        if (!one.generation) return one.generation.error();
        auto entry = drafts_.extract(one.id);
        FPTQ_CHECK(!entry.empty(), "every request is a draft's");
        Draft draft = std::move(entry.mapped());
        append(draft, one.generation->ids);
        if (draft.ids.size() < target_) {
          FPTQ_TRY_VOID(add(batch, std::move(draft)));
          continue;
        }
        completed_ += target_ - left_out_;
        drawn[draft.index].assign(draft.ids.begin() + static_cast<std::ptrdiff_t>(left_out_),
                                  draft.ids.end());
      }
      reported = std::max(reported, std::min(total, tokens_so_far()));
      if (!report_progress(progress, "sampling from the model", reported, total)) {
        return Error{Error::Kind::kInterrupted, "sampling from the model: interrupted"};
      }
    }
  }

 private:
  struct Draft {
    std::size_t index;              // of the sequence
    std::vector<std::int32_t> ids;  // so far, with what the model starts from
    std::uint64_t starts;           // of texts, so far
    std::size_t steps;              // of the request under way
  };

  // What a new draft goes on from. A beginning has its own BOS.
  void begin(std::int32_t first, Draft& draft) const {
    if (beginnings_->empty() || left_out_ > 0) draft.ids.push_back(first);
    if (beginnings_->empty()) return;
    const std::vector<std::int32_t>& ids = (*beginnings_)[draft.index % beginnings_->size()];
    FPTQ_CHECK(!ids.empty() && draft.ids.size() + ids.size() < target_,
               "a beginning is shorter than a sequence");
    draft.ids.insert(draft.ids.end(), ids.begin(), ids.end());
  }

  Status add(engine::Batch& batch, Draft draft) {
    engine::GenerationRequest request;
    request.prompt = draft.ids;
    request.max_tokens = target_ - draft.ids.size();
    request.sampling.temperature = 1.0;
    request.sampling.seed = mix(seed_, draft.index, ++draft.starts);
    request.stop_ids = special_->stops;
    draft.steps = 0;
    FPTQ_TRY(const std::uint64_t id, batch.add(std::move(request)));
    drafts_.emplace(id, std::move(draft));
    return {};
  }

  // Generated ids, and behind them, where a text ended, what begins the next one.
  void append(Draft& draft, std::span<const std::int32_t> ids) const {
    FPTQ_CHECK(!ids.empty(), "a request generates at least one token");
    draft.ids.insert(draft.ids.end(), ids.begin(), ids.end());
    if (bos_ && draft.ids.size() < target_) draft.ids.push_back(*bos_);
  }

  // About: a prompt may have taken a step without a token.
  [[nodiscard]] std::uint64_t tokens_so_far() const {
    std::uint64_t sum = completed_;
    for (const auto& [id, draft] : drafts_) sum += draft.ids.size() - left_out_ + draft.steps;
    return sum;
  }

  std::size_t vocabulary_;
  const text::Tokenizer* tokenizer_;
  const text::SpecialTokens* special_;
  std::optional<std::int32_t> bos_;
  std::size_t left_out_;
  std::size_t target_;
  std::uint64_t seed_;
  const std::vector<std::vector<std::int32_t>>* beginnings_;
  std::map<std::uint64_t, Draft> drafts_;  // by request
  std::uint64_t completed_ = 0;            // tokens of complete sequences
};

// Of the ids as little-endian int32, sequence after sequence.
std::string hash_ids(std::span<const std::vector<std::int32_t>> sequences) {
  Sha256 hash;
  for (const std::vector<std::int32_t>& sequence : sequences) {
    std::vector<std::byte> bytes;
    bytes.reserve(4 * sequence.size());
    for (const std::int32_t id : sequence) {
      for (unsigned shift = 0; shift < 32; shift += 8) {
        bytes.push_back(static_cast<std::byte>(static_cast<std::uint32_t>(id) >> shift));
      }
    }
    hash.update(bytes);
  }
  return hash.finish();
}

}  // namespace

Result<CalibrationSet> calibration_from_model(model::LlamaModel& model,
                                              const text::Tokenizer& tokenizer,
                                              const text::SpecialTokens& special,
                                              const CalibrationOptions& options,
                                              const ProgressFn& progress) {
  CalibrationSet set;
  set.source = "self";
  FPTQ_TRY(const std::size_t length,
           usable_length(options, model.config().max_positions, set.warnings));
  engine::BatchOptions batch_options;
  // The last token goes through no pass.
  batch_options.capacity = length;
  batch_options.sequences = sequences_together(model.config(), length, options.sequences);
  FPTQ_TRY(engine::Batch batch, engine::Batch::create(model, tokenizer, batch_options));
  SelfSampler sampler(model, tokenizer, special, length, options);
  FPTQ_TRY(set.sequences, sampler.draw(std::move(batch), options.sequences, progress));
  set.sha256 = hash_ids(set.sequences);
  return set;
}

}  // namespace fptq::calib
