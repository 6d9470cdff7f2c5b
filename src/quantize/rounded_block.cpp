#include "quantize/rounded_block.h"

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "algo/rounding.h"
#include "base/check.h"
#include "base/file.h"
#include "base/sha256.h"
#include "io/safetensors_writer.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

constexpr char kReportFile[] = "report.json";
constexpr char kWeightsFile[] = "model.safetensors";

Error damaged(const fs::path& path, const std::string& what) {
  return Error{Error::Kind::kFormat, path.string() + ": expected " + what +
                                         ", got something else. Begin again with --overwrite"};
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
    facts[name] = module.input_scale ? Json(*module.input_scale) : Json(nullptr);
  }
  FPTQ_TRY_VOID(writer.finish());
  FPTQ_CHECK(writer.written_files().size() == 1, "one file holds a block");
  const Json report = {{"sha256", writer.written_files().front().sha256},
                       {"input_scales", std::move(facts)},
                       {"report", block.report}};
  FPTQ_TRY_VOID(write_text_file(output.path() / kReportFile, report.dump() + "\n"));
  return output.commit();
}

Result<SavedBlock> SavedBlock::open(const fs::path& directory) {
  FPTQ_TRY(io::SafetensorsFile file, io::SafetensorsFile::open(directory / kWeightsFile));
  const std::string where = (directory / kReportFile).string();
  FPTQ_TRY(const std::string text, read_text_file(where, std::uint64_t{1} << 28));
  FPTQ_TRY(Json report, parse_json(text, where));
  if (!report.is_object() || !report.contains("input_scales") || !report.contains("sha256") ||
      !report.contains("report") || !report["sha256"].is_string() ||
      !report["input_scales"].is_object()) {
    return damaged(where, "the report of a rounded block");
  }
  return SavedBlock(std::move(file), std::move(report));
}

Status SavedBlock::check() const {
  FPTQ_TRY(const MappedFile bytes, MappedFile::open(file_.path()));
  if (report_["sha256"] == sha256_hex(bytes.bytes())) return {};
  return damaged(file_.path(), "the weights whose hash is in " + std::string(kReportFile));
}

Result<RoundedModule> SavedBlock::module(const std::string& name, std::size_t rows,
                                         std::size_t cols, const QuantArgs& args,
                                         DType scale_dtype) const {
  RoundedModule module{algo::make_quantized_matrix(rows, cols, args, scale_dtype), {}};
  QuantizedMatrix& matrix = module.matrix;
  const auto copy = [&](const std::string& part, DType dtype, const Shape& shape,
                        auto& values) -> Status {
    const io::SafetensorsEntry* entry = file_.header().find(name + part);
    if (entry == nullptr || entry->dtype != dtype || entry->shape != shape) {
      return Error{Error::Kind::kFormat,
                   file_.path().string() + ": tensor \"" + name + part + "\": expected " +
                       shape_text(shape) + " of type " + std::string(dtype_name(dtype)) + ", got " +
                       (entry == nullptr ? "none" : shape_text(entry->shape)) +
                       ". Begin again with --overwrite"};
    }
    const Tensor tensor = file_.read(*entry);
    std::memcpy(values.data(), tensor.bytes().data(), tensor.bytes().size());
    return {};
  };
  const Shape grids = {rows, matrix.groups()};
  FPTQ_TRY_VOID(copy(".codes", DType::kI8, {rows, cols}, matrix.codes));
  FPTQ_TRY_VOID(copy(".scales", DType::kF32, grids, matrix.scales));
  if (!args.symmetric) FPTQ_TRY_VOID(copy(".zero_points", DType::kI8, grids, matrix.zero_points));
  const auto scale = report_["input_scales"].find(name);
  if (scale == report_["input_scales"].end() || !(scale->is_null() || scale->is_number())) {
    return damaged(file_.path().parent_path() / kReportFile, "the input scale of " + name);
  }
  if (scale->is_number()) module.input_scale = scale->get<float>();
  return module;
}

}  // namespace fptq::quantize
