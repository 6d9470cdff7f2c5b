#include "model/table_module.h"

#include <array>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "numeric/code_table.h"

namespace fptq::model {
namespace {

constexpr std::array<CodeType, 2> kTypes = {CodeType::kNf4, CodeType::kFp4};
// Tables that other versions computed may differ in their last bits.
constexpr float kTableTolerance = 1e-6f;

std::string state_name(const std::string& module, CodeType type) {
  return module + ".weight.quant_state.bitsandbytes__" + std::string(code_type_name(type));
}

std::string_view text_of(const Tensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.bytes().data()), tensor.bytes().size()};
}

// Reads the tensors of one module.
class TableReader {
 public:
  TableReader(TensorReader& reader, const std::string& module, std::size_t rows, std::size_t cols)
      : reader_(reader), module_(module), shape_{rows, cols} {}

  Result<TableMatrix> read() {
    const std::string state_tensor = find_table_state(reader_.checkpoint(), module_)->name;
    FPTQ_TRY(state_, read_table_state(reader_.checkpoint(), module_));
    reader_.use(state_tensor);
    if (state_.shape != shape_) {
      return Error{Error::Kind::kFormat, reader_.where(state_tensor) + ": shape: expected " +
                                             shape_text(shape_) + " from config.json, got " +
                                             shape_text(state_.shape)};
    }
    const std::size_t weights = shape_[0] * shape_[1];
    blocks_ = (weights + state_.weights.group_size - 1) / state_.weights.group_size;
    const std::string codes_name = name("");
    const std::size_t bytes = (weights + 1) / 2;
    const std::array<Shape, 3> shapes = {Shape{bytes, 1}, Shape{bytes}, Shape{1, bytes}};
    constexpr std::array<DType, 1> kBytes = {DType::kU8};
    FPTQ_TRY(Tensor codes, reader_.read_any(codes_name, shapes, kBytes));
    FPTQ_TRY_VOID(check_table());
    FPTQ_TRY(std::vector<float> constants, state_.weights.double_quantized
                                               ? read_nested_constants()
                                               : read_floats(".absmax", blocks_));
    auto matrix = TableMatrix::create(shape_[0], shape_[1], state_.weights, std::move(codes),
                                      std::move(constants));
    if (!matrix) return with_context(matrix.error(), reader_.where(name(".absmax")));
    return matrix;
  }

 private:
  [[nodiscard]] std::string name(const char* suffix) const { return module_ + ".weight" + suffix; }

  Result<std::vector<float>> read_floats(const char* suffix, std::size_t count) {
    constexpr std::array<DType, 1> kFloat = {DType::kF32};
    FPTQ_TRY(const Tensor tensor, reader_.read(name(suffix), {count}, kFloat));
    FPTQ_TRY_VOID(reader_.check_finite(name(suffix), tensor));
    return tensor.to_f32();
  }

  Status check_table() {
    FPTQ_TRY(const std::vector<float> stored, read_floats(".quant_map", kTableEntries));
    const auto table = code_table(state_.weights.type);
    for (std::size_t code = 0; code < kTableEntries; ++code) {
      if (std::abs(stored[code] - table[code]) <= kTableTolerance) continue;
      return Error{Error::Kind::kUnsupported, reader_.where(name(".quant_map")) + ": code " +
                                                  std::to_string(code) + ": expected " +
                                                  std::to_string(table[code]) + " as in every " +
                                                  std::string(code_type_name(state_.weights.type)) +
                                                  " table, got " + std::to_string(stored[code])};
    }
    return {};
  }

  Result<std::vector<float>> read_nested_constants() {
    constexpr std::array<DType, 1> kBytes = {DType::kU8};
    FPTQ_TRY(const Tensor codes, reader_.read(name(".absmax"), {blocks_}, kBytes));
    FPTQ_TRY(const std::vector<float> absmax,
             read_floats(".nested_absmax", (blocks_ + kNestedBlockSize - 1) / kNestedBlockSize));
    FPTQ_TRY(const std::vector<float> map, read_floats(".nested_quant_map", kDynamicMapEntries));
    const std::span<const std::uint8_t> bytes(
        reinterpret_cast<const std::uint8_t*>(codes.bytes().data()), codes.bytes().size());
    return restore_constants(bytes, absmax, std::span(map).first<kDynamicMapEntries>(),
                             state_.nested_offset);
  }

  TensorReader& reader_;
  std::string module_;
  Shape shape_;
  TableState state_;
  std::size_t blocks_ = 0;
};

}  // namespace

const io::TensorInfo* find_table_state(const io::Checkpoint& checkpoint,
                                       const std::string& module) {
  for (const CodeType type : kTypes) {
    const io::TensorInfo* info = checkpoint.find(state_name(module, type));
    if (info != nullptr) return info;
  }
  return nullptr;
}

Result<TableState> read_table_state(const io::Checkpoint& checkpoint, const std::string& module) {
  const io::TensorInfo& info = *find_table_state(checkpoint, module);
  const std::string where = info.file + ": tensor \"" + info.name + "\"";
  if (info.dtype != DType::kU8 || info.shape.size() != 1 || info.shape[0] == 0) {
    return Error{Error::Kind::kFormat, where + ": expected JSON as a row of U8, got " +
                                           std::string(dtype_name(info.dtype)) + " " +
                                           shape_text(info.shape)};
  }
  FPTQ_TRY(const Tensor tensor, checkpoint.read(info.name));
  const CodeType type =
      info.name == state_name(module, CodeType::kNf4) ? CodeType::kNf4 : CodeType::kFp4;
  return parse_table_state(text_of(tensor), type, where);
}

std::uint64_t table_constant_bytes(const io::Checkpoint& checkpoint, const std::string& module) {
  const io::TensorInfo* absmax = checkpoint.find(module + ".weight.absmax");
  if (absmax == nullptr) return 0;
  return std::uint64_t{element_count(absmax->shape).value_or(0)} * sizeof(float);
}

Result<TableMatrix> read_table_module(TensorReader& reader, const std::string& module,
                                      std::size_t rows, std::size_t cols) {
  return TableReader(reader, module, rows, cols).read();
}

}  // namespace fptq::model
