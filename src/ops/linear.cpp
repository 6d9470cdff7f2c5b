#include "ops/linear.h"

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cmath>
#include <utility>
#include <vector>

#include "base/check.h"
#include "kernels/dense_gemm/dispatch.h"
#include "kernels/fixed_gemm/dispatch.h"
#include "kernels/fixed_gemm/scratch.h"
#include "kernels/fixed_pack/dispatch.h"
#include "kernels/nf4a16_gemm/dispatch.h"
#include "kernels/w4a8_gemm/dispatch.h"
#include "kernels/w8a8_gemm/dispatch.h"
#include "numeric/code_table.h"
#include "ops/partition.h"

namespace fptq::ops {
namespace {

kernels::ElementType element_type(DType dtype) {
  if (dtype == DType::kF16) return kernels::ElementType::kF16;
  return dtype == DType::kBF16 ? kernels::ElementType::kBF16 : kernels::ElementType::kF32;
}

Result<std::vector<float>> read_bias(const std::optional<Tensor>& bias, std::size_t rows) {
  if (!bias) return std::vector<float>{};
  if (!is_float_weight_dtype(bias->dtype())) {
    return Error{Error::Kind::kUnsupported,
                 "bias: expected F32, F16 or BF16, got " + std::string(dtype_name(bias->dtype()))};
  }
  if (bias->shape() != Shape{rows}) {
    return Error{Error::Kind::kFormat,
                 "bias: expected " + shape_text({rows}) + ", got " + shape_text(bias->shape())};
  }
  return bias->to_f32();
}

// The grid that quantized activations use at run time.
Result<kernels::ActivationGrid> checked_grid(const QuantArgs& args,
                                             const std::optional<Grid>& static_grid) {
  const bool dynamic = args.dynamic && args.strategy == Strategy::kToken;
  const bool fixed = !args.dynamic && args.strategy == Strategy::kTensor;
  if (args.type != CodeType::kInt || args.num_bits != 8 || !(dynamic || fixed)) {
    return Error{Error::Kind::kUnsupported,
                 "activations: expected 8-bit integers, dynamic per token or static per tensor, "
                 "got " +
                     std::to_string(args.num_bits) + " bits, " +
                     (args.dynamic ? "dynamic" : "static") + " per " +
                     std::string(strategy_name(args.strategy))};
  }
  kernels::ActivationGrid grid{.symmetric = args.symmetric, .dynamic = args.dynamic};
  if (dynamic) return grid;
  if (!static_grid) {
    return Error{Error::Kind::kFormat, "activations: expected a static scale, got none"};
  }
  // The codes are x * (1 / scale): both have to be normal numbers.
  if (!std::isnormal(static_grid->scale) || static_grid->scale < 0.0f ||
      !std::isnormal(1.0f / static_grid->scale)) {
    return Error{Error::Kind::kFormat, "activations: expected a positive static scale, got " +
                                           std::to_string(static_grid->scale)};
  }
  const std::int32_t zero = static_grid->zero_point;
  if (zero < -128 || zero > 127 || (args.symmetric && zero != 0)) {
    return Error{Error::Kind::kFormat, std::string("activations: expected a zero point ") +
                                           (args.symmetric ? "of 0" : "from -128 to 127") +
                                           ", got " + std::to_string(zero)};
  }
  grid.static_scale = static_grid->scale;
  grid.static_zero_point = zero;
  return grid;
}

Status check_float_matrix(const Tensor& weight) {
  if (weight.shape().size() != 2 || weight.cols() == 0) {
    return Error{Error::Kind::kFormat,
                 "weight: expected a matrix, got shape " + shape_text(weight.shape())};
  }
  if (!is_float_weight_dtype(weight.dtype())) {
    return Error{Error::Kind::kUnsupported, "weight: expected F32, F16 or BF16, got " +
                                                std::string(dtype_name(weight.dtype()))};
  }
  return {};
}

// Weights [N, K] as fixed_gemm's second operand.
struct FixedPointWeights {
  std::vector<std::int32_t> words;  // [fixed_words(K), stride]
  std::vector<float> scales;        // [N]
  std::size_t stride = 0;           // N, padded
};

FixedPointWeights fixed_point_weights(const Tensor& weight, kernels::FixedPackFn pack) {
  const std::vector<float> values = weight.to_f32();
  const std::size_t words = kernels::fixed_words(weight.cols());
  FixedPointWeights packed;
  packed.stride = kernels::fixed_channels(weight.rows());
  packed.words.resize(words * packed.stride);
  packed.scales.resize(weight.rows());
  std::vector<std::int32_t> row(words);
  for (std::size_t n = 0; n < weight.rows(); ++n) {
    pack({.x = values.data() + n * weight.cols(),
          .x_stride = weight.cols(),
          .rows = 1,
          .cols = weight.cols(),
          .by_columns = false,
          .words = row.data(),
          .word_stride = words,
          .scales = packed.scales.data() + n});
    for (std::size_t w = 0; w < words; ++w) packed.words[w * packed.stride + n] = row[w];
  }
  return packed;
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

}  // namespace

struct Linear::Impl {
  enum class Path { kDense, kDequantized, kInteger, kTable, kFixed };

  Path path = Path::kDense;
  Tensor dense_weight;
  PackedMatrix packed_weight;
  TableMatrix table_weight;
  FixedPointWeights fixed_weight;
  kernels::ActivationGrid grid;
  std::vector<float> bias;  // [N] or empty
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::string scheme;
  std::string_view kernel;
  Isa isa = Isa::kScalar;  // of the kernel
  Isa quantizer_isa = Isa::kScalar;
  kernels::DenseGemmFn dense_gemm = nullptr;
  kernels::IntegerGemmFn integer_gemm = nullptr;
  kernels::Nf4a16GemmFn table_gemm = nullptr;
  kernels::FixedGemmFn fixed_gemm = nullptr;
  std::atomic<std::uint64_t> calls = 0;

  // y[:, begin..end) of a dense product with weights [end - begin, K] at `weights`.
  void multiply_dense(const LinearInput& x, const void* weights, kernels::ElementType type,
                      float* y, std::size_t begin, std::size_t end) const;
  // Adds the bias to y[:, begin..end).
  void add_bias(const LinearInput& x, float* y, std::size_t begin, std::size_t end) const;
  void forward_dense(const LinearInput& x, float* y, ThreadPool& pool) const;
  void forward_dequantized(const LinearInput& x, float* y, ThreadPool& pool) const;
  void forward_integer(LinearInput& x, float* y, ThreadPool& pool) const;
  void forward_table(const LinearInput& x, float* y, ThreadPool& pool) const;
  void forward_fixed(LinearInput& x, float* y, ThreadPool& pool) const;
};

void Linear::Impl::multiply_dense(const LinearInput& x, const void* weights,
                                  kernels::ElementType type, float* y, std::size_t begin,
                                  std::size_t end) const {
  alignas(64) float scratch[kernels::kDenseGemmScratchFloats];
  dense_gemm({.x = x.values(),
              .x_stride = cols,
              .w = weights,
              .w_stride = cols,
              .w_type = type,
              .y = y + begin,
              .y_stride = rows,
              .m = x.rows(),
              .n = end - begin,
              .k = cols,
              .scratch = scratch});
  add_bias(x, y, begin, end);
}

void Linear::Impl::add_bias(const LinearInput& x, float* y, std::size_t begin,
                            std::size_t end) const {
  if (bias.empty()) return;
  for (std::size_t m = 0; m < x.rows(); ++m) {
    for (std::size_t n = begin; n < end; ++n) y[m * rows + n] += bias[n];
  }
}

void Linear::Impl::forward_dense(const LinearInput& x, float* y, ThreadPool& pool) const {
  const std::size_t element_bytes = dtype_bytes(dense_weight.dtype());
  const std::size_t grain = channel_grain(x.rows(), rows, cols, pool.threads());
  pool.parallel_for(rows, grain, [&](std::size_t begin, std::size_t end) {
    multiply_dense(x, dense_weight.bytes().data() + begin * cols * element_bytes,
                   element_type(dense_weight.dtype()), y, begin, end);
  });
}

void Linear::Impl::forward_dequantized(const LinearInput& x, float* y, ThreadPool& pool) const {
  pool.parallel_for(rows, kernels::kBlockRows, [&](std::size_t begin, std::size_t end) {
    std::vector<float> tile((end - begin) * cols);
    for (std::size_t n = begin; n < end; ++n) {
      packed_weight.read_row(n, std::span(tile).subspan((n - begin) * cols, cols));
    }
    multiply_dense(x, tile.data(), kernels::ElementType::kF32, y, begin, end);
  });
}

void Linear::Impl::forward_integer(LinearInput& x, float* y, ThreadPool& pool) const {
  const kernels::QuantizedActivations& codes = x.quantized(grid, quantizer_isa, pool);
  const std::size_t slabs = kernels::slab_count(cols);
  const IntegerTiles tiles = integer_tiles(x.rows(), rows, cols, pool.threads());
  pool.parallel_for(tiles.count(), 1, [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) {
      const IntegerTiles::Tile tile = tiles[i];
      kernels::IntegerGemmArgs args{.w = packed_weight.view(),
                                    .x = codes,
                                    .bias = bias.empty() ? nullptr : bias.data(),
                                    .y = y + tile.token_begin * rows,
                                    .y_stride = rows,
                                    .block_begin = tile.block_begin,
                                    .block_end = tile.block_end};
      args.x.codes += tile.token_begin * codes.stride;
      args.x.pair_sums += tile.token_begin * slabs * 2;
      args.x.scales += tile.token_begin;
      if (codes.zero_points != nullptr) args.x.zero_points += tile.token_begin;
      args.x.rows = tile.token_end - tile.token_begin;
      integer_gemm(args);
    }
  });
}

void Linear::Impl::forward_table(const LinearInput& x, float* y, ThreadPool& pool) const {
  const std::size_t grain = channel_grain(x.rows(), rows, cols, pool.threads());
  pool.parallel_for(rows, grain, [&](std::size_t begin, std::size_t end) {
    alignas(64) float scratch[kernels::kNf4a16GemmScratchFloats];
    table_gemm({.x = x.values(),
                .x_stride = cols,
                .codes = table_weight.codes(),
                .absmax = table_weight.absmax().data(),
                .table = code_table(table_weight.args().type).data(),
                .block_size = table_weight.args().group_size,
                .row_begin = begin,
                .y = y + begin,
                .y_stride = rows,
                .m = x.rows(),
                .n = end - begin,
                .k = cols,
                .scratch = scratch});
    add_bias(x, y, begin, end);
  });
}

void Linear::Impl::forward_fixed(LinearInput& x, float* y, ThreadPool& pool) const {
  // Enough tokens to make up for cutting the weights into digits anew, as few as share the work.
  constexpr std::size_t kMostTokens = 256;
  const LinearInput::FixedRows& numbers = x.fixed_point(quantizer_isa, pool);
  const std::size_t share = kernels::fixed_channels(x.rows() / pool.threads() + 1);
  const std::size_t grain = std::min(kMostTokens, share);
  pool.parallel_for(x.rows(), grain, [&](std::size_t begin, std::size_t end) {
    fixed_gemm({.a = numbers.words + begin * numbers.stride,
                .a_row_stride = numbers.stride,
                .a_word_stride = 1,
                .b = fixed_weight.words.data(),
                .b_stride = fixed_weight.stride,
                .a_scale = numbers.scales + begin,
                .b_scale = fixed_weight.scales.data(),
                .y = y + begin * rows,
                .y_stride = rows,
                .accumulate = false,
                .m = end - begin,
                .n = rows,
                .words = numbers.stride,
                .scratch = kernels::fixed_gemm_scratch(numbers.stride)});
    for (std::size_t m = begin; m < end && !bias.empty(); ++m) {
      for (std::size_t n = 0; n < rows; ++n) y[m * rows + n] += bias[n];
    }
  });
}

Linear::Linear(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Linear::Linear(Linear&&) noexcept = default;
Linear& Linear::operator=(Linear&&) noexcept = default;
Linear::~Linear() = default;

Result<Linear> Linear::dense(Tensor weight, const std::optional<Tensor>& bias, Isa isa) {
  FPTQ_TRY_VOID(check_float_matrix(weight));
  auto impl = std::make_unique<Impl>();
  FPTQ_TRY(impl->bias, read_bias(bias, weight.rows()));
  const auto& variant = select_variant(kernels::dense_gemm_variants(), isa);
  impl->path = Impl::Path::kDense;
  impl->rows = weight.rows();
  impl->cols = weight.cols();
  impl->scheme = lower_case(dtype_name(weight.dtype()));
  impl->kernel = "dense_gemm";
  impl->isa = variant.isa;
  impl->dense_gemm = variant.run;
  impl->dense_weight = std::move(weight);
  return Linear(std::move(impl));
}

Result<Linear> Linear::fixed_point(const Tensor& weight, const std::optional<Tensor>& bias,
                                   Isa isa) {
  FPTQ_TRY_VOID(check_float_matrix(weight));
  auto impl = std::make_unique<Impl>();
  FPTQ_TRY(impl->bias, read_bias(bias, weight.rows()));
  const auto& variant = select_variant(kernels::fixed_gemm_variants(), isa);
  impl->path = Impl::Path::kFixed;
  impl->rows = weight.rows();
  impl->cols = weight.cols();
  impl->scheme = "fixed14";
  impl->kernel = "fixed_gemm";
  impl->isa = variant.isa;
  impl->fixed_gemm = variant.run;
  impl->quantizer_isa = isa;
  impl->fixed_weight =
      fixed_point_weights(weight, select_variant(kernels::fixed_pack_variants(), isa).run);
  return Linear(std::move(impl));
}

Result<Linear> Linear::quantized(PackedMatrix weight, const std::optional<QuantArgs>& activations,
                                 const std::optional<Grid>& static_grid,
                                 const std::optional<Tensor>& bias, Isa isa) {
  auto impl = std::make_unique<Impl>();
  FPTQ_TRY(impl->bias, read_bias(bias, weight.rows()));
  const bool four_bits = weight.args().num_bits == 4;
  impl->rows = weight.rows();
  impl->cols = weight.cols();
  impl->scheme = scheme_name(Scheme{weight.args(), activations});
  if (activations) {
    FPTQ_TRY(impl->grid, checked_grid(*activations, static_grid));
    const std::size_t width = weight.view().group_width;
    const auto& variant = four_bits ? kernels::select_w4a8_gemm(isa, weight.cols(), width)
                                    : kernels::select_w8a8_gemm(isa, weight.cols(), width);
    impl->path = Impl::Path::kInteger;
    impl->kernel = four_bits ? "w4a8_gemm" : "w8a8_gemm";
    impl->isa = variant.isa;
    impl->quantizer_isa = isa;
    impl->integer_gemm = variant.run;
  } else {
    const auto& variant = select_variant(kernels::dense_gemm_variants(), isa);
    impl->path = Impl::Path::kDequantized;
    impl->kernel = four_bits ? "w4a16_gemm" : "w8a16_gemm";
    impl->isa = variant.isa;
    impl->dense_gemm = variant.run;
  }
  impl->packed_weight = std::move(weight);
  return Linear(std::move(impl));
}

Result<Linear> Linear::table(TableMatrix weight, const std::optional<Tensor>& bias, Isa isa) {
  auto impl = std::make_unique<Impl>();
  FPTQ_TRY(impl->bias, read_bias(bias, weight.rows()));
  const auto& variant = select_variant(kernels::nf4a16_gemm_variants(), isa);
  impl->path = Impl::Path::kTable;
  impl->rows = weight.rows();
  impl->cols = weight.cols();
  impl->scheme = scheme_name(Scheme{weight.args(), std::nullopt});
  impl->kernel = "nf4a16_gemm";
  impl->isa = variant.isa;
  impl->table_gemm = variant.run;
  impl->table_weight = std::move(weight);
  return Linear(std::move(impl));
}

void Linear::forward(LinearInput& x, float* y, ThreadPool& pool) {
  FPTQ_CHECK(x.cols() == impl_->cols, "the input has as many columns as the weights");
  impl_->calls.fetch_add(1, std::memory_order_relaxed);
  if (x.rows() == 0) return;
  switch (impl_->path) {
    case Impl::Path::kDense:
      return impl_->forward_dense(x, y, pool);
    case Impl::Path::kDequantized:
      return impl_->forward_dequantized(x, y, pool);
    case Impl::Path::kInteger:
      return impl_->forward_integer(x, y, pool);
    case Impl::Path::kTable:
      return impl_->forward_table(x, y, pool);
    case Impl::Path::kFixed:
      return impl_->forward_fixed(x, y, pool);
  }
}

std::size_t Linear::in_features() const {
  return impl_->cols;
}
std::size_t Linear::out_features() const {
  return impl_->rows;
}
const std::string& Linear::scheme() const {
  return impl_->scheme;
}
std::string_view Linear::kernel() const {
  return impl_->kernel;
}
Isa Linear::isa() const {
  return impl_->isa;
}
std::optional<kernels::ActivationGrid> Linear::activation_grid() const {
  if (impl_->path != Impl::Path::kInteger) return std::nullopt;
  return impl_->grid;
}
std::uint64_t Linear::calls() const {
  return impl_->calls.load(std::memory_order_relaxed);
}

std::uint64_t Linear::bytes() const {
  const std::uint64_t bias_bytes = impl_->bias.size() * sizeof(float);
  switch (impl_->path) {
    case Impl::Path::kDense:
      return impl_->dense_weight.bytes().size() + bias_bytes;
    case Impl::Path::kTable:
      return impl_->table_weight.bytes() + bias_bytes;
    case Impl::Path::kFixed:
      return impl_->fixed_weight.words.size() * sizeof(std::int32_t) +
             impl_->fixed_weight.scales.size() * sizeof(float) + bias_bytes;
    case Impl::Path::kDequantized:
    case Impl::Path::kInteger:
      break;
  }
  return impl_->packed_weight.bytes() + bias_bytes;
}

}  // namespace fptq::ops
