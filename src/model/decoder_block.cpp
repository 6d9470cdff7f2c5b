#include "model/decoder_block.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "model/kv_cache_impl.h"
#include "model/rope_table.h"
#include "model/weights.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/rope.h"

namespace fptq::model {

std::string_view block_linear_name(BlockLinear linear) {
  switch (linear) {
    case BlockLinear::kQ:
      return "self_attn.q_proj";
    case BlockLinear::kK:
      return "self_attn.k_proj";
    case BlockLinear::kV:
      return "self_attn.v_proj";
    case BlockLinear::kO:
      return "self_attn.o_proj";
    case BlockLinear::kGate:
      return "mlp.gate_proj";
    case BlockLinear::kUp:
      return "mlp.up_proj";
    case BlockLinear::kDown:
      return "mlp.down_proj";
  }
  return "unknown";
}

std::string block_module_name(std::size_t layer, BlockLinear linear) {
  return "model.layers." + std::to_string(layer) + "." + std::string(block_linear_name(linear));
}

Shape block_linear_shape(const LlamaConfig& config, BlockLinear linear) {
  switch (linear) {
    case BlockLinear::kQ:
      return {config.q_width(), config.hidden_size};
    case BlockLinear::kK:
    case BlockLinear::kV:
      return {config.kv_width(), config.hidden_size};
    case BlockLinear::kO:
      return {config.hidden_size, config.q_width()};
    case BlockLinear::kGate:
    case BlockLinear::kUp:
      return {config.intermediate_size, config.hidden_size};
    case BlockLinear::kDown:
      break;
  }
  return {config.hidden_size, config.intermediate_size};
}

BlockInput block_input_of(BlockLinear linear) {
  for (const BlockInput input : kBlockInputs) {
    const auto readers = readers_of(input);
    if (std::find(readers.begin(), readers.end(), linear) != readers.end()) return input;
  }
  return BlockInput::kDown;
}

std::span<const BlockLinear> readers_of(BlockInput input) {
  const std::span<const BlockLinear> all = kBlockLinears;
  switch (input) {
    case BlockInput::kAttention:
      return all.subspan(0, 3);
    case BlockInput::kOutput:
      return all.subspan(3, 1);
    case BlockInput::kMlp:
      return all.subspan(4, 2);
    case BlockInput::kDown:
      break;
  }
  return all.subspan(6, 1);
}

std::size_t block_input_width(const LlamaConfig& config, BlockInput input) {
  return block_linear_shape(config, readers_of(input).front())[1];
}

namespace {

// Rows that a thread takes through consecutive linears at a time: enough to make up for reading the
// weights anew, few enough that what lies between linears stays in the second-level cache.
constexpr std::size_t kTileRows = 128;

// What one thread needs for its rows. Memory is kept between calls.
struct Workspace {
  explicit Workspace(const ops::Attention& shared) : attention(shared) {}

  ops::Attention attention;
  ThreadPool serial{1};
  ops::LinearInput input;
  std::vector<float> q, k, v, update, gate, up;
  std::optional<KvCache> cache;  // of one layer and one sequence
  std::size_t angle_rows = 0;    // of the sequence whose angles these are
  std::vector<float> cos, sin;   // [angle_rows, Dh / 2]

  // y = linear(input)
  void run(ops::Linear& linear, std::vector<float>& y, ThreadPool& pool) {
    y.resize(input.rows() * linear.out_features());
    linear.forward(input, y.data(), pool);
  }
};

}  // namespace

struct DecoderBlock::Impl {
  LlamaConfig config;
  BlockWeights weights;
  RopeFrequencies frequencies;
  ops::Rope rope;
  ops::Attention attention;
  ops::SiluMul silu_mul;
  ThreadPool* pool;
  std::vector<std::unique_ptr<Workspace>> workspaces{};  // one per thread

  // Calls body(workspace, begin, end) for pieces of [0, count) of at most `grain`, on all threads.
  template <typename Body>
  void share(std::size_t count, std::size_t grain, const Body& body) {
    make_workspaces();
    std::atomic<std::size_t> next{0};
    pool->run([&](std::size_t thread) {
      for (;;) {
        const std::size_t begin = next.fetch_add(grain, std::memory_order_relaxed);
        if (begin >= count) return;
        body(*workspaces[thread], begin, std::min(begin + grain, count));
      }
    });
  }

  void make_workspaces() {
    while (workspaces.size() < pool->threads()) {
      workspaces.push_back(std::make_unique<Workspace>(attention));
    }
  }

  // Rows of a piece: a tile, or what gives every thread a share.
  [[nodiscard]] std::size_t tile_rows(std::size_t rows) const {
    constexpr std::size_t kStep = 16;
    const std::size_t share = (rows + pool->threads() - 1) / pool->threads();
    return std::min(kTileRows, (share + kStep - 1) / kStep * kStep);
  }

  // h += linear(x)
  void add_output(ops::Linear& linear, const float* x, std::size_t rows, float* h) {
    share(rows, tile_rows(rows), [&](Workspace& own, std::size_t begin, std::size_t end) {
      const std::size_t width = linear.out_features();
      own.input.assign(x + begin * linear.in_features(), end - begin, linear.in_features());
      own.run(linear, own.update, own.serial);
      float* out = h + begin * width;
      for (std::size_t i = 0; i < own.update.size(); ++i) out[i] += own.update[i];
    });
  }

  // Rotates q and k, whose rows are a sequence from position 0 on.
  void rotate(Workspace& own, std::size_t rows, ThreadPool& threads) {
    const std::size_t half = config.head_dim / 2;
    // Sequences of calibration are alike.
    if (own.angle_rows != rows) {
      own.cos.resize(rows * half);
      own.sin.resize(rows * half);
      const std::vector<float> inverse = frequencies.inverse_frequencies(rows);
      for (std::size_t t = 0; t < rows; ++t) {
        frequencies.angles(t, inverse, &own.cos[t * half], &own.sin[t * half]);
      }
      own.angle_rows = rows;
    }
    std::vector<std::size_t> positions(rows);
    std::iota(positions.begin(), positions.end(), std::size_t{0});
    const ops::RopeTable table{own.cos, own.sin};
    rope.apply(own.q.data(), config.num_heads, positions, table, threads);
    rope.apply(own.k.data(), config.num_kv_heads, positions, table, threads);
  }

  // One sequence. threads: those that share its work.
  Status attend(Workspace& own, const float* x, std::size_t rows, ThreadPool& threads,
                float* attended) {
    if (!own.cache || own.cache->capacity() < rows) {
      FPTQ_TRY(
          std::unique_ptr<KvCache::Impl> made,
          KvCache::Impl::create({1, config.num_kv_heads, config.head_dim}, rows, KvType::kF32));
      own.cache = KvCache(std::move(made));
    }
    const ops::AttentionSequence sequence{
        .tokens = rows, .first_position = 0, .kv = own.cache->impl().layer(0)};
    own.input.assign(x, rows, config.hidden_size);
    own.run(weights.q_proj, own.q, threads);
    own.run(weights.k_proj, own.k, threads);
    own.run(weights.v_proj, own.v, threads);
    rotate(own, rows, threads);
    own.attention.store(own.k.data(), own.v.data(), {&sequence, 1}, threads);
    own.attention.forward(own.q.data(), {&sequence, 1}, attended, threads);
    return {};
  }

  [[nodiscard]] ops::Linear& linear(BlockLinear which) {
    switch (which) {
      case BlockLinear::kQ:
        return weights.q_proj;
      case BlockLinear::kK:
        return weights.k_proj;
      case BlockLinear::kV:
        return weights.v_proj;
      case BlockLinear::kO:
        return weights.o_proj;
      case BlockLinear::kGate:
        return weights.gate_proj;
      case BlockLinear::kUp:
        return weights.up_proj;
      case BlockLinear::kDown:
        break;
    }
    return weights.down_proj;
  }
};

Result<DecoderBlock> DecoderBlock::load(const io::Checkpoint& checkpoint, const LlamaConfig& config,
                                        std::size_t layer, const LoadOptions& options) {
  FPTQ_CHECK(layer < config.num_layers, "a block of the model");
  FPTQ_TRY(BlockWeights weights, bind_block(checkpoint, config, layer, options));
  FPTQ_TRY(ops::Rope rope, ops::Rope::create(config.head_dim, options.isa));
  FPTQ_TRY(ops::Attention attention, ops::Attention::create({.heads = config.num_heads,
                                                             .kv_heads = config.num_kv_heads,
                                                             .head_dim = config.head_dim,
                                                             .window = config.sliding_window},
                                                            options.isa));
  RopeFrequencies frequencies(config.rope, config.head_dim, config.max_positions);
  return DecoderBlock(std::make_unique<Impl>(Impl{.config = config,
                                                  .weights = std::move(weights),
                                                  .frequencies = std::move(frequencies),
                                                  .rope = rope,
                                                  .attention = std::move(attention),
                                                  .silu_mul = ops::SiluMul(options.isa),
                                                  .pool = options.pool}));
}

DecoderBlock::DecoderBlock(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DecoderBlock::DecoderBlock(DecoderBlock&&) noexcept = default;
DecoderBlock& DecoderBlock::operator=(DecoderBlock&&) noexcept = default;
DecoderBlock::~DecoderBlock() = default;

ops::Linear& DecoderBlock::linear(BlockLinear which) {
  return impl_->linear(which);
}

void DecoderBlock::set_linear(BlockLinear which, ops::Linear linear) {
  ops::Linear& old = impl_->linear(which);
  FPTQ_CHECK(
      old.in_features() == linear.in_features() && old.out_features() == linear.out_features(),
      "a linear of the same shape");
  old = std::move(linear);
}

const ops::RmsNorm& DecoderBlock::attention_norm() const {
  return impl_->weights.attn_norm;
}

const ops::RmsNorm& DecoderBlock::mlp_norm() const {
  return impl_->weights.mlp_norm;
}

void DecoderBlock::set_attention_norm(ops::RmsNorm norm) {
  FPTQ_CHECK(norm.width() == impl_->config.hidden_size, "a norm of the model's width");
  impl_->weights.attn_norm = std::move(norm);
}

void DecoderBlock::set_mlp_norm(ops::RmsNorm norm) {
  FPTQ_CHECK(norm.width() == impl_->config.hidden_size, "a norm of the model's width");
  impl_->weights.mlp_norm = std::move(norm);
}

void DecoderBlock::attention_input(const float* h, std::size_t rows, float* x) {
  impl_->weights.attn_norm.forward(h, rows, x, *impl_->pool);
}

Status DecoderBlock::attend(const float* x, std::span<const std::size_t> lengths, float* attended) {
  Impl& block = *impl_;
  std::vector<std::size_t> first_rows(lengths.size());
  std::exclusive_scan(lengths.begin(), lengths.end(), first_rows.begin(), std::size_t{0});
  std::vector<Status> done(lengths.size());
  const auto attend = [&](Workspace& own, std::size_t s, ThreadPool& threads) {
    done[s] = block.attend(own, x + first_rows[s] * block.config.hidden_size, lengths[s], threads,
                           attended + first_rows[s] * block.config.q_width());
  };
  // A sequence stays with a thread and in its cache, unless threads would have none.
  if (lengths.size() >= block.pool->threads()) {
    block.share(lengths.size(), 1,
                [&](Workspace& own, std::size_t s, std::size_t) { attend(own, s, own.serial); });
  } else {
    block.make_workspaces();
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      attend(*block.workspaces.front(), s, *block.pool);
    }
  }
  for (const Status& status : done) FPTQ_TRY_VOID(status);
  return {};
}

void DecoderBlock::add_attention(const float* attended, std::size_t rows, float* h) {
  impl_->add_output(impl_->weights.o_proj, attended, rows, h);
}

void DecoderBlock::mlp_input(const float* h, std::size_t rows, float* x) {
  impl_->weights.mlp_norm.forward(h, rows, x, *impl_->pool);
}

void DecoderBlock::mlp_hidden(const float* x, std::size_t rows, float* hidden) {
  Impl& block = *impl_;
  const std::size_t width = block.config.intermediate_size;
  block.share(rows, block.tile_rows(rows), [&](Workspace& own, std::size_t begin, std::size_t end) {
    own.input.assign(x + begin * block.config.hidden_size, end - begin, block.config.hidden_size);
    own.run(block.weights.gate_proj, own.gate, own.serial);
    own.run(block.weights.up_proj, own.up, own.serial);
    block.silu_mul.forward(own.gate.data(), own.up.data(), (end - begin) * width,
                           hidden + begin * width);
    const auto& rotation = block.weights.down_rotation;
    if (rotation) rotation->apply(hidden + begin * width, end - begin);
  });
}

void DecoderBlock::add_mlp(const float* hidden, std::size_t rows, float* h) {
  impl_->add_output(impl_->weights.down_proj, hidden, rows, h);
}

std::uint64_t DecoderBlock::workspace_floats(const LlamaConfig& config,
                                             std::size_t longest_sequence, std::size_t threads) {
  // Keys and values twice, as rows and as the cache has them; the integers of inputs are at most as
  // large as the inputs.
  const std::uint64_t a_row = config.hidden_size + config.q_width() + 4 * config.kv_width();
  const std::uint64_t a_tile_row = config.hidden_size + 3 * config.intermediate_size;
  return threads * (longest_sequence * a_row + kTileRows * a_tile_row);
}

}  // namespace fptq::model
