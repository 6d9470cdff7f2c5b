#include "tensor/packed_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "kernels/integer_gemm/pack.h"
#include "tensor/tensor.h"

namespace fptq {
namespace {

kernels::ElementType scale_type(DType dtype) {
  if (dtype == DType::kF16) return kernels::ElementType::kF16;
  return dtype == DType::kBF16 ? kernels::ElementType::kBF16 : kernels::ElementType::kF32;
}

kernels::PackedShape packed_shape(const PackedMatrixSpec& spec) {
  return {.num_bits = spec.args.num_bits,
          .rows = spec.rows,
          .cols = spec.cols,
          .group_width = spec.group_width(),
          .scale_type = scale_type(spec.scale_dtype),
          .symmetric = spec.args.symmetric};
}

// Largest |code - zero_point| times largest |activation code - zero point|, times the inputs of a
// group, has to fit an int32.
bool sums_fit_int32(const PackedMatrixSpec& spec) {
  const std::uint64_t steps = (1ULL << spec.args.num_bits) - 1;
  const std::uint64_t weight = spec.args.symmetric ? (steps + 1) / 2 : steps;
  constexpr std::uint64_t kActivation = 255;
  return std::min(spec.group_width(), spec.cols) <=
         static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max()) /
             (weight * kActivation);
}

Status check_spec(const PackedMatrixSpec& spec) {
  const auto unsupported = [](const std::string& what) {
    return Error{Error::Kind::kUnsupported, "packed matrix: " + what};
  };
  const QuantArgs& args = spec.args;
  if (args.type != CodeType::kInt || (args.num_bits != 4 && args.num_bits != 8)) {
    return unsupported("expected integer codes of 4 or 8 bits, got " +
                       scheme_name(Scheme{args, std::nullopt}));
  }
  if (args.strategy != Strategy::kChannel && args.strategy != Strategy::kGroup) {
    return unsupported("expected a scale per channel or group, got per " +
                       std::string(strategy_name(args.strategy)));
  }
  if (args.strategy == Strategy::kGroup && args.group_size == 0) {
    return unsupported("expected a group size of at least 1, got 0");
  }
  if (!is_float_weight_dtype(spec.scale_dtype)) {
    return unsupported("expected scales in F32, F16 or BF16, got " +
                       std::string(dtype_name(spec.scale_dtype)));
  }
  // 2^24 x 2^24 is far above any model and far below what overflows a size.
  constexpr std::size_t kMaxAxis = std::size_t{1} << 24;
  if (spec.rows > kMaxAxis || spec.cols > kMaxAxis) {
    return unsupported("expected at most 16777216 rows and columns, got " +
                       shape_text({spec.rows, spec.cols}));
  }
  if (!sums_fit_int32(spec)) {
    return unsupported("a sum over " + std::to_string(std::min(spec.group_width(), spec.cols)) +
                       " inputs of " + std::to_string(args.num_bits) +
                       "-bit weights may not fit 32 bits; use smaller groups");
  }
  return {};
}

bool representable(float value, DType dtype) {
  if (dtype == DType::kF16) return f16_to_f32(f32_to_f16(value)) == value;
  if (dtype == DType::kBF16) return bf16_to_f32(f32_to_bf16(value)) == value;
  return true;
}

Status check_row(const PackedMatrixSpec& spec, std::size_t row, const PackedMatrixRow& values) {
  const auto bad = [row](const std::string& what, std::size_t index, const std::string& expected,
                         const std::string& got) {
    return Error{Error::Kind::kFormat, "row " + std::to_string(row) + ", " + what + " " +
                                           std::to_string(index) + ": expected " + expected +
                                           ", got " + got};
  };
  const std::int32_t lowest = lowest_code(spec.args.num_bits);
  const std::int32_t highest = highest_code(spec.args.num_bits);
  const std::string range = std::to_string(lowest) + " to " + std::to_string(highest);
  for (std::size_t g = 0; g < values.scales.size(); ++g) {
    if (!std::isfinite(values.scales[g])) {
      return bad("scale of group", g, "a finite number", std::to_string(values.scales[g]));
    }
    if (!representable(values.scales[g], spec.scale_dtype)) {
      return bad("scale of group", g, "a " + std::string(dtype_name(spec.scale_dtype)) + " number",
                 std::to_string(values.scales[g]));
    }
  }
  for (std::size_t g = 0; g < values.zero_points.size(); ++g) {
    const std::int32_t zero = values.zero_points[g];
    if (zero < lowest || zero > highest) {
      return bad("zero point of group", g, range, std::to_string(zero));
    }
  }
  if (spec.args.num_bits == 8) return {};
  for (std::size_t k = 0; k < values.codes.size(); ++k) {
    const std::int32_t code = values.codes[k];
    if (code < lowest || code > highest) return bad("code", k, range, std::to_string(code));
  }
  return {};
}

// The error of the first row that has one, whichever thread meets it.
class FirstError {
 public:
  void report(std::size_t row, const Error& error) {
    const std::lock_guard lock(mutex_);
    if (!error_ || row < row_) {
      row_ = row;
      error_ = error;
    }
  }
  [[nodiscard]] const std::optional<Error>& get() const { return error_; }

 private:
  std::mutex mutex_;
  std::size_t row_ = 0;
  std::optional<Error> error_;
};

}  // namespace

std::size_t PackedMatrixSpec::group_width() const {
  return args.strategy == Strategy::kGroup ? args.group_size : std::max<std::size_t>(cols, 1);
}

std::size_t PackedMatrixSpec::groups() const {
  return kernels::ceil_div(cols, group_width());
}

std::uint64_t PackedMatrix::packed_bytes(const PackedMatrixSpec& spec) {
  return kernels::packed_bytes(packed_shape(spec));
}

Result<PackedMatrix> PackedMatrix::pack(const PackedMatrixSpec& spec, const PackedRowSource& source,
                                        ThreadPool& pool, HugePageArena* arena) {
  FPTQ_TRY_VOID(check_spec(spec));
  const kernels::PackedShape shape = packed_shape(spec);
  FPTQ_TRY(const std::shared_ptr<std::byte> bytes,
           allocate_aligned(kernels::packed_bytes(shape), arena));
  const kernels::PackedStorage storage{shape, reinterpret_cast<std::uint8_t*>(bytes.get())};

  FirstError first_error;
  pool.parallel_for(kernels::block_count(spec.rows), 1, [&](std::size_t begin, std::size_t end) {
    std::vector<std::int8_t> codes(spec.cols);
    std::vector<float> scales(spec.groups());
    std::vector<std::int8_t> zero_points(spec.args.symmetric ? 0 : spec.groups());
    const PackedMatrixRow row_buffer{codes, scales, zero_points};
    const std::size_t last_row = std::min(end * kernels::kBlockRows, spec.rows);
    for (std::size_t row = begin * kernels::kBlockRows; row < last_row; ++row) {
      Status status = source(row, row_buffer);
      if (status) status = check_row(spec, row, row_buffer);
      if (!status) return first_error.report(row, status.error());
      kernels::pack_row(
          storage, row,
          {codes.data(), scales.data(), zero_points.empty() ? nullptr : zero_points.data()});
    }
  });
  if (first_error.get()) return *first_error.get();
  kernels::pack_padding(storage);

  PackedMatrix matrix;
  matrix.spec_ = spec;
  matrix.bytes_ = bytes;
  matrix.view_ = kernels::packed_weights(shape, storage.bytes);
  return matrix;
}

Result<PackedMatrix> PackedMatrix::pack(const QuantizedMatrix& matrix, ThreadPool& pool) {
  const PackedMatrixSpec spec{matrix.rows, matrix.cols, matrix.args, matrix.scale_dtype};
  const std::size_t groups = spec.groups();
  return pack(
      spec,
      [&](std::size_t row, const PackedMatrixRow& out) -> Status {
        std::copy_n(&matrix.codes[row * spec.cols], spec.cols, out.codes.begin());
        std::copy_n(&matrix.scales[row * groups], groups, out.scales.begin());
        if (!out.zero_points.empty()) {
          std::copy_n(&matrix.zero_points[row * groups], groups, out.zero_points.begin());
        }
        return {};
      },
      pool);
}

Grid PackedMatrix::grid(std::size_t row, std::size_t group) const {
  FPTQ_CHECK(row < rows() && group < groups(), "row or group outside the matrix");
  return Grid{kernels::unpack_scale(view_, row, group),
              kernels::unpack_zero(view_, spec_.args.num_bits, row, group)};
}

void PackedMatrix::read_codes(std::size_t row, std::span<std::int8_t> codes) const {
  FPTQ_CHECK(row < rows() && codes.size() == cols(), "a row of codes is [cols]");
  kernels::unpack_row(view_, spec_.args.num_bits, row, codes.data());
}

void PackedMatrix::read_row(std::size_t row, std::span<float> values) const {
  FPTQ_CHECK(row < rows() && values.size() == cols(), "a row of values is [cols]");
  kernels::dequantize_row(view_, spec_.args.num_bits, row, values.data());
}

QuantizedMatrix PackedMatrix::unpack() const {
  QuantizedMatrix matrix{rows(), cols(), spec_.args, spec_.scale_dtype, {}, {}, {}};
  matrix.codes.resize(rows() * cols());
  matrix.scales.resize(rows() * groups());
  if (!spec_.args.symmetric) matrix.zero_points.resize(rows() * groups());
  for (std::size_t row = 0; row < rows(); ++row) {
    read_codes(row, std::span(matrix.codes).subspan(row * cols(), cols()));
    for (std::size_t g = 0; g < groups(); ++g) {
      const Grid group_grid = grid(row, g);
      matrix.scales[row * groups() + g] = group_grid.scale;
      if (!spec_.args.symmetric) {
        matrix.zero_points[row * groups() + g] = static_cast<std::int8_t>(group_grid.zero_point);
      }
    }
  }
  return matrix;
}

}  // namespace fptq
