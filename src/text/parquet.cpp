#include "text/parquet.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "text/bridge_call.h"

namespace fptq::text {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 20;

struct CloseFile {
  void operator()(FptqParquet* file) const { fptq_parquet_free(file); }
};

}  // namespace

struct ParquetReader::Impl {
  std::unique_ptr<FptqParquet, CloseFile> file;
  std::string where;
};

ParquetReader::ParquetReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ParquetReader::ParquetReader(ParquetReader&&) noexcept = default;
ParquetReader& ParquetReader::operator=(ParquetReader&&) noexcept = default;
ParquetReader::~ParquetReader() = default;

Result<ParquetReader> ParquetReader::open(const std::filesystem::path& path) {
  const std::string name = path.string();
  FptqParquet* file = nullptr;
  BridgeBytes error;
  if (!fptq_parquet_open(bridge_data(name), name.size(), &file, error.out())) {
    return Error{Error::Kind::kFormat, name + ": " + error.str()};
  }
  auto impl = std::make_unique<Impl>();
  impl->file.reset(file);
  impl->where = name;
  return ParquetReader(std::move(impl));
}

std::uint64_t ParquetReader::row_count() const {
  return fptq_parquet_row_count(impl_->file.get());
}

Result<std::string> ParquetReader::read_lines() {
  BridgeBytes lines;
  BridgeBytes error;
  if (!fptq_parquet_read(impl_->file.get(), kChunkBytes, lines.out(), error.out())) {
    return Error{Error::Kind::kFormat, impl_->where + ": " + error.str()};
  }
  return lines.str();
}

Status read_parquet_rows(const std::filesystem::path& path,
                         const std::function<Status(Json row)>& use) {
  FPTQ_TRY(ParquetReader reader, ParquetReader::open(path));
  std::size_t row = 0;
  for (;;) {
    FPTQ_TRY(const std::string lines, reader.read_lines());
    if (lines.empty()) return {};
    std::string_view rest = lines;
    while (!rest.empty()) {
      const std::size_t end = rest.find('\n');
      FPTQ_TRY(Json json,
               parse_json(rest.substr(0, end), path.string() + ": row " + std::to_string(row)));
      FPTQ_TRY_VOID(use(std::move(json)));
      rest.remove_prefix(end + 1);
      ++row;
    }
  }
}

}  // namespace fptq::text
