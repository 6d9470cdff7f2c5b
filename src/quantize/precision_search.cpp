#include "quantize/precision_search.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "calib/residual_stream.h"
#include "model/decoder_block.h"
#include "model/weights.h"
#include "numeric/softmax.h"
#include "quantize/candidate_rounding.h"
#include "tensor/packed_matrix.h"

namespace fptq::quantize {
namespace {

using model::BlockInput;
using model::DecoderBlock;

// Rows that go through a block together.
constexpr std::size_t kBatchRows = 1024;
// Logits that exist at a time, of the original and of one changed model each.
constexpr std::size_t kLogits = std::size_t{1} << 22;
// Candidates of a linear that are measured where activations are quantized: first and last.
constexpr std::size_t kMeasured = 2;

std::size_t logit_rows(const model::LlamaConfig& config) {
  return std::clamp<std::size_t>(kLogits / config.vocab_size, 1, 256);
}

// The number that 6 significant digits say.
double six_digits(double value) {
  std::array<char, 40> text{};
  const auto printed = std::to_chars(text.data(), text.data() + text.size(), value,
                                     std::chars_format::scientific, 5);
  double read = 0;
  std::from_chars(text.data(), printed.ptr, read);
  return read;
}

// What the linears of a block read, for all tokens: [R, K] each.
using BlockInputs = std::array<std::vector<float>, model::kBlockInputs.size()>;

// The residual stream of the model with one linear changed, from that linear's block on.
struct ChangedStream {
  std::size_t linear;     // of the problem
  std::size_t candidate;  // of the linear
  std::vector<float> h;   // [R, D]
  double kl_sum = 0;      // over tokens
};

class Measurement {
 public:
  Measurement(const SensitivityJob& job, std::vector<LinearSensitivity> known,
              const ProgressFn& progress, const AfterBlockFn& after_block)
      : job_(job),
        config_(*job.config),
        progress_(progress),
        after_block_(after_block),
        results_(std::move(known)) {
    std::vector<std::size_t> lengths;
    for (const std::vector<std::int32_t>& sequence : job.sequences) {
      lengths.push_back(sequence.size());
      ids_.insert(ids_.end(), sequence.begin(), sequence.end());
    }
    batches_ = calib::sequence_batches(lengths, kBatchRows);
    // The original through all blocks twice, once to its end and once along with the search.
    total_ = 2 * config_.num_layers;
    for (const PrecisionLinear& linear : job.problem->linears) {
      total_ += measured(linear).size() * (config_.num_layers - linear.layer + 1);
    }
  }

  Result<std::vector<LinearSensitivity>> run() {
    if (results_.size() == job_.problem->linears.size()) return std::move(results_);
    FPTQ_TRY(const ops::Embedding embedding,
             model::bind_embedding(*job_.checkpoint, config_, options()));
    h_.resize(ids_.size() * config_.hidden_size);
    embedding.lookup(ids_, h_.data());
    FPTQ_TRY(output_, model::bind_output(*job_.checkpoint, config_, options()));
    FPTQ_TRY_VOID(run_original_to_the_end());
    for (std::size_t layer = 0; layer < config_.num_layers; ++layer) {
      FPTQ_TRY_VOID(measure_block(layer));
    }
    return std::move(results_);
  }

 private:
  [[nodiscard]] model::LoadOptions options() const { return {.pool = job_.pool, .isa = job_.isa}; }

  // The candidates of a linear whose KL is measured.
  [[nodiscard]] std::vector<std::size_t> measured(const PrecisionLinear& linear) const {
    const std::size_t count = linear.candidates.size();
    std::vector<std::size_t> all = {0};
    for (std::size_t c = 1; c < count; ++c) {
      const bool last = c + 1 == count;
      const bool activations = linear.candidates[c].choice.scheme.activations.has_value();
      if (job_.measure_all || (last && activations)) all.push_back(c);
    }
    return all;
  }

  Status passed(std::uint64_t passes) {
    done_ += passes;
    if (report_progress(progress_, "measuring sensitivity", done_, total_)) return {};
    return Error{Error::Kind::kInterrupted, "measuring sensitivity: interrupted"};
  }

  Result<DecoderBlock> load(std::size_t layer) const {
    return DecoderBlock::load(*job_.checkpoint, config_, layer, options());
  }

  // h becomes what leaves the block.  h [R, D]; inputs: filled where not null
  Status run_block(DecoderBlock& block, std::vector<float>& h, BlockInputs* inputs) {
    const std::size_t width = config_.hidden_size;
    for (const calib::SequenceBatch& batch : batches_) {
      const std::size_t rows = batch.rows;
      float* stream = h.data() + batch.first_row * width;
      const auto see = [&](BlockInput input, const std::vector<float>& x) {
        if (inputs == nullptr) return;
        const std::size_t cols = model::block_input_width(config_, input);
        std::vector<float>& all = (*inputs)[static_cast<std::size_t>(input)];
        all.insert(all.end(), x.begin(), x.begin() + static_cast<std::ptrdiff_t>(rows * cols));
      };
      x_.resize(rows * width);
      block.attention_input(stream, rows, x_.data());
      see(BlockInput::kAttention, x_);
      wide_.resize(rows * config_.q_width());
      FPTQ_TRY_VOID(block.attend(x_.data(), batch.lengths, wide_.data()));
      see(BlockInput::kOutput, wide_);
      block.add_attention(wide_.data(), rows, stream);
      block.mlp_input(stream, rows, x_.data());
      see(BlockInput::kMlp, x_);
      wide_.resize(rows * config_.intermediate_size);
      block.mlp_hidden(x_.data(), rows, wide_.data());
      see(BlockInput::kDown, wide_);
      block.add_mlp(wide_.data(), rows, stream);
    }
    return {};
  }

  Status run_original_to_the_end() {
    final_ = h_;
    for (std::size_t layer = 0; layer < config_.num_layers; ++layer) {
      FPTQ_TRY(DecoderBlock block, load(layer));
      FPTQ_TRY_VOID(run_block(block, final_, nullptr));
      FPTQ_TRY_VOID(passed(1));
    }
    return {};
  }

  Status measure_block(std::size_t layer) {
    const std::vector<PrecisionLinear>& linears = job_.problem->linears;
    const std::size_t begin = next_;
    while (next_ < linears.size() && linears[next_].layer == layer) ++next_;
    FPTQ_TRY(DecoderBlock block, load(layer));
    if (begin == next_ || next_ <= results_.size()) {
      FPTQ_TRY_VOID(run_block(block, h_, nullptr));
      std::uint64_t skipped = 1;
      for (std::size_t i = begin; i < next_; ++i) {
        skipped += measured(linears[i]).size() * (config_.num_layers - layer + 1);
      }
      return passed(skipped);
    }
    BlockInputs inputs;
    std::vector<float> behind = h_;
    FPTQ_TRY_VOID(run_block(block, behind, &inputs));
    FPTQ_TRY_VOID(passed(1));
    std::vector<ChangedStream> streams;
    std::optional<CandidateRounder> rounder;  // of the input that it was made for
    BlockInput of = BlockInput::kAttention;
    for (std::size_t i = begin; i < next_; ++i) {
      const BlockInput input = model::block_input_of(linears[i].linear);
      const std::vector<float>& x = inputs[static_cast<std::size_t>(input)];
      if (!rounder || input != of) {
        auto made =
            CandidateRounder::make(*job_.recipe, x, linears[i].shape[1], *job_.pool, job_.isa);
        if (!made) return with_context(made.error(), "inputs of " + linears[i].module);
        rounder = *std::move(made);
        of = input;
      }
      FPTQ_TRY_VOID(measure_linear(i, x, *rounder, block, streams));
    }
    h_ = std::move(behind);
    for (std::size_t other = layer + 1; other < config_.num_layers; ++other) {
      FPTQ_TRY(DecoderBlock next, load(other));
      for (ChangedStream& stream : streams) {
        FPTQ_TRY_VOID(run_block(next, stream.h, nullptr));
        FPTQ_TRY_VOID(passed(1));
      }
    }
    FPTQ_TRY_VOID(compare_outputs(streams));
    for (const ChangedStream& stream : streams) {
      results_[stream.linear].kl[stream.candidate] =
          six_digits(stream.kl_sum / static_cast<double>(ids_.size()));
    }
    FPTQ_TRY_VOID(after_block_(results_));
    return passed(streams.size());
  }

  // Output losses of all candidates; a stream behind the block for each that is measured.
  //   x  [R, K] the linear's inputs
  Status measure_linear(std::size_t index, const std::vector<float>& x,
                        const CandidateRounder& rounder, DecoderBlock& block,
                        std::vector<ChangedStream>& streams) {
    const PrecisionLinear& linear = job_.problem->linears[index];
    const std::string name = linear.module + ".weight";
    FPTQ_TRY(const Tensor source, job_.checkpoint->read(name));  // finite: the block was loaded
    const std::vector<float> weights = source.to_f32();
    const std::vector<std::size_t> wanted = measured(linear);
    LinearSensitivity result;
    result.kl.resize(linear.candidates.size());
    for (std::size_t c = 0; c < linear.candidates.size(); ++c) {
      FPTQ_TRY(const QuantizedMatrix matrix,
               rounder.round(weights, linear.shape, *linear.candidates[c].choice.scheme.weights,
                             linear.scale_dtype));
      FPTQ_TRY(const double loss, rounder.loss(weights, matrix));
      result.losses.push_back(loss);
      if (std::find(wanted.begin(), wanted.end(), c) == wanted.end()) continue;
      FPTQ_TRY(ops::Linear changed, make_linear(linear, c, matrix, x));
      std::swap(block.linear(linear.linear), changed);
      streams.push_back({.linear = index, .candidate = c, .h = h_});
      FPTQ_TRY_VOID(run_block(block, streams.back().h, nullptr));
      std::swap(block.linear(linear.linear), changed);
      FPTQ_TRY_VOID(passed(1));
    }
    job_.checkpoint->release(name);
    results_.push_back(std::move(result));
    return {};
  }

  // The linear with the codes of that candidate, as it would run.
  [[nodiscard]] Result<ops::Linear> make_linear(const PrecisionLinear& linear,
                                                std::size_t candidate,
                                                const QuantizedMatrix& matrix,
                                                const std::vector<float>& x) const {
    FPTQ_TRY(PackedMatrix packed, PackedMatrix::pack(matrix, *job_.pool));
    const auto& activations = linear.candidates[candidate].choice.scheme.activations;
    std::optional<Grid> grid;
    if (activations && !activations->dynamic) {
      float absmax = 0;
      for (const float value : x) absmax = std::max(absmax, std::abs(value));
      grid = Grid{static_symmetric_scale(absmax), 0};
    }
    std::optional<Tensor> bias;
    if (job_.checkpoint->find(linear.module + ".bias") != nullptr) {
      FPTQ_TRY(bias, job_.checkpoint->read(linear.module + ".bias"));
    }
    auto made = ops::Linear::quantized(std::move(packed), activations, grid, bias, options().isa);
    if (!made) return with_context(made.error(), linear.module);
    return made;
  }

  // logits [rows, V] of rows of a stream behind the last block.
  void logits_of(const std::vector<float>& h, std::size_t first_row, std::size_t rows,
                 std::vector<float>& logits) {
    const std::size_t width = config_.hidden_size;
    x_.resize(rows * width);
    output_->final_norm.forward(h.data() + first_row * width, rows, x_.data(), *job_.pool);
    logits.resize(rows * config_.vocab_size);
    ops::LinearInput input(x_.data(), rows, width);
    output_->classifier.forward(input, logits.data(), *job_.pool);
  }

  // Adds up each stream's KL, token after token.
  Status compare_outputs(std::vector<ChangedStream>& streams) {
    const std::size_t vocabulary = config_.vocab_size;
    const std::size_t step = logit_rows(config_);
    std::vector<float> base;
    std::vector<float> changed;
    std::vector<double> base_norms(step);
    std::vector<double> kl(step);
    const auto row_of = [&](const std::vector<float>& logits, std::size_t row) {
      return std::span(logits).subspan(row * vocabulary, vocabulary);
    };
    for (std::size_t first = 0; first < ids_.size(); first += step) {
      const std::size_t rows = std::min(step, ids_.size() - first);
      logits_of(final_, first, rows, base);
      job_.pool->parallel_for(rows, 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t r = begin; r < end; ++r) base_norms[r] = log_sum_exp(row_of(base, r));
      });
      for (ChangedStream& stream : streams) {
        logits_of(stream.h, first, rows, changed);
        job_.pool->parallel_for(rows, 1, [&](std::size_t begin, std::size_t end) {
          for (std::size_t r = begin; r < end; ++r) {
            const std::span<const float> row = row_of(changed, r);
            kl[r] = kl_divergence(row_of(base, r), base_norms[r], row, log_sum_exp(row));
          }
        });
        for (std::size_t r = 0; r < rows; ++r) stream.kl_sum += kl[r];
        if (std::isfinite(stream.kl_sum)) continue;
        return Error{Error::Kind::kFormat, job_.problem->linears[stream.linear].module +
                                               ": measuring sensitivity: expected finite logits, "
                                               "got NaN or infinity. Are the weights damaged?"};
      }
    }
    return {};
  }

  const SensitivityJob& job_;
  const model::LlamaConfig& config_;
  const ProgressFn& progress_;
  const AfterBlockFn& after_block_;
  std::vector<std::int32_t> ids_;  // [R]
  std::vector<calib::SequenceBatch> batches_;
  std::optional<model::OutputWeights> output_;
  std::vector<float> h_;      // [R, D] the original before the block at hand
  std::vector<float> final_;  // [R, D] the original behind the last block
  std::vector<float> x_;
  std::vector<float> wide_;
  std::vector<LinearSensitivity> results_;
  std::size_t next_ = 0;  // linear of the problem
  std::uint64_t done_ = 0;
  std::uint64_t total_ = 0;
};

}  // namespace

std::vector<std::vector<std::int32_t>> sensitivity_sequences(
    std::span<const std::vector<std::int32_t>> calibration, std::size_t samples) {
  std::vector<std::vector<std::int32_t>> sequences;
  const std::size_t count = std::min(samples, calibration.size());
  for (std::size_t i = 0; i < count; ++i) {
    const std::vector<std::int32_t>& whole = calibration[i * calibration.size() / count];
    const std::size_t length = std::min<std::size_t>(whole.size(), kSensitivityTokens);
    sequences.emplace_back(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
  }
  return sequences;
}

Result<std::vector<LinearSensitivity>> measure_sensitivities(const SensitivityJob& job,
                                                             std::vector<LinearSensitivity> known,
                                                             const ProgressFn& progress,
                                                             const AfterBlockFn& after_block) {
  FPTQ_CHECK(!job.sequences.empty(), "there are sequences to measure on");
  return Measurement(job, std::move(known), progress, after_block).run();
}

std::uint64_t sensitivity_working_bytes(const Recipe& recipe, const model::LlamaConfig& config,
                                        std::size_t sequences) {
  const std::uint64_t rows = std::uint64_t{sequences} * kSensitivityTokens;
  const std::uint64_t hidden = config.hidden_size;
  const std::uint64_t ffn = config.intermediate_size;
  const std::uint64_t batch = std::min<std::uint64_t>(rows, kBatchRows);
  // Changed streams of a block's linears, the original's, the inputs of one block.
  std::uint64_t floats = rows * ((kMeasured * model::kBlockLinears.size() + 3) * hidden +
                                 2 * hidden + config.q_width() + ffn);
  floats += batch * (4 * hidden + 5 * ffn + 4 * config.q_width() + 4 * config.kv_width());
  if (recipe.rounding == algo::Rounding::kGptq) {
    // H, the factor in double and in float.
    const std::uint64_t widest = std::max({hidden, std::uint64_t{config.q_width()}, ffn});
    floats += 5 * widest * widest;
  }
  floats += 2 * logit_rows(config) * std::uint64_t{config.vocab_size};
  // Weights, their errors twice, codes and packed codes of the widest linear.
  return floats * sizeof(float) + ffn * hidden * (3 * sizeof(float) + 3);
}

}  // namespace fptq::quantize
