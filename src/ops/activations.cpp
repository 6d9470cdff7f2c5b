#include "ops/activations.h"

#include <algorithm>
#include <utility>

#include "kernels/fixed_pack/dispatch.h"
#include "kernels/quantize_activations/dispatch.h"

namespace fptq::ops {
namespace {

constexpr std::size_t kLineBytes = 64;

// Bytes between rows of codes. A multiple of 1 KiB would send the rows of a tile to the same few
// cache sets.
std::size_t code_stride(std::size_t cols) {
  const std::size_t stride = kernels::ceil_div(cols, kLineBytes) * kLineBytes;
  return stride % 1024 == 0 ? stride + kLineBytes : stride;
}

// Memory that starts on a cache line and grows only.
class LineBuffer {
 public:
  std::int8_t* reserve(std::size_t size_bytes) {
    if (bytes_.size() < size_bytes + kLineBytes) bytes_.resize(size_bytes + kLineBytes);
    const auto address = reinterpret_cast<std::uintptr_t>(bytes_.data());
    return bytes_.data() + (kLineBytes - address % kLineBytes) % kLineBytes;
  }

 private:
  std::vector<std::int8_t> bytes_;
};

}  // namespace

struct LinearInput::Form {
  kernels::ActivationGrid grid;
  LineBuffer codes;
  std::int8_t* codes_data = nullptr;  // in `codes`
  std::vector<std::int16_t> pair_sums;
  std::vector<float> scales;
  std::vector<std::int32_t> zero_points;
  kernels::QuantizedActivations view{};
};

LinearInput::LinearInput() = default;
LinearInput::LinearInput(const float* values, std::size_t rows, std::size_t cols)
    : values_(values), rows_(rows), cols_(cols) {}
LinearInput::LinearInput(LinearInput&&) noexcept = default;
LinearInput& LinearInput::operator=(LinearInput&&) noexcept = default;
LinearInput::~LinearInput() = default;

void LinearInput::assign(const float* values, std::size_t rows, std::size_t cols) {
  values_ = values;
  rows_ = rows;
  cols_ = cols;
  valid_forms_ = 0;
  fixed_rows_.reset();
}

LinearInput::Form& LinearInput::add_form(const kernels::ActivationGrid& grid) {
  if (valid_forms_ == forms_.size()) forms_.push_back(std::make_unique<Form>());
  Form& form = *forms_[valid_forms_++];
  const std::size_t stride = code_stride(cols_);
  form.grid = grid;
  form.pair_sums.resize(rows_ * kernels::slab_count(cols_) * 2);
  form.scales.resize(rows_);
  form.zero_points.resize(rows_);
  const bool has_zero_points = !(grid.symmetric && (grid.dynamic || grid.static_zero_point == 0));
  form.codes_data = form.codes.reserve(rows_ * stride);
  form.view = kernels::QuantizedActivations{form.codes_data,
                                            form.pair_sums.data(),
                                            form.scales.data(),
                                            has_zero_points ? form.zero_points.data() : nullptr,
                                            rows_,
                                            stride};
  return form;
}

void LinearInput::quantize_rows(Form& form, Isa isa, const float* x, std::size_t begin,
                                std::size_t end) {
  select_variant(kernels::quantize_activations_variants(), isa)
      .run({.x = x,
            .rows = end - begin,
            .cols = cols_,
            .grid = form.grid,
            .codes = form.codes_data + begin * form.view.stride,
            .stride = form.view.stride,
            .pair_sums = form.pair_sums.data() + begin * kernels::slab_count(cols_) * 2,
            .scales = form.scales.data() + begin,
            .zero_points = form.zero_points.data() + begin});
}

std::size_t LinearInput::row_grain() const {
  // Some 16 K elements are worth waking a thread for.
  return std::max<std::size_t>(1, (std::size_t{1} << 14) / (cols_ + 1));
}

const kernels::QuantizedActivations& LinearInput::quantized(const kernels::ActivationGrid& grid,
                                                            Isa isa, ThreadPool& pool) {
  for (std::size_t i = 0; i < valid_forms_; ++i) {
    if (forms_[i]->grid == grid) return forms_[i]->view;
  }
  FPTQ_CHECK(values_ != nullptr, "the grid on which the rows were quantized");
  Form& form = add_form(grid);
  pool.parallel_for(rows_, row_grain(), [&](std::size_t begin, std::size_t end) {
    quantize_rows(form, isa, values_ + begin * cols_, begin, end);
  });
  return form.view;
}

const LinearInput::FixedRows& LinearInput::fixed_point(Isa isa, ThreadPool& pool) {
  if (fixed_rows_) return *fixed_rows_;
  const std::size_t stride = kernels::fixed_words(cols_);
  fixed_words_.resize(rows_ * stride);
  fixed_scales_.resize(rows_);
  const kernels::FixedPackFn pack = select_variant(kernels::fixed_pack_variants(), isa).run;
  pool.parallel_for(rows_, row_grain(), [&](std::size_t begin, std::size_t end) {
    pack({.x = values_ + begin * cols_,
          .x_stride = cols_,
          .rows = end - begin,
          .cols = cols_,
          .by_columns = false,
          .words = fixed_words_.data() + begin * stride,
          .word_stride = stride,
          .scales = fixed_scales_.data() + begin});
  });
  return fixed_rows_.emplace(FixedRows{fixed_words_.data(), stride, fixed_scales_.data()});
}

void fake_quantize(const float* x, std::size_t rows, std::size_t cols,
                   const kernels::ActivationGrid& grid, Isa isa, ThreadPool& pool, float* out) {
  LinearInput input(x, rows, cols);
  const kernels::QuantizedActivations& quantized = input.quantized(grid, isa, pool);
  pool.parallel_for(rows, 8, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      const std::int8_t* codes = quantized.codes + row * quantized.stride;
      const std::int32_t zero = quantized.zero_points == nullptr ? 0 : quantized.zero_points[row];
      const float scale = quantized.scales[row];
      for (std::size_t col = 0; col < cols; ++col) {
        out[row * cols + col] = static_cast<float>(codes[col] - zero) * scale;
      }
    }
  });
}

}  // namespace fptq::ops
