#include "quantize/rotation_choice.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "algo/rounding.h"
#include "calib/residual_stream.h"
#include "model/decoder_block.h"
#include "model/weights.h"
#include "numeric/softmax.h"
#include "quantize/recipe_fields.h"
#include "tensor/packed_matrix.h"

namespace fptq::quantize {
namespace {

using model::BlockLinear;
using model::DecoderBlock;

// Rows that go through a block together, and logits of each model that exist at a time.
constexpr std::size_t kBatchRows = 1024;
constexpr std::size_t kLogits = std::size_t{1} << 22;

class Comparison {
 public:
  Comparison(const RotationTrial& trial, const model::LlamaConfig& config,
             const ProgressFn& progress)
      : trial_(trial), config_(config), progress_(progress) {
    std::vector<std::size_t> lengths;
    for (const std::vector<std::int32_t>& sequence : trial.sequences) {
      lengths.push_back(sequence.size());
      ids_.insert(ids_.end(), sequence.begin(), sequence.end());
    }
    batches_ = calib::sequence_batches(lengths, kBatchRows);
  }

  Result<RotationChoice> run() {
    FPTQ_TRY(const ops::Embedding embedding,
             model::bind_embedding(*trial_.plain, config_, options()));
    FPTQ_TRY(model::OutputWeights output, model::bind_output(*trial_.plain, config_, options()));
    std::vector<float> start(ids_.size() * config_.hidden_size);
    embedding.lookup(ids_, start.data());
    FPTQ_TRY(const std::vector<float> original, stream(*trial_.plain, start, /*rounds=*/false));
    RotationChoice choice;
    choice.tokens = ids_.size();
    FPTQ_TRY(const std::vector<float> plain, stream(*trial_.plain, start, /*rounds=*/true));
    FPTQ_TRY(choice.kl_plain, divergence(output, original, plain));
    FPTQ_TRY(const std::vector<float> rotated, stream(*trial_.rotated, start, /*rounds=*/true));
    FPTQ_TRY(choice.kl_rotated, divergence(output, original, rotated));
    return choice;
  }

 private:
  [[nodiscard]] model::LoadOptions options() const {
    return {.pool = trial_.pool, .isa = trial_.isa};
  }

  // h behind the last block, of the checkpoint or of its linears rounded.  start, returns [R, D]
  Result<std::vector<float>> stream(const io::Checkpoint& checkpoint, std::vector<float> h,
                                    bool rounds) {
    // The rotation is part of the configuration.
    FPTQ_TRY(const model::LlamaConfig config,
             model::parse_llama_config(checkpoint.config(), checkpoint.path().string()));
    for (std::size_t layer = 0; layer < config.num_layers; ++layer) {
      FPTQ_TRY(DecoderBlock block, DecoderBlock::load(checkpoint, config, layer, options()));
      if (rounds) FPTQ_TRY_VOID(round_linears(checkpoint, layer, block));
      FPTQ_TRY_VOID(run_block(block, h));
      if (!report_progress(progress_, "trying rotated inputs", ++done_, 3 * config.num_layers)) {
        return Error{Error::Kind::kInterrupted, "trying rotated inputs: interrupted"};
      }
    }
    return h;
  }

  Status round_linears(const io::Checkpoint& checkpoint, std::size_t layer,
                       DecoderBlock& block) const {
    for (const BlockLinear linear : model::kBlockLinears) {
      const std::string module = model::block_module_name(layer, linear);
      const auto planned =
          std::find_if(trial_.plan->tensors.begin(), trial_.plan->tensors.end(),
                       [&](const TensorPlan& tensor) { return tensor.module == module; });
      if (planned == trial_.plan->tensors.end() || !planned->quantized) continue;
      FPTQ_TRY(const Tensor source, checkpoint.read(planned->source));
      FPTQ_TRY(PackedMatrix packed, rounded(source, *planned));
      std::optional<Tensor> bias;
      if (checkpoint.find(module + ".bias") != nullptr) {
        FPTQ_TRY(bias, checkpoint.read(module + ".bias"));
      }
      auto made = ops::Linear::quantized(
          std::move(packed), made_dynamic(planned->scheme.activations), {}, bias, trial_.isa);
      if (!made) return with_context(made.error(), module);
      block.set_linear(linear, *std::move(made));
    }
    return {};
  }

  [[nodiscard]] Result<PackedMatrix> rounded(const Tensor& source, const TensorPlan& plan) const {
    const std::vector<float> weights = source.to_f32();
    const std::size_t cols = plan.shape[1];
    QuantizedMatrix matrix = algo::make_quantized_matrix(plan.shape[0], cols, *plan.scheme.weights,
                                                         plan.quantized->scales.dtype);
    trial_.pool->parallel_for(matrix.rows, 8, [&](std::size_t begin, std::size_t end) {
      for (std::size_t row = begin; row < end; ++row) {
        algo::round_row_to_nearest(std::span(weights).subspan(row * cols, cols), row, matrix);
      }
    });
    return PackedMatrix::pack(matrix, *trial_.pool);
  }

  Status run_block(DecoderBlock& block, std::vector<float>& h) {
    for (const calib::SequenceBatch& batch : batches_) {
      float* stream = h.data() + batch.first_row * config_.hidden_size;
      narrow_.resize(batch.rows * config_.hidden_size);
      wide_.resize(batch.rows * std::max(config_.q_width(), config_.intermediate_size));
      block.attention_input(stream, batch.rows, narrow_.data());
      FPTQ_TRY_VOID(block.attend(narrow_.data(), batch.lengths, wide_.data()));
      block.add_attention(wide_.data(), batch.rows, stream);
      block.mlp_input(stream, batch.rows, narrow_.data());
      block.mlp_hidden(narrow_.data(), batch.rows, wide_.data());
      block.add_mlp(wide_.data(), batch.rows, stream);
    }
    return {};
  }

  // Mean over tokens of the KL divergence of what the streams predict.  base, changed [R, D]
  Result<double> divergence(model::OutputWeights& output, const std::vector<float>& base,
                            const std::vector<float>& changed) {
    const std::size_t vocabulary = config_.vocab_size;
    const std::size_t step = std::clamp<std::size_t>(kLogits / vocabulary, 1, 256);
    std::vector<float> base_logits;
    std::vector<float> changed_logits;
    std::vector<double> kl(step);
    double sum = 0;
    for (std::size_t first = 0; first < ids_.size(); first += step) {
      const std::size_t rows = std::min(step, ids_.size() - first);
      logits_of(output, base, first, rows, base_logits);
      logits_of(output, changed, first, rows, changed_logits);
      trial_.pool->parallel_for(rows, 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t row = begin; row < end; ++row) {
          kl[row] = kl_divergence(std::span(base_logits).subspan(row * vocabulary, vocabulary),
                                  std::span(changed_logits).subspan(row * vocabulary, vocabulary));
        }
      });
      for (std::size_t row = 0; row < rows; ++row) sum += kl[row];
    }
    if (std::isfinite(sum)) return sum / static_cast<double>(ids_.size());
    return Error{Error::Kind::kFormat,
                 trial_.plain->path().string() +
                     ": trying rotated inputs: expected finite logits, got NaN or infinity"};
  }

  void logits_of(model::OutputWeights& output, const std::vector<float>& h, std::size_t first,
                 std::size_t rows, std::vector<float>& logits) {
    const std::size_t width = config_.hidden_size;
    narrow_.resize(rows * width);
    output.final_norm.forward(h.data() + first * width, rows, narrow_.data(), *trial_.pool);
    logits.resize(rows * config_.vocab_size);
    ops::LinearInput input(narrow_.data(), rows, width);
    output.classifier.forward(input, logits.data(), *trial_.pool);
  }

  const RotationTrial& trial_;
  const model::LlamaConfig& config_;
  const ProgressFn& progress_;
  std::vector<std::int32_t> ids_;  // [R]
  std::vector<calib::SequenceBatch> batches_;
  std::vector<float> narrow_;  // [rows, D]
  std::vector<float> wide_;    // [rows, max(H * Dh, F)]
  std::uint64_t done_ = 0;
};

}  // namespace

Result<RotationChoice> try_rotation(const RotationTrial& trial, const ProgressFn& progress) {
  FPTQ_TRY(const model::LlamaConfig config,
           model::parse_llama_config(trial.plain->config(), trial.plain->path().string()));
  return Comparison(trial, config, progress).run();
}

}  // namespace fptq::quantize
