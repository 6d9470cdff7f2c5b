#include "model/llama_model.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include "base/aligned_memory.h"
#include "base/check.h"
#include "model/kv_cache_impl.h"
#include "model/rope_table.h"
#include "model/weights.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/rope.h"

namespace fptq::model {
namespace {

// Tokens [begin, end) of one sequence of the batch.
struct Slice {
  std::size_t sequence;
  std::size_t begin;
  std::size_t end;
};

// Cuts the batch, in order, into passes of at most kPassTokens tokens.
std::vector<std::vector<Slice>> split_into_passes(std::span<const SequenceInput> batch) {
  std::vector<std::vector<Slice>> passes;
  std::size_t room = 0;
  for (std::size_t s = 0; s < batch.size(); ++s) {
    for (std::size_t begin = 0; begin < batch[s].ids.size();) {
      if (room == 0) {
        passes.emplace_back();
        room = kPassTokens;
      }
      const std::size_t count = std::min(room, batch[s].ids.size() - begin);
      passes.back().push_back({s, begin, begin + count});
      begin += count;
      room -= count;
    }
  }
  return passes;
}

std::size_t slice_tokens(std::span<const Slice> slices) {
  std::size_t count = 0;
  for (const Slice& slice : slices) count += slice.end - slice.begin;
  return count;
}

// Rows of a sequence that get logits.
std::size_t wanted_rows(const SequenceInput& input) {
  if (input.logits == LogitsWanted::kNone) return 0;
  return input.logits == LogitsWanted::kLast ? 1 : input.ids.size();
}

bool row_is_wanted(const SequenceInput& input, std::size_t token) {
  return input.logits == LogitsWanted::kAll ||
         (input.logits == LogitsWanted::kLast && token + 1 == input.ids.size());
}

using Floats = std::vector<float, HugePageAllocator<float>>;

// Activations of one pass, kept from call to call. R rows, one per token.
struct Workspace {
  std::vector<std::int32_t> ids;       // [R]
  std::vector<std::size_t> positions;  // [R] rows of cos and sin: 0, 1, ...
  Floats cos, sin;                     // [R, Dh / 2]
  Floats residual;                     // [R, D]
  Floats normed;                       // [R, D]
  Floats update;                       // [R, D] what a layer adds to the residual stream
  Floats q, attended;                  // [R, H * Dh]
  Floats k, v;                         // [R, Hkv * Dh]
  Floats gate, up;                     // [R, F]
  ops::LinearInput input;

  void resize(const LlamaConfig& config, std::size_t rows) {
    ids.resize(rows);
    positions.resize(rows);
    for (std::size_t row = 0; row < rows; ++row) positions[row] = row;
    for (Floats* angles : {&cos, &sin}) angles->resize(rows * config.head_dim / 2);
    for (Floats* hidden : {&residual, &normed, &update}) {
      hidden->resize(rows * config.hidden_size);
    }
    for (Floats* heads : {&q, &attended}) heads->resize(rows * config.q_width());
    for (Floats* heads : {&k, &v}) heads->resize(rows * config.kv_width());
    for (Floats* ffn : {&gate, &up}) ffn->resize(rows * config.intermediate_size);
  }
};

}  // namespace

struct LlamaModel::Impl {
  std::shared_ptr<const io::Checkpoint> checkpoint;  // keeps mapped weights alive
  LlamaConfig config;
  ModelWeights weights;
  RopeFrequencies frequencies;
  ops::Rope rope;
  ops::Attention attention;
  ops::SiluMul silu_mul;
  ThreadPool* pool;
  Isa isa;
  std::vector<std::string> warnings;
  Workspace work{};
  std::uint64_t embedding_calls = 0;
  Profile* profile = nullptr;

  [[nodiscard]] KvCacheShape cache_shape() const {
    return {config.num_layers, config.num_kv_heads, config.head_dim};
  }

  [[nodiscard]] Status check(std::span<const SequenceInput> batch, std::size_t logits_size) const;
  void prepare_pass(std::span<const SequenceInput> batch, std::span<const Slice> slices);
  void run_block(std::size_t layer, std::span<const SequenceInput> batch,
                 std::span<const Slice> slices, const Tap& tap);
  void show_last_block(const Tap& tap) const;
  float* write_logits(std::span<const SequenceInput> batch, std::span<const Slice> slices,
                      float* logits, const Tap& tap);

  // The grid on which all of these quantize their input, where it is one.
  [[nodiscard]] static std::optional<kernels::ActivationGrid> common_grid(
      std::initializer_list<const ops::Linear*> readers);
  // work.input = norm(work.residual), and with `keep` work.normed too. With add_update, work.update
  // is added to the residual stream first.
  void norm_rows(const ops::RmsNorm& norm, std::size_t rows, bool add_update, bool keep,
                 std::initializer_list<const ops::Linear*> readers);
  void forward(ops::Linear& linear, std::string_view name, Floats& y) {
    const ProfileScope scope(profile, name);
    linear.forward(work.input, y.data(), *pool);
  }
};

Status LlamaModel::Impl::check(std::span<const SequenceInput> batch,
                               std::size_t logits_size) const {
  std::size_t rows = 0;
  for (std::size_t s = 0; s < batch.size(); ++s) {
    const SequenceInput& input = batch[s];
    FPTQ_CHECK(input.cache != nullptr, "every sequence has a cache");
    FPTQ_CHECK(input.cache->impl().shape == cache_shape(), "the cache was made by this model");
    for (std::size_t other = 0; other < s; ++other) {
      FPTQ_CHECK(batch[other].cache != input.cache, "a cache belongs to one sequence");
    }
    if (input.ids.empty()) {
      return Error{Error::Kind::kInvalidArgument, "forward: sequence " + std::to_string(s) +
                                                      ": expected at least 1 token, got none"};
    }
    for (std::size_t t = 0; t < input.ids.size(); ++t) {
      const std::int32_t id = input.ids[t];
      if (id < 0 || static_cast<std::size_t>(id) >= config.vocab_size) {
        return Error{Error::Kind::kInvalidArgument,
                     "forward: token " + std::to_string(t) + ": expected an id from 0 to " +
                         std::to_string(config.vocab_size - 1) + ", got " + std::to_string(id)};
      }
    }
    const std::size_t room = input.cache->capacity() - input.cache->length();
    if (input.ids.size() > room) {
      return Error{Error::Kind::kLimit, "forward: expected at most " + std::to_string(room) +
                                            " more tokens in a cache for " +
                                            std::to_string(input.cache->capacity()) + ", got " +
                                            std::to_string(input.ids.size()) +
                                            ". Raise --ctx or shorten the text"};
    }
    rows += wanted_rows(input);
  }
  FPTQ_CHECK(logits_size == rows * config.vocab_size, "logits for the rows that were asked for");
  return {};
}

// Token ids and rotary angles of the pass's rows.
void LlamaModel::Impl::prepare_pass(std::span<const SequenceInput> batch,
                                    std::span<const Slice> slices) {
  work.resize(config, slice_tokens(slices));
  std::size_t row = 0;
  const std::size_t half = config.head_dim / 2;
  for (const Slice& slice : slices) {
    const SequenceInput& input = batch[slice.sequence];
    const std::size_t begin = input.cache->length();
    const std::size_t total = std::max(input.total_length, begin + input.ids.size());
    const std::vector<float> inverse = frequencies.inverse_frequencies(total);
    for (std::size_t t = slice.begin; t < slice.end; ++t, ++row) {
      work.ids[row] = input.ids[t];
      frequencies.angles(begin + t, inverse, &work.cos[row * half], &work.sin[row * half]);
    }
  }
}

std::optional<kernels::ActivationGrid> LlamaModel::Impl::common_grid(
    std::initializer_list<const ops::Linear*> readers) {
  const std::optional<kernels::ActivationGrid> grid = (*readers.begin())->activation_grid();
  const bool same = std::all_of(readers.begin(), readers.end(), [&](const ops::Linear* linear) {
    return linear->activation_grid() == grid;
  });
  return same ? grid : std::nullopt;
}

void LlamaModel::Impl::norm_rows(const ops::RmsNorm& norm, std::size_t rows, bool add_update,
                                 bool keep, std::initializer_list<const ops::Linear*> readers) {
  const ProfileScope scope(profile, "norm");
  const std::size_t width = config.hidden_size;
  const std::optional<kernels::ActivationGrid> grid = common_grid(readers);
  work.input.assign(keep || !grid ? work.normed.data() : nullptr, rows, width, grid, isa, *pool,
                    [&](std::size_t begin, std::size_t end, float* normed) {
                      if (add_update) {
                        for (std::size_t i = begin * width; i < end * width; ++i) {
                          work.residual[i] += work.update[i];
                        }
                      }
                      norm.normalize(&work.residual[begin * width], end - begin, normed);
                    });
}

// x += attention(norm(x)); x += mlp(norm(x)), for the residual stream x of the pass. What is to be
// added to x lies in work.update and is added with the norm that reads it, the last by the next
// block or the final norm.
void LlamaModel::Impl::run_block(std::size_t layer, std::span<const SequenceInput> batch,
                                 std::span<const Slice> slices, const Tap& tap) {
  BlockWeights& block = weights.blocks[layer];
  const std::size_t rows = work.ids.size();
  // Inputs of linears that quantize them are kept as floats only where somebody looks at them.
  const bool keep = tap != nullptr;
  const std::string name = keep ? "block" + std::to_string(layer) : std::string();
  const auto show = [&](const char* suffix, const Floats& values) {
    if (tap) tap(name + suffix, values.data(), rows, values.size() / rows);
  };

  // Queries, keys and values.
  norm_rows(block.attn_norm, rows, layer > 0, keep, {&block.q_proj, &block.k_proj, &block.v_proj});
  if (layer > 0 && tap) {
    tap("block" + std::to_string(layer - 1), work.residual.data(), rows, config.hidden_size);
  }
  show(".attn_norm", work.normed);
  forward(block.q_proj, "q_proj", work.q);
  forward(block.k_proj, "k_proj", work.k);
  forward(block.v_proj, "v_proj", work.v);
  {
    const ProfileScope scope(profile, "rope");
    const ops::RopeTable table{work.cos, work.sin};
    rope.apply(work.q.data(), config.num_heads, work.positions, table, *pool);
    rope.apply(work.k.data(), config.num_kv_heads, work.positions, table, *pool);
  }

  // Attention over what each sequence's cache holds, the pass's own tokens included.
  std::vector<ops::AttentionSequence> sequences;
  sequences.reserve(slices.size());
  for (const Slice& slice : slices) {
    KvCache& cache = *batch[slice.sequence].cache;
    sequences.push_back({.tokens = slice.end - slice.begin,
                         .first_position = cache.length() + slice.begin,
                         .kv = cache.impl().layer(layer)});
  }
  {
    const ProfileScope scope(profile, "store_kv");
    attention.store(work.k.data(), work.v.data(), sequences, *pool);
  }
  {
    const ProfileScope scope(profile, "attention");
    attention.forward(work.q.data(), sequences, work.attended.data(), *pool);
  }
  show(".o_proj.in", work.attended);
  work.input.assign(work.attended.data(), rows, config.q_width());
  forward(block.o_proj, "o_proj", work.update);
  show(".attn", work.update);

  // Gated feed-forward layer: down(silu(gate(x)) * up(x)), the product rotated where weights are.
  norm_rows(block.mlp_norm, rows, true, keep, {&block.gate_proj, &block.up_proj});
  show(".mlp_norm", work.normed);
  forward(block.gate_proj, "gate_proj", work.gate);
  forward(block.up_proj, "up_proj", work.up);
  {
    const auto& rotation = block.down_rotation;
    const ProfileScope scope(profile, rotation ? "silu_mul+hadamard" : "silu_mul");
    const std::size_t width = config.intermediate_size;
    const std::optional<kernels::ActivationGrid> grid = common_grid({&block.down_proj});
    work.input.assign(keep || !grid ? work.gate.data() : nullptr, rows, width, grid, isa, *pool,
                      [&](std::size_t begin, std::size_t end, float* product) {
                        silu_mul.forward(&work.gate[begin * width], &work.up[begin * width],
                                         (end - begin) * width, product);
                        if (rotation) rotation->apply(product, end - begin);
                      });
  }
  show(".down_proj.in", work.gate);
  forward(block.down_proj, "down_proj", work.update);
  show(".mlp", work.update);
}

// The residual stream after the last block, whose update only the wanted rows get otherwise.
void LlamaModel::Impl::show_last_block(const Tap& tap) const {
  Floats stream = work.residual;
  for (std::size_t i = 0; i < stream.size(); ++i) stream[i] += work.update[i];
  tap("block" + std::to_string(config.num_layers - 1), stream.data(), work.ids.size(),
      config.hidden_size);
}

// Logits of the pass's wanted rows; returns where those of the next pass go.
float* LlamaModel::Impl::write_logits(std::span<const SequenceInput> batch,
                                      std::span<const Slice> slices, float* logits,
                                      const Tap& tap) {
  // Wanted rows move together: row r never moves down.
  const std::size_t width = config.hidden_size;
  std::size_t row = 0;
  std::size_t wanted = 0;
  for (const Slice& slice : slices) {
    for (std::size_t t = slice.begin; t < slice.end; ++t, ++row) {
      if (!row_is_wanted(batch[slice.sequence], t)) continue;
      if (wanted != row) {
        std::memcpy(&work.residual[wanted * width], &work.residual[row * width],
                    width * sizeof(float));
        std::memcpy(&work.update[wanted * width], &work.update[row * width], width * sizeof(float));
      }
      ++wanted;
    }
  }
  if (wanted == 0) return logits;
  norm_rows(weights.final_norm, wanted, true, tap != nullptr, {&weights.classifier});
  if (tap) tap("final_norm", work.normed.data(), wanted, width);
  const ProfileScope scope(profile, "classifier");
  weights.classifier.forward(work.input, logits, *pool);
  return logits + wanted * config.vocab_size;
}

Result<LlamaModel> LlamaModel::load(std::shared_ptr<const io::Checkpoint> checkpoint,
                                    const LoadOptions& options) {
  FPTQ_CHECK(checkpoint != nullptr && options.pool != nullptr, "a checkpoint and a thread pool");
  const std::string where = checkpoint->container() == "safetensors"
                                ? (checkpoint->path() / "config.json").string()
                                : checkpoint->path().string();
  FPTQ_TRY(LlamaConfig config, parse_llama_config(checkpoint->config(), where));
  FPTQ_TRY(ModelWeights weights, bind_weights(*checkpoint, config, options));
  FPTQ_TRY(ops::Rope rope, ops::Rope::create(config.head_dim, options.isa));
  FPTQ_TRY(ops::Attention attention, ops::Attention::create({.heads = config.num_heads,
                                                             .kv_heads = config.num_kv_heads,
                                                             .head_dim = config.head_dim,
                                                             .window = config.sliding_window},
                                                            options.isa));
  std::vector<std::string> warnings(checkpoint->warnings().begin(), checkpoint->warnings().end());
  warnings.insert(warnings.end(), config.warnings.begin(), config.warnings.end());
  warnings.insert(warnings.end(), weights.warnings.begin(), weights.warnings.end());
  RopeFrequencies frequencies(config.rope, config.head_dim, config.max_positions);
  return LlamaModel(std::make_unique<Impl>(Impl{.checkpoint = std::move(checkpoint),
                                                .config = std::move(config),
                                                .weights = std::move(weights),
                                                .frequencies = std::move(frequencies),
                                                .rope = rope,
                                                .attention = std::move(attention),
                                                .silu_mul = ops::SiluMul(options.isa),
                                                .pool = options.pool,
                                                .isa = options.isa,
                                                .warnings = std::move(warnings)}));
}

LlamaModel::LlamaModel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LlamaModel::LlamaModel(LlamaModel&&) noexcept = default;
LlamaModel& LlamaModel::operator=(LlamaModel&&) noexcept = default;
LlamaModel::~LlamaModel() = default;

const LlamaConfig& LlamaModel::config() const {
  return impl_->config;
}

Isa LlamaModel::isa() const {
  return impl_->isa;
}

Result<KvCache> LlamaModel::new_cache(std::size_t capacity, KvType type) const {
  FPTQ_TRY(std::unique_ptr<KvCache::Impl> impl,
           KvCache::Impl::create(impl_->cache_shape(), capacity, type));
  return KvCache(std::move(impl));
}

Status LlamaModel::forward(std::span<const SequenceInput> batch, std::span<float> logits,
                           const Tap& tap) {
  Impl& model = *impl_;
  FPTQ_TRY_VOID(model.check(batch, logits.size()));
  float* next_logits = logits.data();
  for (const std::vector<Slice>& slices : split_into_passes(batch)) {
    {
      const ProfileScope scope(model.profile, "embedding");
      model.prepare_pass(batch, slices);
      model.weights.embedding.lookup(model.work.ids, model.work.residual.data());
    }
    ++model.embedding_calls;
    if (tap) {
      tap("embed", model.work.residual.data(), model.work.ids.size(), model.config.hidden_size);
    }
    for (std::size_t layer = 0; layer < model.config.num_layers; ++layer) {
      model.run_block(layer, batch, slices, tap);
    }
    if (tap) model.show_last_block(tap);
    next_logits = model.write_logits(batch, slices, next_logits, tap);
  }
  for (const SequenceInput& input : batch) input.cache->impl().length += input.ids.size();
  return {};
}

void LlamaModel::set_profile(Profile* profile) {
  impl_->profile = profile;
}

std::vector<ReceiptEntry> LlamaModel::receipt() const {
  const ModelWeights& weights = impl_->weights;
  std::vector<ReceiptEntry> entries;
  entries.push_back({"model.embed_tokens", weights.embedding_scheme, "embedding",
                     std::string(isa_name(Isa::kScalar)), impl_->embedding_calls});
  const auto add = [&](const std::string& layer, const ops::Linear& linear) {
    entries.push_back({layer, linear.scheme(), std::string(linear.kernel()),
                       std::string(isa_name(linear.isa())), linear.calls()});
  };
  for (std::size_t i = 0; i < weights.blocks.size(); ++i) {
    const BlockWeights& block = weights.blocks[i];
    const std::string name = "model.layers." + std::to_string(i);
    add(name + ".self_attn.q_proj", block.q_proj);
    add(name + ".self_attn.k_proj", block.k_proj);
    add(name + ".self_attn.v_proj", block.v_proj);
    add(name + ".self_attn.o_proj", block.o_proj);
    add(name + ".mlp.gate_proj", block.gate_proj);
    add(name + ".mlp.up_proj", block.up_proj);
    add(name + ".mlp.down_proj", block.down_proj);
    if (block.down_rotation) entries.back().kernel.insert(0, "hadamard+");
  }
  add("lm_head", weights.classifier);
  return entries;
}

std::string LlamaModel::scheme() const {
  std::string common;
  for (const ReceiptEntry& entry : receipt()) {
    if (!entry.layer.starts_with("model.layers.")) continue;
    if (common.empty()) common = entry.scheme;
    if (common != entry.scheme) return "mixed";
  }
  return common;
}

ModelBytes LlamaModel::bytes() const {
  const ModelWeights& weights = impl_->weights;
  ModelBytes bytes;
  for (const BlockWeights& block : weights.blocks) {
    for (const ops::Linear* linear : {&block.q_proj, &block.k_proj, &block.v_proj, &block.o_proj,
                                      &block.gate_proj, &block.up_proj, &block.down_proj}) {
      bytes.linears += linear->bytes();
    }
    bytes.other += block.attn_norm.bytes() + block.mlp_norm.bytes();
  }
  bytes.classifier = weights.classifier.bytes();
  bytes.embedding = weights.shares_embedding ? 0 : weights.embedding.bytes();
  bytes.other += weights.final_norm.bytes();
  return bytes;
}

std::span<const std::string> LlamaModel::warnings() const {
  return impl_->warnings;
}

}  // namespace fptq::model
