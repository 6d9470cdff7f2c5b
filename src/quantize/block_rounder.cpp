#include "quantize/block_rounder.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "algo/channel_statistics.h"
#include "algo/gptq.h"
#include "algo/hqq.h"
#include "algo/input_correction.h"
#include "algo/input_factor.h"
#include "algo/input_moments.h"
#include "algo/scale_search.h"
#include "base/check.h"
#include "model/weights.h"
#include "ops/activations.h"
#include "quantize/calibration_sequences.h"
#include "quantize/tensor_writing.h"
#include "tensor/packed_matrix.h"

namespace fptq::quantize {
namespace {

using model::BlockInput;
using model::BlockLinear;
using model::DecoderBlock;

// Elements that a thread takes at a time where the work is one operation on each.
constexpr std::size_t kElementGrain = std::size_t{1} << 14;
// Rows of inputs that a thread takes at a time, which stay in its cache from step to step.
constexpr std::size_t kRowGrain = 64;

// Whether the output of the linears that read `input` is added to the residual stream.
bool feeds_residual(BlockInput input) {
  return input == BlockInput::kOutput || input == BlockInput::kDown;
}

bool has_static_activations(const TensorPlan& plan) {
  return plan.scheme.activations && !plan.scheme.activations->dynamic;
}

}  // namespace

struct BlockRounder::Impl {
  RoundingJob job;
  std::vector<calib::SequenceBatch> batches;
  calib::ResidualStream quantized;
  std::optional<calib::ResidualStream> original;  // absent where nothing looks at it
  const PieceFn* after_piece = nullptr;
  std::uint64_t pieces_done = 0;

  // The block being rounded.
  std::optional<DecoderBlock> quantized_block{};
  std::optional<DecoderBlock> original_block{};
  RoundedBlock result{};

  [[nodiscard]] bool uses_gptq() const { return job.recipe->rounding == algo::Rounding::kGptq; }
  [[nodiscard]] Status piece() { return (*after_piece)(++pieces_done); }

  [[nodiscard]] const TensorPlan* plan_of(const std::string& module) const {
    for (const TensorPlan& tensor : job.plan->tensors) {
      if (tensor.module == module) return &tensor;
    }
    return nullptr;
  }

  template <typename Visit>
  Status for_each_batch(const Visit& visit) {
    for (const calib::SequenceBatch& batch : batches) {
      FPTQ_TRY_VOID(visit(batch));
      FPTQ_TRY_VOID(piece());
    }
    return {};
  }

  using Step = Status (calib::ResidualStream::*)(DecoderBlock&, const calib::SequenceBatch&);

  // Both streams take a step.
  Status advance(Step step) {
    return for_each_batch([&](const calib::SequenceBatch& batch) -> Status {
      FPTQ_TRY_VOID((quantized.*step)(*quantized_block, batch));
      if (!original) return {};
      return ((*original).*step)(*original_block, batch);
    });
  }

  Status round_block();
  Status round_readers(BlockInput input);
  Result<float> measured_scale(BlockInput input);
  Result<std::vector<double>> input_squares(BlockInput input,
                                            const std::optional<kernels::ActivationGrid>& grid);
  void read_input(const calib::SequenceBatch& batch, BlockInput input,
                  const std::optional<kernels::ActivationGrid>& grid, std::vector<float>& x,
                  std::vector<float>* shift = nullptr);
  Result<algo::InputMoments> input_moments(BlockInput input,
                                           const std::optional<kernels::ActivationGrid>& grid,
                                           std::vector<float>& output_moment);
  void output_error(const calib::SequenceBatch& batch, ops::Linear& reader,
                    std::span<const float> shift, std::vector<float>& error);
  [[nodiscard]] Result<std::optional<Tensor>> read_bias(const std::string& module) const;
  [[nodiscard]] Result<ops::Linear> fixed_point(const std::string& module,
                                                const std::optional<Tensor>& bias) const;
  Result<std::vector<float>> target_weights(BlockLinear linear, const TensorPlan& plan,
                                            const algo::InputMoments& moments,
                                            const algo::InputFactor* factor,
                                            std::span<const float> output_moment);
  Status round_linear(std::span<const float> weights, BlockLinear linear, const TensorPlan& plan,
                      const algo::InputMoments& moments, const algo::InputFactor* factor,
                      std::span<const float> importance, std::optional<float> input_scale);
  Status put_in_place(BlockLinear linear, const TensorPlan& plan, const RoundedModule& module);
};

Result<BlockRounder> BlockRounder::begin(const RoundingJob& job, std::size_t first_layer) {
  FPTQ_CHECK(!job.sequences->ids.empty(), "calibration has sequences");
  const std::vector<std::int32_t> ids = job.sequences->all_ids();
  // The residual stream's error is a part of the correction: without one, nothing looks at the
  // original.
  const bool corrects =
      job.recipe->rounding == algo::Rounding::kGptq && job.recipe->calibrated.correction != 0;
  const auto stream = [&](const char* name) -> Result<calib::ResidualStream> {
    if (first_layer > 0) {
      return calib::ResidualStream::resume(job.directory, name, *job.config, ids.size(),
                                           first_layer, *job.pool);
    }
    FPTQ_TRY(
        const ops::Embedding embedding,
        model::bind_embedding(*job.checkpoint, *job.config, {.pool = job.pool, .isa = job.isa}));
    return calib::ResidualStream::create(job.directory, name, *job.config, embedding, ids,
                                         *job.pool);
  };
  FPTQ_TRY(calib::ResidualStream quantized, stream("quantized"));
  std::optional<calib::ResidualStream> original;
  if (corrects) {
    FPTQ_TRY(original, stream("original"));
  }
  return BlockRounder(std::make_unique<Impl>(
      Impl{.job = job,
           .batches = calib::sequence_batches(job.sequences->lengths(), kBatchRows),
           .quantized = std::move(quantized),
           .original = std::move(original)}));
}

BlockRounder::BlockRounder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
BlockRounder::BlockRounder(BlockRounder&&) noexcept = default;
BlockRounder::~BlockRounder() = default;

std::size_t BlockRounder::layer() const {
  return impl_->quantized.layer();
}

// Four visits of inputs, four steps of the streams, and the linears.
std::uint64_t BlockRounder::pieces_per_block() const {
  return 8 * impl_->batches.size() + model::kBlockLinears.size();
}

// Two visits and a step; query, key, value and output.
std::uint64_t BlockRounder::pieces_before_writing() const {
  return 3 * impl_->batches.size() + 4;
}

Result<RoundedBlock> BlockRounder::round_next(const PieceFn& after_piece) {
  Impl& rounder = *impl_;
  rounder.after_piece = &after_piece;
  rounder.pieces_done = 0;
  rounder.result = RoundedBlock{};
  rounder.result.report = Json::object();
  FPTQ_TRY_VOID(rounder.round_block());
  return std::move(rounder.result);
}

Status BlockRounder::sync_streams() const {
  FPTQ_TRY_VOID(impl_->quantized.sync_entry());
  if (impl_->original) return impl_->original->sync_entry();
  return {};
}

void BlockRounder::keep() {
  impl_->quantized.entry_is_durable();
  if (impl_->original) impl_->original->entry_is_durable();
}

void BlockRounder::remove() {
  impl_->quantized.remove();
  if (impl_->original) impl_->original->remove();
}

Status BlockRounder::Impl::round_block() {
  const std::size_t layer = quantized.layer();
  const auto load = [&] {
    return DecoderBlock::load(*job.checkpoint, *job.config, layer,
                              {.pool = job.pool, .isa = job.isa});
  };
  FPTQ_TRY(quantized_block, load());
  if (original) {
    FPTQ_TRY(original_block, load());
    for (const BlockLinear linear : model::kBlockLinears) {
      const std::string name = model::block_module_name(layer, linear);
      FPTQ_TRY(const std::optional<Tensor> bias, read_bias(name));
      FPTQ_TRY(ops::Linear fixed, fixed_point(name, bias));
      original_block->set_linear(linear, std::move(fixed));
    }
  }
  FPTQ_TRY_VOID(round_readers(BlockInput::kAttention));
  FPTQ_TRY_VOID(advance(&calib::ResidualStream::compute_attention));
  FPTQ_TRY_VOID(round_readers(BlockInput::kOutput));
  FPTQ_TRY_VOID(advance(&calib::ResidualStream::add_attention));
  quantized.attention_is_added();
  if (original) original->attention_is_added();
  FPTQ_TRY_VOID(round_readers(BlockInput::kMlp));
  FPTQ_TRY_VOID(advance(&calib::ResidualStream::compute_hidden));
  FPTQ_TRY_VOID(round_readers(BlockInput::kDown));
  FPTQ_TRY_VOID(advance(&calib::ResidualStream::add_mlp));
  quantized_block.reset();
  original_block.reset();
  FPTQ_TRY_VOID(quantized.finish_block());
  if (original) FPTQ_TRY_VOID(original->finish_block());
  for (const BlockLinear linear : model::kBlockLinears) {
    job.checkpoint->release(model::block_module_name(layer, linear) + ".weight");
  }
  return {};
}

// x = xq, and shift = xf - xq where that is wanted.
void BlockRounder::Impl::read_input(const calib::SequenceBatch& batch, BlockInput input,
                                    const std::optional<kernels::ActivationGrid>& grid,
                                    std::vector<float>& x, std::vector<float>* shift) {
  const std::size_t width = model::block_input_width(*job.config, input);
  x.resize(batch.rows * width);
  if (shift != nullptr) shift->resize(x.size());
  job.pool->parallel_for(batch.rows, kRowGrain, [&](std::size_t begin, std::size_t end) {
    const std::size_t rows = end - begin;
    const std::size_t first_row = batch.first_row + begin;
    float* xq = x.data() + begin * width;
    quantized.input_rows(*quantized_block, first_row, rows, input, xq);
    ThreadPool serial(1);
    if (grid) ops::fake_quantize(xq, rows, width, *grid, job.isa, serial, xq);
    if (shift == nullptr) return;
    float* difference = shift->data() + begin * width;
    original->input_rows(*original_block, first_row, rows, input, difference);
    for (std::size_t i = 0; i < rows * width; ++i) difference[i] -= xq[i];
  });
}

// The scale of a static grid for an input: its largest magnitude over all sequences is 127 steps.
Result<float> BlockRounder::Impl::measured_scale(BlockInput input) {
  float absmax = 0;
  std::vector<float> x;
  for (const calib::SequenceBatch& batch : batches) {
    read_input(batch, input, std::nullopt, x);
    FPTQ_TRY_VOID((*after_piece)(pieces_done));
    if (!all_finite(x)) {
      return Error{
          Error::Kind::kFormat,
          "inputs of " +
              model::block_module_name(quantized.layer(), model::readers_of(input).front()) +
              ": expected finite activations, got a NaN or an infinity"};
    }
    for (const float value : x) absmax = std::max(absmax, std::abs(value));
  }
  return static_symmetric_scale(absmax);
}

Result<std::vector<double>> BlockRounder::Impl::input_squares(
    BlockInput input, const std::optional<kernels::ActivationGrid>& grid) {
  algo::ChannelStatistics statistics(model::block_input_width(*job.config, input));
  std::vector<float> x;
  const auto add = [&](const calib::SequenceBatch& batch) -> Status {
    read_input(batch, input, grid, x);
    return statistics.add(x.data(), batch.rows, *job.pool);
  };
  FPTQ_TRY_VOID(for_each_batch(add));
  const auto squares = statistics.sum_squares();
  return std::vector<double>(squares.begin(), squares.end());
}

// The moments of `input`, and R of its reader where that one's output is added to the residual
// stream: its error is known as soon as the inputs are, W (xf - xq) + beta (hf - hq), and R of it
// costs less than the shift's moment does.
Result<algo::InputMoments> BlockRounder::Impl::input_moments(
    BlockInput input, const std::optional<kernels::ActivationGrid>& grid,
    std::vector<float>& output_moment) {
  const std::size_t width = model::block_input_width(*job.config, input);
  const bool by_outputs = original && feeds_residual(input);
  algo::MomentAccumulator sums(width, original && !by_outputs, job.isa);
  std::optional<algo::OutputMomentAccumulator> output_sum;
  std::optional<ops::Linear> reader;
  if (by_outputs) {
    output_sum.emplace(job.config->hidden_size, width, job.isa);
    const BlockLinear linear = model::readers_of(input).front();
    FPTQ_TRY(reader, fixed_point(model::block_module_name(quantized.layer(), linear), {}));
  }
  std::vector<float> xq;
  std::vector<float> shift;
  std::vector<float> error;
  const auto add = [&](const calib::SequenceBatch& batch) -> Status {
    read_input(batch, input, grid, xq, original ? &shift : nullptr);
    sums.add(xq.data(), original && !by_outputs ? shift.data() : nullptr, batch.rows, *job.pool);
    if (!by_outputs) return {};
    output_error(batch, *reader, shift, error);
    output_sum->add_output_moment(error.data(), xq.data(), batch.rows, *job.pool);
    return {};
  };
  FPTQ_TRY_VOID(for_each_batch(add));
  if (output_sum) output_moment = output_sum->finish(*job.pool);
  return sums.finish(*job.pool);
}

// W (xf - xq) + beta (hf - hq): what `reader`, whose output is added to the stream h, ought to add
// beyond W xq.
void BlockRounder::Impl::output_error(const calib::SequenceBatch& batch, ops::Linear& reader,
                                      std::span<const float> shift, std::vector<float>& error) {
  const std::size_t hidden = job.config->hidden_size;
  error.resize(batch.rows * hidden);
  ops::LinearInput rows(shift.data(), batch.rows, reader.in_features());
  reader.forward(rows, error.data(), *job.pool);
  const auto beta = static_cast<float>(job.recipe->calibrated.residual_correction);
  if (beta == 0) return;
  const float* hq = quantized.residual(batch);
  const float* hf = original->residual(batch);
  job.pool->parallel_for(error.size(), kElementGrain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) error[i] += beta * (hf[i] - hq[i]);
  });
}

// Rounds the linears that read `input`, once everything before them is quantized.
Status BlockRounder::Impl::round_readers(BlockInput input) {
  const std::size_t layer = quantized.layer();
  std::vector<std::pair<BlockLinear, const TensorPlan*>> linears;
  for (const BlockLinear linear : model::readers_of(input)) {
    const TensorPlan* plan = plan_of(model::block_module_name(layer, linear));
    FPTQ_CHECK(plan != nullptr, "every linear has been planned");
    if (plan->quantized) linears.emplace_back(linear, plan);
  }
  if (linears.empty()) {
    pieces_done += batches.size() + model::readers_of(input).size();
    return {};
  }
  // The grid that the inputs lie on when these linears run. Where they differ, statistics are those
  // of the first that quantizes its inputs.
  std::optional<kernels::ActivationGrid> grid;
  std::optional<float> input_scale;
  for (const auto& [linear, plan] : linears) {
    if (!has_static_activations(*plan) || input_scale) continue;
    FPTQ_TRY(input_scale, measured_scale(input));
  }
  for (const auto& [linear, plan] : linears) {
    const auto& activations = plan->scheme.activations;
    if (!activations || grid) continue;
    grid = kernels::ActivationGrid{.symmetric = activations->symmetric,
                                   .dynamic = activations->dynamic};
    if (!activations->dynamic) grid->static_scale = *input_scale;
  }

  algo::InputMoments moments;
  std::optional<algo::InputFactor> factor;
  std::vector<float> output_moment;
  std::vector<float> importance;
  const CalibratedRounding& how = job.recipe->calibrated;
  if (uses_gptq()) {
    FPTQ_TRY(moments, input_moments(input, grid, output_moment));
    auto made = algo::InputFactor::make(
        moments, {.damping = how.damping, .act_order = how.act_order, .isa = job.isa}, *job.pool);
    if (!made) {
      return with_context(made.error(),
                          "inputs of " + model::block_module_name(layer, linears[0].first));
    }
    factor = *std::move(made);
    Json report = {{"damping", factor->damping().relative},
                   {"tokens", moments.tokens},
                   {"dead_columns", factor->dead_columns().size()}};
    result.report["inputs of " + model::block_module_name(layer, linears[0].first)] =
        std::move(report);
  } else if (job.recipe->rounding == algo::Rounding::kSearch) {
    FPTQ_TRY(const std::vector<double> squares, input_squares(input, grid));
    importance.assign(squares.begin(), squares.end());
  } else {
    pieces_done += batches.size();
  }
  std::vector<std::vector<float>> targets;
  for (const auto& [linear, plan] : linears) {
    FPTQ_TRY(std::vector<float> target,
             target_weights(linear, *plan, moments, factor ? &*factor : nullptr, output_moment));
    targets.push_back(std::move(target));
  }
  if (factor) algo::damp(factor->damping().lambda, moments);
  std::size_t index = 0;
  for (const auto& [linear, plan] : linears) {
    FPTQ_TRY_VOID(round_linear(targets[index++], linear, *plan, moments,
                               factor ? &*factor : nullptr, importance,
                               has_static_activations(*plan) ? input_scale : std::nullopt));
    FPTQ_TRY_VOID(piece());
  }
  return {};
}

// The weights that rounding aims at: the source's, corrected for inputs that have changed.
Result<std::vector<float>> BlockRounder::Impl::target_weights(
    BlockLinear linear, const TensorPlan& plan, const algo::InputMoments& moments,
    const algo::InputFactor* factor, std::span<const float> output_moment) {
  std::vector<float> weights;
  {
    FPTQ_TRY(const Tensor source, job.checkpoint->read(plan.source));
    weights = source.to_f32();
  }
  if (!all_finite(weights)) return not_finite(plan, weights, 0);
  const CalibratedRounding& how = job.recipe->calibrated;
  if (factor == nullptr || !original) return weights;
  auto corrected = algo::corrected_weights(weights, moments, *factor, output_moment,
                                           {.alpha = how.correction, .isa = job.isa}, *job.pool);
  if (!corrected) {
    return with_context(corrected.error(), model::block_module_name(quantized.layer(), linear));
  }
  return corrected;
}

Status BlockRounder::Impl::round_linear(std::span<const float> weights, BlockLinear linear,
                                        const TensorPlan& plan, const algo::InputMoments& moments,
                                        const algo::InputFactor* factor,
                                        std::span<const float> importance,
                                        std::optional<float> input_scale) {
  const std::string module = model::block_module_name(quantized.layer(), linear);
  const std::size_t rows = plan.shape[0];
  const std::size_t cols = plan.shape[1];
  RoundedModule rounded{
      algo::make_quantized_matrix(rows, cols, *plan.scheme.weights, plan.quantized->scales.dtype),
      input_scale};
  Json report = Json::object();
  if (factor != nullptr) {
    const CalibratedRounding& how = job.recipe->calibrated;
    auto outcome = algo::round_gptq(weights, moments, *factor,
                                    {.grids = how.grids,
                                     .alternations = static_cast<int>(how.alternations),
                                     .refit = how.refit,
                                     .descent_passes = static_cast<int>(how.descent_passes),
                                     .isa = job.isa},
                                    *job.pool, rounded.matrix);
    if (!outcome) return with_context(outcome.error(), module);
    report["loss"] = outcome->loss;
    report["first_loss"] = outcome->first_loss;
  } else if (job.recipe->rounding == algo::Rounding::kSearch) {
    algo::round_rows_by_search(weights, importance, *job.pool, rounded.matrix);
  } else {
    const bool hqq =
        job.recipe->rounding == algo::Rounding::kHqq && !plan.scheme.weights->symmetric;
    job.pool->parallel_for(rows, 8, [&](std::size_t begin, std::size_t end) {
      for (std::size_t row = begin; row < end; ++row) {
        const auto values = weights.subspan(row * cols, cols);
        if (hqq) {
          algo::round_row_by_hqq(values, row, rounded.matrix);
        } else {
          algo::round_row_to_nearest(values, row, rounded.matrix);
        }
      }
    });
  }
  if (input_scale) report["input_absmax"] = static_cast<double>(*input_scale) * 127.0;
  result.report[module] = std::move(report);
  FPTQ_TRY_VOID(put_in_place(linear, plan, rounded));
  result.modules.emplace(module, std::move(rounded));
  return {};
}

Result<std::optional<Tensor>> BlockRounder::Impl::read_bias(const std::string& module) const {
  std::optional<Tensor> bias;
  if (job.checkpoint->find(module + ".bias") != nullptr) {
    FPTQ_TRY(bias, job.checkpoint->read(module + ".bias"));
  }
  return bias;
}

// The original's linear: fast, and as exact as inputs of corrections have to be.
Result<ops::Linear> BlockRounder::Impl::fixed_point(const std::string& module,
                                                    const std::optional<Tensor>& bias) const {
  FPTQ_TRY(const Tensor weight, job.checkpoint->read(module + ".weight"));
  auto made = ops::Linear::fixed_point(weight, bias, job.isa);
  if (!made) return with_context(made.error(), module);
  return made;
}

// The rounded linear runs in the block from now on.
Status BlockRounder::Impl::put_in_place(BlockLinear linear, const TensorPlan& plan,
                                        const RoundedModule& module) {
  FPTQ_TRY(PackedMatrix packed, PackedMatrix::pack(module.matrix, *job.pool));
  const std::string name = model::block_module_name(quantized.layer(), linear);
  FPTQ_TRY(const std::optional<Tensor> bias, read_bias(name));
  std::optional<Grid> grid;
  if (module.input_scale) grid = Grid{*module.input_scale, 0};
  auto made =
      ops::Linear::quantized(std::move(packed), plan.scheme.activations, grid, bias, job.isa);
  if (!made) return with_context(made.error(), name);
  quantized_block->set_linear(linear, *std::move(made));
  return {};
}

}  // namespace fptq::quantize
