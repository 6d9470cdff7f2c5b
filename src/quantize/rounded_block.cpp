#include "quantize/rounded_block.h"

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "algo/rounding.h"
#include "base/file.h"
#include "io/safetensors_writer.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

constexpr char kReportFile[] = "report.json";
constexpr char kWeightsFile[] = "model.safetensors";

// What belongs to a module, stored beside its codes.
constexpr std::size_t kFacts = 4;  // the error's three numbers and the input scale

std::vector<double> facts_of(const RoundedModule& module) {
  return {module.error.squared_error, module.error.squared_weight, module.error.largest_error,
          static_cast<double>(module.input_scale.value_or(0.0f))};
}

Json facts_json(const RoundedModule& module) {
  Json json = Json::array();
  for (const double fact : facts_of(module)) json.push_back(fact);
  return json;
}

}  // namespace

Status save_block(const RoundedBlock& block, const fs::path& directory) {
  FPTQ_TRY(OutputDirectory output, OutputDirectory::create(directory, /*overwrite=*/true));
  std::vector<io::TensorSpec> specs;
  for (const auto& [name, module] : block.modules) {
    const QuantizedMatrix& matrix = module.matrix;
    specs.push_back({name + ".codes", DType::kI8, {matrix.rows, matrix.cols}});
    specs.push_back({name + ".scales", DType::kF32, {matrix.rows, matrix.groups()}});
    if (!matrix.args.symmetric) {
      specs.push_back({name + ".zero_points", DType::kI8, {matrix.rows, matrix.groups()}});
    }
  }
  io::SafetensorsWriterOptions options;
  options.max_shard_bytes = ~std::uint64_t{0};
  FPTQ_TRY(auto writer, io::SafetensorsWriter::create(output.path(), specs, options));
  Json facts = Json::object();
  for (const auto& [name, module] : block.modules) {
    const QuantizedMatrix& matrix = module.matrix;
    FPTQ_TRY_VOID(writer.write(name + ".codes", std::as_bytes(std::span(matrix.codes))));
    FPTQ_TRY_VOID(writer.write(name + ".scales", std::as_bytes(std::span(matrix.scales))));
    if (!matrix.args.symmetric) {
      FPTQ_TRY_VOID(
          writer.write(name + ".zero_points", std::as_bytes(std::span(matrix.zero_points))));
    }
    facts[name] = facts_json(module);
  }
  FPTQ_TRY_VOID(writer.finish());
  const Json report = {{"modules", std::move(facts)}, {"report", block.report}};
  FPTQ_TRY_VOID(write_text_file(output.path() / kReportFile, report.dump() + "\n"));
  return output.commit();
}

Result<SavedBlock> SavedBlock::open(const fs::path& directory) {
  FPTQ_TRY(io::SafetensorsFile file, io::SafetensorsFile::open(directory / kWeightsFile));
  const std::string where = (directory / kReportFile).string();
  FPTQ_TRY(const std::string text, read_text_file(where, std::uint64_t{1} << 28));
  FPTQ_TRY(Json report, parse_json(text, where));
  if (!report.is_object() || !report.contains("modules") || !report["modules"].is_object()) {
    return Error{Error::Kind::kFormat, where + ": expected the report of a rounded block"};
  }
  return SavedBlock(std::move(file), std::move(report));
}

Result<RoundedModule> SavedBlock::module(const std::string& name, std::size_t rows,
                                         std::size_t cols, const QuantArgs& args,
                                         DType scale_dtype) const {
  RoundedModule module{algo::make_quantized_matrix(rows, cols, args, scale_dtype), {}, {}};
  QuantizedMatrix& matrix = module.matrix;
  const auto copy = [&](const std::string& part, DType dtype, const Shape& shape,
                        auto& values) -> Status {
    const io::SafetensorsEntry* entry = file_.header().find(name + part);
    if (entry == nullptr || entry->dtype != dtype || entry->shape != shape) {
      return Error{Error::Kind::kFormat,
                   file_.path().string() + ": tensor \"" + name + part + "\": expected " +
                       shape_text(shape) + " of type " + std::string(dtype_name(dtype)) + ", got " +
                       (entry == nullptr ? "none" : shape_text(entry->shape)) +
                       ". Begin again without --resume"};
    }
    const Tensor tensor = file_.read(*entry);
    std::memcpy(values.data(), tensor.bytes().data(), tensor.bytes().size());
    return {};
  };
  const Shape grids = {rows, matrix.groups()};
  FPTQ_TRY_VOID(copy(".codes", DType::kI8, {rows, cols}, matrix.codes));
  FPTQ_TRY_VOID(copy(".scales", DType::kF32, grids, matrix.scales));
  if (!args.symmetric) FPTQ_TRY_VOID(copy(".zero_points", DType::kI8, grids, matrix.zero_points));
  const auto facts = report_["modules"].find(name);
  if (facts == report_["modules"].end() || !facts->is_array() || facts->size() != kFacts) {
    return Error{Error::Kind::kFormat, file_.path().string() + ": module \"" + name +
                                           "\": expected its errors in " + kReportFile +
                                           ". Begin again without --resume"};
  }
  module.error = {facts->at(0).get<double>(), facts->at(1).get<double>(),
                  facts->at(2).get<double>()};
  const auto input_scale = facts->at(3).get<float>();
  if (input_scale > 0) module.input_scale = input_scale;
  return module;
}

}  // namespace fptq::quantize
