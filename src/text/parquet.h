// Parquet files, the form in which hubs keep data sets, read row by row.

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace fptq::text {

// Gives a file's rows from front to end.
//
// A row is a JSON object with the columns in the file's order. Structs are objects, lists and
// absent values arrays and null, maps lists of {"key", "value"}. Dates and times are strings
// ("2024-02-29", "2024-02-29T12:00:00.250"), decimal numbers strings, numbers that are not finite
// null.
//
// The file may be hostile: pages, rows and metadata have limits, so memory is bounded.
// Thread safety: none.
class ParquetReader {
 public:
  // Errors: kFormat for a file that is not Parquet, is damaged or exceeds a limit; also where it
  // cannot be opened.
  [[nodiscard]] static Result<ParquetReader> open(const std::filesystem::path& path);

  ParquetReader(ParquetReader&&) noexcept;
  ParquetReader& operator=(ParquetReader&&) noexcept;
  ~ParquetReader();

  // The number of rows that the file's metadata claims.
  [[nodiscard]] std::uint64_t row_count() const;

  // The next rows, a line of JSON each, about a megabyte at a time; empty at the end.
  // Errors: kFormat with row and column, also for columns of bytes that are not UTF-8.
  [[nodiscard]] Result<std::string> read_lines();

 private:
  struct Impl;
  explicit ParquetReader(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

// Calls `use` with each row of the file, in order, and stops at its first error.
// Errors: ParquetReader's, and those of `use`.
[[nodiscard]] Status read_parquet_rows(const std::filesystem::path& path,
                                       const std::function<Status(Json row)>& use);

}  // namespace fptq::text
