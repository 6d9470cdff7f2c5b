#include "quantize/tensor_writing.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "algo/hqq.h"
#include "base/check.h"
#include "base/sha256.h"
#include "numeric/dtype.h"
#include "quantize/table_writing.h"

namespace fptq::quantize {
namespace {

constexpr std::size_t kBlockElements = std::size_t{1} << 20;
// Rows that a thread takes at a time: small enough to share a block out evenly.
constexpr std::size_t kGrainRows = 8;

// "[12, 7]": where an element of a row-major array lies.
std::string index_text(const Shape& shape, std::size_t element) {
  Shape index(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    index[axis] = element % shape[axis];
    element /= shape[axis];
  }
  return shape_text(index);
}

void store_float(float value, DType dtype, std::byte* out) {
  if (dtype == DType::kF32) {
    std::memcpy(out, &value, sizeof(value));
    return;
  }
  const std::uint16_t bits = dtype == DType::kF16 ? f32_to_f16(value) : f32_to_bf16(value);
  std::memcpy(out, &bits, sizeof(bits));
}

float load_float(DType dtype, const std::byte* in) {
  float value = 0;
  if (dtype == DType::kF32) {
    std::memcpy(&value, in, sizeof(value));
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, in, sizeof(bits));
  return dtype == DType::kF16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}

std::vector<std::byte> float_bytes(std::span<const float> values, DType dtype) {
  const std::size_t size = dtype_bytes(dtype);
  std::vector<std::byte> bytes(values.size() * size);
  for (std::size_t i = 0; i < values.size(); ++i) {
    store_float(values[i], dtype, bytes.data() + i * size);
  }
  return bytes;
}

// Rounds and writes a matrix.
class MatrixWriter {
 public:
  MatrixWriter(const TensorPlan& plan, const Tensor& weights, const TensorRounding& rounding,
               ThreadPool& pool, const ByteSink& sink)
      : plan_(plan), weights_(weights), rounding_(rounding), pool_(pool), sink_(sink) {}

  Result<TensorOutcome> write(const std::function<Status(std::uint64_t)>& after_block) {
    const std::size_t rows = plan_.shape[0];
    const std::size_t step = block_rows(rows, plan_.shape[1]);
    for (std::size_t first = 0; first < rows; first += step) {
      const std::size_t count = std::min(step, rows - first);
      FPTQ_TRY_VOID(write_block(first, count));
      FPTQ_TRY_VOID(after_block((first + count) * plan_.shape[1]));
    }
    FPTQ_TRY_VOID(write_grids(*plan_.quantized));
    if (plan_.quantized->shape) FPTQ_TRY_VOID(write_shape(*plan_.quantized->shape));
    if (plan_.quantized->input_scale) {
      FPTQ_CHECK(rounding_.rounded != nullptr && rounding_.rounded->input_scale,
                 "static activations come from calibration");
      const float scale = *rounding_.rounded->input_scale;
      FPTQ_TRY_VOID(sink_(*plan_.quantized->input_scale, std::as_bytes(std::span(&scale, 1))));
    }
    if (plan_.twin) FPTQ_TRY_VOID(write_grids(*plan_.twin));
    return TensorOutcome{sha256_.finish(), error_};
  }

 private:
  // Chooses the codes of row `row` of `block`, or takes over those that were chosen.
  algo::RoundingError fill_row(std::span<const float> values, std::size_t source_row,
                               std::size_t row, QuantizedMatrix& block) const {
    if (rounding_.rounded == nullptr) return round_row(values, row, block);
    const QuantizedMatrix& matrix = rounding_.rounded->matrix;
    const std::size_t groups = matrix.groups();
    const auto copy = [&](const auto& from, auto& to, std::size_t width) {
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(source_row * width), width,
                  to.begin() + static_cast<std::ptrdiff_t>(row * width));
    };
    copy(matrix.codes, block.codes, matrix.cols);
    copy(matrix.scales, block.scales, groups);
    if (!matrix.args.symmetric) copy(matrix.zero_points, block.zero_points, groups);
    return algo::row_error(values, row, block);
  }

  algo::RoundingError round_row(std::span<const float> values, std::size_t row,
                                QuantizedMatrix& block) const {
    if (rounding_.method == algo::Rounding::kHqq && !block.args.symmetric) {
      return algo::round_row_by_hqq(values, row, block);
    }
    return algo::round_row_to_nearest(values, row, block);
  }

  Status write_block(std::size_t first_row, std::size_t rows) {
    const std::size_t cols = plan_.shape[1];
    const QuantArgs& args = *plan_.scheme.weights;
    const DType scale_dtype = plan_.quantized->scales.dtype;
    QuantizedMatrix block = algo::make_quantized_matrix(rows, cols, args, scale_dtype);
    const std::size_t row_bytes = args.num_bits == 4 ? packed_row_bytes(cols) : cols;
    std::vector<std::byte> packed(rows * row_bytes);
    std::vector<algo::RoundingError> errors(rows);
    std::vector<std::uint8_t> damaged(rows, 0);

    const auto round_rows = [&](std::size_t begin, std::size_t end) {
      std::vector<float> values(cols);
      for (std::size_t row = begin; row < end; ++row) {
        weights_.read_f32((first_row + row) * cols, cols, values.data());
        if (!all_finite(values)) {
          damaged[row] = 1;
          continue;
        }
        errors[row] = fill_row(values, first_row + row, row, block);
        const auto codes = std::span(block.codes).subspan(row * cols, cols);
        const auto out = std::span(packed).subspan(row * row_bytes, row_bytes);
        if (args.num_bits == 4) {
          pack_codes(codes, out);
        } else {
          std::memcpy(out.data(), codes.data(), codes.size());
        }
      }
    };
    // Hashing the block's source is one piece of the same job: it runs beside the rounding.
    const std::size_t source_bytes = dtype_bytes(weights_.dtype());
    const auto source =
        weights_.bytes().subspan(first_row * cols * source_bytes, rows * cols * source_bytes);
    const std::size_t pieces = 1 + (rows + kGrainRows - 1) / kGrainRows;
    pool_.parallel_for(pieces, 1, [&](std::size_t piece, std::size_t) {
      if (piece == 0) {
        sha256_.update(source);
      } else {
        const std::size_t begin = (piece - 1) * kGrainRows;
        round_rows(begin, std::min(begin + kGrainRows, rows));
      }
    });

    for (std::size_t row = 0; row < rows; ++row) {
      if (damaged[row] != 0) {
        std::vector<float> values(cols);
        weights_.read_f32((first_row + row) * cols, cols, values.data());
        return not_finite(plan_, values, (first_row + row) * cols);
      }
      error_.add(errors[row]);
    }
    FPTQ_TRY_VOID(sink_(plan_.quantized->codes, packed));
    keep_grids(block);
    return {};
  }

  // Scales and zero points follow the codes in the file; they are small.
  void keep_grids(const QuantizedMatrix& block) {
    const std::vector<std::byte> scales = float_bytes(block.scales, plan_.quantized->scales.dtype);
    scales_.insert(scales_.end(), scales.begin(), scales.end());
    if (block.args.symmetric) return;
    const auto bytes = std::as_bytes(std::span(block.zero_points));
    zero_points_.insert(zero_points_.end(), bytes.begin(), bytes.end());
  }

  Status write_grids(const StoredModule& stored) const {
    FPTQ_TRY_VOID(sink_(stored.scales, scales_));
    if (stored.zero_points) FPTQ_TRY_VOID(sink_(*stored.zero_points, zero_points_));
    return {};
  }

  Status write_shape(const io::TensorSpec& stored) const {
    std::array<std::byte, 2 * sizeof(std::uint64_t)> bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const auto axis = static_cast<std::uint64_t>(plan_.shape[i / 8]);
      bytes[i] = static_cast<std::byte>(axis >> (8 * (i % 8)));
    }
    return sink_(stored, bytes);
  }

  const TensorPlan& plan_;
  const Tensor& weights_;
  const TensorRounding& rounding_;
  ThreadPool& pool_;
  const ByteSink& sink_;
  Sha256 sha256_;
  algo::RoundingError error_;
  std::vector<std::byte> scales_;
  std::vector<std::byte> zero_points_;
};

// Copies or casts a tensor in pieces.
Result<TensorOutcome> write_kept(const TensorPlan& plan, const Tensor& weights,
                                 const ByteSink& sink,
                                 const std::function<Status(std::uint64_t)>& after_block) {
  const std::size_t from_bytes = dtype_bytes(weights.dtype());
  const bool is_float = is_float_weight_dtype(weights.dtype());
  const bool cast = plan.stored->dtype != weights.dtype();
  FPTQ_CHECK(is_float || !cast, "only floating point is cast");
  Sha256 sha256;
  TensorOutcome outcome;
  std::vector<float> values;
  const std::size_t total = weights.elements();
  for (std::size_t first = 0; first < total; first += kBlockElements) {
    const std::size_t count = std::min(kBlockElements, total - first);
    const auto source = weights.bytes().subspan(first * from_bytes, count * from_bytes);
    sha256.update(source);
    if (is_float) {
      values.resize(count);
      weights.read_f32(first, count, values.data());
      if (!all_finite(values)) return not_finite(plan, values, first);
    }
    if (!cast) {
      FPTQ_TRY_VOID(sink(*plan.stored, source));
    } else {
      const std::vector<std::byte> bytes = float_bytes(values, plan.stored->dtype);
      const std::size_t size = dtype_bytes(plan.stored->dtype);
      for (std::size_t i = 0; i < count; ++i) {
        const float kept = load_float(plan.stored->dtype, bytes.data() + i * size);
        if (!std::isfinite(kept)) {
          return Error{Error::Kind::kUnsupported, "tensor \"" + plan.source + "\": element " +
                                                      index_text(plan.shape, first + i) + ": " +
                                                      std::to_string(values[i]) + " does not fit " +
                                                      std::string(dtype_name(plan.stored->dtype)) +
                                                      ". Keep the tensor as it is, or choose BF16"};
        }
        const auto weight = static_cast<double>(values[i]);
        const double difference = weight - static_cast<double>(kept);
        outcome.error.add({difference * difference, weight * weight, std::abs(difference)});
      }
      FPTQ_TRY_VOID(sink(*plan.stored, bytes));
    }
    FPTQ_TRY_VOID(after_block(first + count));
  }
  // A tensor without elements is written all the same.
  if (total == 0) FPTQ_TRY_VOID(sink(*plan.stored, {}));
  outcome.source_sha256 = sha256.finish();
  return outcome;
}

}  // namespace

// No early exit, so that the loop maps to vector instructions.
bool all_finite(std::span<const float> values) {
  constexpr std::uint32_t kExponent = 0x7F800000U;
  std::uint32_t found = 0;
  for (const float value : values) {
    found |= (std::bit_cast<std::uint32_t>(value) & kExponent) == kExponent ? 1U : 0U;
  }
  return found == 0;
}

Error not_finite(const TensorPlan& plan, std::span<const float> values, std::size_t first_element) {
  const auto bad =
      std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  const auto element = first_element + static_cast<std::size_t>(bad - values.begin());
  return Error{Error::Kind::kFormat, "tensor \"" + plan.source + "\": element " +
                                         index_text(plan.shape, element) +
                                         ": expected a finite number, got " +
                                         (std::isnan(*bad) ? "nan" : (*bad < 0 ? "-inf" : "inf")) +
                                         ". The checkpoint is damaged"};
}

std::size_t block_rows(std::size_t rows, std::size_t cols) {
  const std::size_t fitting = kBlockElements / std::max<std::size_t>(cols, 1);
  return std::clamp<std::size_t>(fitting / 8 * 8, 8, std::max<std::size_t>((rows + 7) / 8 * 8, 8));
}

std::uint64_t block_working_bytes(const TensorPlan& plan) {
  if (plan.table) return table_working_bytes(plan);
  if (!plan.quantized) return kBlockElements * 2 * sizeof(float);
  // Codes, packed codes, float and stored scales of a block; scales and zero points of the tensor.
  const std::uint64_t block =
      std::uint64_t{block_rows(plan.shape[0], plan.shape[1])} * plan.shape[1];
  return block * 3 + plan.quantized->bytes() - spec_bytes(plan.quantized->codes);
}

TensorRounding data_free_rounding(const Recipe& recipe, const TensorPlan& plan) {
  const bool of_decoder = plan.module.starts_with("model.layers.");
  return {of_decoder ? recipe.rounding : algo::Rounding::kNearest, nullptr};
}

Result<TensorOutcome> write_tensor(const TensorPlan& plan, const Tensor& weights,
                                   const TensorRounding& rounding, ThreadPool& pool,
                                   const ByteSink& sink,
                                   const std::function<Status(std::uint64_t)>& after_block) {
  FPTQ_CHECK(weights.shape() == plan.shape, "the tensor that was planned");
  if (plan.table) return write_table(plan, weights, pool, sink, after_block);
  if (!plan.quantized) return write_kept(plan, weights, sink, after_block);
  return MatrixWriter(plan, weights, rounding, pool, sink).write(after_block);
}

}  // namespace fptq::quantize
