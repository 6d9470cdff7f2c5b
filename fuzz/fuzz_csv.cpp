// Hostile tables: whatever is accepted, written with every field in quotes, is read back the same.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/csv.h"

namespace {

std::string in_quotes(const std::string& field) {
  std::string text = "\"";
  for (const char c : field) {
    if (c == '"') text += '"';
    text += c;
  }
  return text + "\"";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto records = fptq::parse_csv(text, "fuzz");
  if (!records) return 0;
  std::string printed;
  for (const fptq::CsvRecord& record : *records) {
    FPTQ_CHECK(!record.fields.empty() && record.line >= 1, "a record has a field and a place");
    for (std::size_t i = 0; i < record.fields.size(); ++i) {
      printed += (i > 0 ? "," : "") + in_quotes(record.fields[i]);
    }
    printed += '\n';
  }
  const auto again = fptq::parse_csv(printed, "printed");
  FPTQ_CHECK(bool(again), "a printed table is a table");
  FPTQ_CHECK(again->size() == records->size(), "printing keeps every record");
  for (std::size_t i = 0; i < records->size(); ++i) {
    FPTQ_CHECK((*again)[i].fields == (*records)[i].fields, "printing keeps every field");
  }
  return 0;
}
