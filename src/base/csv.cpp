#include "base/csv.h"

#include <utility>

namespace fptq {
namespace {

class CsvReader {
 public:
  CsvReader(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  Result<std::vector<CsvRecord>> read() {
    std::vector<CsvRecord> records;
    while (at_ < text_.size()) {
      CsvRecord record{{}, line_};
      do {
        FPTQ_TRY(std::string field, begins_quote() ? quoted() : plain());
        record.fields.push_back(std::move(field));
      } while (take(','));
      end_line();
      const bool blank = record.fields.size() == 1 && record.fields.front().empty();
      if (!blank) records.push_back(std::move(record));
    }
    return records;
  }

 private:
  [[nodiscard]] bool begins_quote() const { return at_ < text_.size() && text_[at_] == '"'; }

  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void end_line() {
    take('\r');
    if (take('\n')) ++line_;
  }

  Result<std::string> plain() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\n') ++at_;
    std::size_t end = at_;
    const bool ends_line = at_ == text_.size() || text_[at_] == '\n';
    if (ends_line && end > begin && text_[end - 1] == '\r') --end;
    return std::string(text_.substr(begin, end - begin));
  }

  Result<std::string> quoted() {
    const std::size_t first_line = line_;
    std::string field;
    ++at_;
    for (;;) {
      if (at_ >= text_.size()) {
        return error(first_line, "expected a quote that closes the field, got the end of the file");
      }
      const char c = text_[at_++];
      if (c == '"' && !take('"')) break;
      if (c == '\n') ++line_;
      field += c;
    }
    const bool ends = at_ == text_.size() || text_[at_] == ',' || text_[at_] == '\n' ||
                      text_.substr(at_).starts_with("\r\n");
    if (!ends) return error(line_, "expected a comma behind a field in quotes, got more text");
    return field;
  }

  [[nodiscard]] Error error(std::size_t line, const std::string& message) const {
    return Error{Error::Kind::kFormat, where_ + ": line " + std::to_string(line) + ": " + message};
  }

  std::string_view text_;
  const std::string& where_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
};

}  // namespace

Result<std::vector<CsvRecord>> parse_csv(std::string_view text, const std::string& where) {
  return CsvReader(text, where).read();
}

}  // namespace fptq
