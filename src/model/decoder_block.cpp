#include "model/decoder_block.h"

#include <algorithm>
#include <numeric>
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

struct DecoderBlock::Impl {
  LlamaConfig config;
  BlockWeights weights;
  RopeFrequencies frequencies;
  ops::Rope rope;
  ops::Attention attention;
  ops::SiluMul silu_mul;
  ThreadPool* pool;
  ops::LinearInput input{};
  std::vector<float> q{}, k{}, v{}, update{}, up{};
  std::vector<KvCache> caches{};             // of one layer, one per sequence of a call
  std::vector<std::size_t> angle_lengths{};  // of the sequences whose angles these are
  std::vector<float> cos{}, sin{};           // [rows, Dh / 2]

  void run(ops::Linear& linear, const float* x, std::size_t rows, std::vector<float>& y) {
    input.assign(x, rows, linear.in_features());
    y.resize(rows * linear.out_features());
    linear.forward(input, y.data(), *pool);
  }

  void add_update(std::size_t rows, float* h) const {
    constexpr std::size_t kGrain = std::size_t{1} << 14;
    pool->parallel_for(rows * config.hidden_size, kGrain, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) h[i] += update[i];
    });
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

  void compute_angles(std::span<const std::size_t> lengths, std::size_t rows) {
    const std::size_t half = config.head_dim / 2;
    cos.resize(rows * half);
    sin.resize(rows * half);
    std::size_t row = 0;
    for (const std::size_t length : lengths) {
      const std::vector<float> inverse = frequencies.inverse_frequencies(length);
      for (std::size_t t = 0; t < length; ++t, ++row) {
        frequencies.angles(t, inverse, &cos[row * half], &sin[row * half]);
      }
    }
    angle_lengths.assign(lengths.begin(), lengths.end());
  }

  // Rotates q and k, whose rows are sequences of these lengths from position 0 on.
  void rotate(std::span<const std::size_t> lengths, std::size_t rows) {
    // Batches of calibration are alike.
    if (!std::equal(lengths.begin(), lengths.end(), angle_lengths.begin(), angle_lengths.end())) {
      compute_angles(lengths, rows);
    }
    std::vector<std::size_t> positions(rows);
    std::iota(positions.begin(), positions.end(), std::size_t{0});
    const ops::RopeTable table{cos, sin};
    rope.apply(q.data(), config.num_heads, positions, table, *pool);
    rope.apply(k.data(), config.num_kv_heads, positions, table, *pool);
  }

  // The key-value storage of sequences of these lengths.
  Result<std::vector<ops::AttentionSequence>> sequences(std::span<const std::size_t> lengths) {
    std::vector<ops::AttentionSequence> all;
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      if (s < caches.size() && caches[s].capacity() < lengths[s]) {
        caches.erase(caches.begin() + static_cast<std::ptrdiff_t>(s), caches.end());
      }
      if (s >= caches.size()) {
        FPTQ_TRY(std::unique_ptr<KvCache::Impl> cache,
                 KvCache::Impl::create({1, config.num_kv_heads, config.head_dim}, lengths[s],
                                       KvType::kF32));
        caches.emplace_back(std::move(cache));
      }
      all.push_back({.tokens = lengths[s], .first_position = 0, .kv = caches[s].impl().layer(0)});
    }
    return all;
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
  const std::size_t rows = std::accumulate(lengths.begin(), lengths.end(), std::size_t{0});
  FPTQ_TRY(const auto sequences, block.sequences(lengths));
  block.run(block.weights.q_proj, x, rows, block.q);
  block.run(block.weights.k_proj, x, rows, block.k);
  block.run(block.weights.v_proj, x, rows, block.v);
  block.rotate(lengths, rows);
  block.attention.store(block.k.data(), block.v.data(), sequences, *block.pool);
  block.attention.forward(block.q.data(), sequences, attended, *block.pool);
  return {};
}

void DecoderBlock::add_attention(const float* attended, std::size_t rows, float* h) {
  impl_->run(impl_->weights.o_proj, attended, rows, impl_->update);
  impl_->add_update(rows, h);
}

void DecoderBlock::mlp_input(const float* h, std::size_t rows, float* x) {
  impl_->weights.mlp_norm.forward(h, rows, x, *impl_->pool);
}

void DecoderBlock::mlp_hidden(const float* x, std::size_t rows, float* hidden) {
  Impl& block = *impl_;
  block.run(block.weights.gate_proj, x, rows, block.q);
  block.run(block.weights.up_proj, x, rows, block.up);
  const std::size_t width = block.config.intermediate_size;
  block.pool->parallel_for(rows, 8, [&](std::size_t begin, std::size_t end) {
    block.silu_mul.forward(&block.q[begin * width], &block.up[begin * width], (end - begin) * width,
                           hidden + begin * width);
  });
}

void DecoderBlock::add_mlp(const float* hidden, std::size_t rows, float* h) {
  impl_->run(impl_->weights.down_proj, hidden, rows, impl_->update);
  impl_->add_update(rows, h);
}

}  // namespace fptq::model
