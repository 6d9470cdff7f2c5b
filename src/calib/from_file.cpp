// Calibration from text and JSONL files.

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/sha256.h"
#include "base/utf8.h"
#include "calib/calibration_set.h"
#include "calib/encode_prefix.h"
#include "calib/options.h"
#include "calib/window_packer.h"

namespace fptq::calib {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr const char* kWhatToGive = ". Give a plain text or a JSONL file in UTF-8";

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

Error not_text(const std::string& name, std::size_t offset, unsigned char byte) {
  return Error{Error::Kind::kFormat, name + ": byte " + std::to_string(offset) +
                                         ": expected UTF-8 text, got byte " +
                                         std::to_string(static_cast<unsigned>(byte)) + kWhatToGive};
}

// Reads the file once, in chunks whose memory is given back. Returns its SHA-256.
Result<std::string> check_and_hash(const MappedFile& file, const std::string& name) {
  constexpr std::size_t kChunk = std::size_t{1} << 24;
  const std::string_view text = as_text(file.bytes());
  Sha256 hash;
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = std::min(begin + kChunk, text.size());
    // A chunk ends before a character that goes on behind it; one has 4 bytes at most.
    for (int i = 0; i < 3 && end < text.size() && (text[end] & 0xc0) == 0x80; ++i) --end;
    const std::string_view chunk = text.substr(begin, end - begin);
    std::optional<std::size_t> wrong = invalid_utf8_at(chunk);
    const std::size_t nul = chunk.find('\0');
    if (nul != std::string_view::npos && (!wrong || nul < *wrong)) wrong = nul;
    if (wrong) return not_text(name, begin + *wrong, static_cast<unsigned char>(chunk[*wrong]));
    hash.update(file.bytes().subspan(begin, chunk.size()));
    file.release(file.bytes().subspan(begin, chunk.size()));
    begin = end;
  }
  return hash.finish();
}

Status pack_text(const text::Tokenizer& tokenizer, std::string_view text, WindowPacker& packer) {
  const std::size_t body = packer.body();
  FPTQ_TRY(const std::vector<std::int32_t> ids,
           encode_prefix(tokenizer, text, packer.missing() * body));
  std::size_t begin = 0;
  for (; ids.size() - begin >= body; begin += body) {
    packer.add_window(std::span(ids).subspan(begin, body));
  }
  if (packer.missing() > 0) packer.add_short(std::span(ids).subspan(begin));
  return {};
}

// The lines of a JSONL file that are not blank.
class JsonLines {
 public:
  JsonLines(std::string_view text, const std::string& name) : name_(&name) {
    for (std::size_t number = 1; !text.empty(); ++number) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      if (!is_blank(text.substr(0, end))) lines_.push_back({text.substr(0, end), number});
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }

  [[nodiscard]] std::size_t size() const { return lines_.size(); }

  // The document of line i, not necessarily with any text.
  [[nodiscard]] Result<std::string> text(std::size_t i) const {
    const std::string where = *name_ + ": line " + std::to_string(lines_[i].number);
    FPTQ_TRY(const Json json, parse_json_line(lines_[i].text, *name_, lines_[i].number));
    const auto text = json.is_object() ? json.find("text") : json.end();
    if (!json.is_object() || text == json.end() || !text->is_string()) {
      const std::string got = !json.is_object() ? std::string("not an object")
                              : text == json.end()
                                  ? std::string("one without that key")
                                  : "text of type " + std::string(text->type_name());
      return Error{Error::Kind::kFormat, where +
                                             ": expected an object with a string \"text\", got " +
                                             got + ". JSONL has one such object per line"};
    }
    return text->get<std::string>();
  }

 private:
  struct Line {
    std::string_view text;
    std::size_t number;  // from 1
  };

  const std::string* name_;
  std::vector<Line> lines_;
};

// A document that fills a window.
struct LongDocument {
  std::size_t line;
  std::vector<std::int32_t> ids;  // its first ones
  bool all = false;               // whether ids are all it has

  // Tokenizes more, so that there are `count` ids if the document has them. Returns whether it has.
  // Twice as many as before, so that a document is tokenized a bounded number of times per token.
  Result<bool> extend(const JsonLines& lines, const text::Tokenizer& tokenizer, std::size_t count) {
    if (ids.size() < count && !all) {
      const std::size_t wanted = std::max(count, 2 * ids.size());
      FPTQ_TRY(const std::string text, lines.text(line));
      FPTQ_TRY(ids, encode_prefix(tokenizer, text, wanted));
      all = ids.size() < wanted;
    }
    return ids.size() >= count;
  }
};

Status pack_documents(const text::Tokenizer& tokenizer, const JsonLines& lines, std::uint64_t seed,
                      WindowPacker& packer) {
  std::vector<std::size_t> order(lines.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  Rng rng(seed);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);

  const std::size_t body = packer.body();
  std::vector<LongDocument> long_documents;
  for (std::size_t i = 0; i < order.size() && packer.missing() > 0; ++i) {
    FPTQ_TRY(const std::string text, lines.text(order[i]));
    if (is_blank(text)) continue;
    FPTQ_TRY(std::vector<std::int32_t> ids, encode_prefix(tokenizer, text, body));
    if (ids.size() < body) {
      packer.add_short(ids);
    } else {
      packer.add_window(ids);
      long_documents.push_back({order[i], std::move(ids)});
    }
  }
  for (std::size_t window = 1; packer.missing() > 0 && !long_documents.empty(); ++window) {
    std::vector<LongDocument> longer;
    for (LongDocument& document : long_documents) {
      if (packer.missing() == 0) break;
      FPTQ_TRY(const bool has_it, document.extend(lines, tokenizer, (window + 1) * body));
      if (!has_it) continue;
      packer.add_window(std::span(document.ids).subspan(window * body, body));
      longer.push_back(std::move(document));
    }
    long_documents = std::move(longer);
  }
  return {};
}

}  // namespace

Result<CalibrationSet> calibration_from_file(const std::filesystem::path& path, TextFormat format,
                                             const text::Tokenizer& tokenizer,
                                             const text::SpecialTokens& special,
                                             std::size_t context,
                                             const CalibrationOptions& options) {
  CalibrationSet set;
  FPTQ_TRY(const std::size_t length, usable_length(options, context, set.warnings));
  if (format == TextFormat::kFromExtension) {
    const std::string extension = path.extension().string();
    const bool jsonl = extension == ".jsonl" || extension == ".ndjson";
    format = jsonl ? TextFormat::kJsonl : TextFormat::kText;
  }
  const std::string name = path.string();
  set.source = path.filename().string();
  FPTQ_TRY(const MappedFile file, MappedFile::open(path));
  FPTQ_TRY(set.sha256, check_and_hash(file, name));
  std::string_view text = as_text(file.bytes());
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  if (is_blank(text)) {
    const std::string got = text.empty() ? std::string("an empty file")
                                         : std::to_string(text.size()) + " bytes of white space";
    return Error{Error::Kind::kFormat,
                 name + ": expected text to calibrate on, got " + got + kWhatToGive};
  }

  WindowPacker packer(special, length, options.sequences);
  if (format == TextFormat::kJsonl) {
    FPTQ_TRY_VOID(pack_documents(tokenizer, JsonLines(text, name), options.seed, packer));
  } else {
    FPTQ_TRY_VOID(pack_text(tokenizer, text, packer));
  }
  packer.add_remainder();
  set.sequences = packer.take();
  if (set.sequences.empty()) {
    return Error{Error::Kind::kFormat, name +
                                           ": expected text of at least 2 tokens to calibrate on, "
                                           "got less. Give a longer one"};
  }
  if (set.sequences.size() < options.sequences || set.sequences[0].size() < length) {
    const std::string of = set.sequences[0].size() < length
                               ? " of " + std::to_string(set.sequences[0].size())
                               : std::string();
    set.warnings.push_back(name + ": expected text for " + std::to_string(options.sequences) +
                           " sequences of " + std::to_string(length) + " tokens, got " +
                           std::to_string(set.sequences.size()) + of +
                           ". A longer text calibrates better");
  }
  return set;
}

}  // namespace fptq::calib
