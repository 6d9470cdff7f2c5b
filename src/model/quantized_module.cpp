#include "model/quantized_module.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace fptq::model {
namespace {

constexpr std::array<DType, 3> kFloatTypes = {DType::kF32, DType::kF16, DType::kBF16};

template <typename T>
T load(std::span<const std::byte> bytes, std::size_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

std::size_t words_for(std::size_t codes, int num_bits) {
  const auto per_word = static_cast<std::size_t>(32 / num_bits);
  return (codes + per_word - 1) / per_word;
}

// Code `index` of words that hold code + 2^(bits-1), element 0 in the low bits.
std::int8_t code_in_word(std::uint32_t word, std::size_t index, int num_bits) {
  const auto shift = static_cast<unsigned>(index) * static_cast<unsigned>(num_bits);
  const auto mask = (1u << num_bits) - 1u;
  return static_cast<std::int8_t>(static_cast<std::int32_t>((word >> shift) & mask) +
                                  lowest_code(num_bits));
}

// The packed form knows channels and groups; one scale for a whole tensor is a scale per channel
// that is the same everywhere.
QuantArgs packed_args(const QuantArgs& stored, std::size_t cols) {
  QuantArgs args = without_blocks(stored, cols);
  if (args.strategy == Strategy::kTensor) args.strategy = Strategy::kChannel;
  return args;
}

// Scales or 8-bit zero points by row and group: [N, G], [N] for one group, [1] for the tensor.
struct GroupIndex {
  std::size_t groups;
  bool single;

  [[nodiscard]] std::size_t operator()(std::size_t row, std::size_t group) const {
    return single ? 0 : row * groups + group;
  }
};

class ModuleReader {
 public:
  ModuleReader(TensorReader& reader, const std::string& module, std::size_t rows, std::size_t cols,
               const ModuleQuantization& quantization)
      : reader_(reader),
        module_(module),
        storage_(quantization.storage),
        scheme_(quantization.scheme),
        spec_{rows, cols, packed_args(*quantization.scheme.weights, cols), DType::kF32} {
    index_ = {spec_.groups(), scheme_.weights->strategy == Strategy::kTensor};
  }

  Result<QuantizedModule> read() {
    FPTQ_TRY_VOID(read_codes_tensor());
    FPTQ_TRY_VOID(read_scales());
    FPTQ_TRY_VOID(read_zero_points());
    QuantizedModule module;
    module.activations = scheme_.activations;
    if (scheme_.activations && !scheme_.activations->dynamic) {
      FPTQ_TRY(module.static_grid, read_static_grid());
    }
    Result<PackedMatrix> packed = PackedMatrix::pack(
        spec_, [this](std::size_t row, const PackedMatrixRow& out) { return write_row(row, out); },
        reader_.pool(), &reader_.arena());
    if (!packed) return with_context(packed.error(), reader_.where(codes_name_));
    module.weight = *std::move(packed);
    reader_.checkpoint().release(codes_name_);
    return module;
  }

 private:
  [[nodiscard]] std::string name(const char* suffix) const { return module_ + suffix; }

  // Shapes that one value per row and group may have.
  [[nodiscard]] std::vector<Shape> group_shapes() const {
    if (index_.single) return {{1}, {}, {1, 1}};
    std::vector<Shape> shapes = {{spec_.rows, spec_.groups()}};
    if (spec_.groups() == 1) shapes.push_back({spec_.rows});
    return shapes;
  }

  Status read_codes_tensor() {
    if (storage_ == QuantStorage::kPacked) {
      codes_name_ = name(".weight_packed");
      constexpr std::array<DType, 1> kTypes = {DType::kI32};
      FPTQ_TRY(codes_,
               reader_.read(codes_name_, {spec_.rows, words_for(spec_.cols, spec_.args.num_bits)},
                            kTypes));
      return check_weight_shape();
    }
    codes_name_ = name(".weight");
    constexpr std::array<DType, 1> kInt8Type = {DType::kI8};
    const bool rounded = storage_ == QuantStorage::kInt8;
    FPTQ_TRY(codes_, reader_.read(codes_name_, {spec_.rows, spec_.cols},
                                  rounded ? std::span<const DType>(kInt8Type) : kFloatTypes));
    return rounded ? Status() : reader_.check_finite(codes_name_, codes_);
  }

  // X.weight_shape repeats what config.json says; older writers leave it out.
  Status check_weight_shape() {
    const std::string shape_name = name(".weight_shape");
    if (!reader_.has(shape_name)) return {};
    constexpr std::array<DType, 2> kTypes = {DType::kI64, DType::kI32};
    FPTQ_TRY(const Tensor tensor, reader_.read(shape_name, {2}, kTypes));
    std::array<std::int64_t, 2> stored{};
    for (std::size_t i = 0; i < 2; ++i) {
      stored[i] = tensor.dtype() == DType::kI64 ? load<std::int64_t>(tensor.bytes(), i)
                                                : load<std::int32_t>(tensor.bytes(), i);
    }
    if (stored[0] == static_cast<std::int64_t>(spec_.rows) &&
        stored[1] == static_cast<std::int64_t>(spec_.cols)) {
      return {};
    }
    return Error{Error::Kind::kFormat, reader_.where(shape_name) + ": expected " +
                                           shape_text({spec_.rows, spec_.cols}) +
                                           " from config.json, got [" + std::to_string(stored[0]) +
                                           ", " + std::to_string(stored[1]) + "]"};
  }

  Status read_scales() {
    const std::vector<Shape> shapes = group_shapes();
    FPTQ_TRY(const Tensor scales, reader_.read_any(name(".weight_scale"), shapes, kFloatTypes));
    spec_.scale_dtype = scales.dtype();
    scales_ = scales.to_f32();
    return {};
  }

  Status read_zero_points() {
    const std::string zero_name = name(".weight_zero_point");
    if (spec_.args.symmetric && !reader_.has(zero_name)) return {};
    const int bits = spec_.args.num_bits;
    std::vector<Shape> shapes = group_shapes();
    constexpr std::array<DType, 2> kTypes = {DType::kI8, DType::kI32};
    const Shape packed_shape = {words_for(spec_.rows, bits), spec_.groups()};
    if (storage_ == QuantStorage::kPacked) shapes.insert(shapes.begin(), packed_shape);
    FPTQ_TRY(const Tensor tensor, reader_.read_any(zero_name, shapes, kTypes));
    const bool packed = tensor.dtype() == DType::kI32;
    const bool fits =
        packed ? storage_ == QuantStorage::kPacked && tensor.shape() == packed_shape
               : element_count(tensor.shape()) == (index_.single ? 1 : spec_.rows * spec_.groups());
    if (!fits) {
      return Error{Error::Kind::kFormat, reader_.where(zero_name) + ": expected " +
                                             (packed ? "I8" : "I32") + " in this shape, got " +
                                             (packed ? "I32" : "I8")};
    }
    zero_points_.resize(spec_.rows * spec_.groups());
    for (std::size_t row = 0; row < spec_.rows; ++row) {
      for (std::size_t group = 0; group < spec_.groups(); ++group) {
        std::int8_t& zero = zero_points_[row * spec_.groups() + group];
        zero = packed ? packed_zero_point(tensor, row, group)
                      : load<std::int8_t>(tensor.bytes(), index_(row, group));
        if (spec_.args.symmetric && zero != 0) return nonzero_zero_point(zero_name, row, zero);
      }
    }
    if (spec_.args.symmetric) zero_points_.clear();
    return {};
  }

  // Zero points are packed along rows: row n is code n % 8 (4 bits) of word [n / 8, group].
  [[nodiscard]] std::int8_t packed_zero_point(const Tensor& tensor, std::size_t row,
                                              std::size_t group) const {
    const int bits = spec_.args.num_bits;
    const auto per_word = static_cast<std::size_t>(32 / bits);
    const auto word = load<std::uint32_t>(tensor.bytes(), row / per_word * spec_.groups() + group);
    return code_in_word(word, row % per_word, bits);
  }

  [[nodiscard]] Error nonzero_zero_point(const std::string& zero_name, std::size_t row,
                                         int zero) const {
    return Error{Error::Kind::kFormat, reader_.where(zero_name) + ": row " + std::to_string(row) +
                                           ": expected 0 for a symmetric scheme, got " +
                                           std::to_string(zero)};
  }

  Result<std::optional<Grid>> read_static_grid() {
    const std::array<Shape, 3> shapes = {Shape{1}, Shape{}, Shape{1, 1}};
    FPTQ_TRY(const Tensor scale, reader_.read_any(name(".input_scale"), shapes, kFloatTypes));
    Grid grid{0.0f, 0};
    scale.read_f32(0, 1, &grid.scale);
    const std::string zero_name = name(".input_zero_point");
    if (reader_.has(zero_name) || !scheme_.activations->symmetric) {
      constexpr std::array<DType, 1> kTypes = {DType::kI8};
      FPTQ_TRY(const Tensor zero, reader_.read_any(zero_name, shapes, kTypes));
      grid.zero_point = load<std::int8_t>(zero.bytes(), 0);
    }
    return std::optional<Grid>(grid);
  }

  Status write_row(std::size_t row, const PackedMatrixRow& out) const {
    for (std::size_t g = 0; g < out.scales.size(); ++g) out.scales[g] = scales_[index_(row, g)];
    for (std::size_t g = 0; g < out.zero_points.size(); ++g) {
      out.zero_points[g] = zero_points_[row * spec_.groups() + g];
    }
    switch (storage_) {
      case QuantStorage::kPacked:
        unpack_row(row, out.codes);
        break;
      case QuantStorage::kInt8:
        std::memcpy(out.codes.data(), codes_.bytes().data() + row * spec_.cols, spec_.cols);
        break;
      case QuantStorage::kFloat:
        round_row(row, out);
        break;
    }
    return {};
  }

  void unpack_row(std::size_t row, std::span<std::int8_t> codes) const {
    const int bits = spec_.args.num_bits;
    const auto per_word = static_cast<std::size_t>(32 / bits);
    const std::size_t first_word = row * words_for(spec_.cols, bits);
    for (std::size_t k = 0; k < codes.size(); k += per_word) {
      const auto word = load<std::uint32_t>(codes_.bytes(), first_word + k / per_word);
      const std::size_t count = std::min(per_word, codes.size() - k);
      for (std::size_t i = 0; i < count; ++i) codes[k + i] = code_in_word(word, i, bits);
    }
  }

  void round_row(std::size_t row, const PackedMatrixRow& out) const {
    std::vector<float> values(spec_.cols);
    codes_.read_f32(row * spec_.cols, spec_.cols, values.data());
    for (std::size_t k = 0; k < values.size(); ++k) {
      const std::size_t group = k / spec_.group_width();
      const Grid grid{out.scales[group],
                      out.zero_points.empty() ? 0 : std::int32_t{out.zero_points[group]}};
      // Every code of a scale of 0 stands for 0. Scales that are not finite are refused later.
      const bool divides = std::isfinite(grid.scale) && grid.scale != 0.0f;
      out.codes[k] = static_cast<std::int8_t>(
          divides ? quantize_value(values[k], grid, spec_.args.num_bits) : grid.zero_point);
    }
  }

  TensorReader& reader_;
  std::string module_;
  QuantStorage storage_;
  Scheme scheme_;
  PackedMatrixSpec spec_;
  GroupIndex index_{};
  std::string codes_name_;
  Tensor codes_;
  std::vector<float> scales_;
  std::vector<std::int8_t> zero_points_;  // [N, G]; empty where symmetric
};

}  // namespace

std::uint64_t packed_module_bytes(const TensorReader& reader, const std::string& module,
                                  std::size_t rows, std::size_t cols,
                                  const ModuleQuantization& quantization) {
  const io::TensorInfo* scales = reader.checkpoint().find(module + ".weight_scale");
  const bool usable = scales != nullptr && is_float_weight_dtype(scales->dtype);
  return PackedMatrix::packed_bytes({rows, cols, packed_args(*quantization.scheme.weights, cols),
                                     usable ? scales->dtype : DType::kF32});
}

Result<QuantizedModule> read_quantized_module(TensorReader& reader, const std::string& module,
                                              std::size_t rows, std::size_t cols,
                                              const ModuleQuantization& quantization) {
  return ModuleReader(reader, module, rows, cols, quantization).read();
}

}  // namespace fptq::model
