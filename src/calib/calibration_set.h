// The token sequences that quantization measures activations on.

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "model/llama_model.h"
#include "text/special_tokens.h"
#include "text/tokenizer.h"

namespace fptq::calib {

struct CalibrationOptions {
  std::size_t sequences = 128;            // >= 1
  std::size_t tokens_per_sequence = 512;  // >= 2, BOS included; more than the context is clamped
  std::uint64_t seed = 0;
  // Of sequences that the model draws: sequence i goes on from beginnings[i % size], tokens as in a
  // sequence, BOS included. Empty: from BOS. Each shorter than a sequence.
  std::vector<std::vector<std::int32_t>> beginnings = {};
};

// What a calibration file holds.
//   kFromExtension  kJsonl for .jsonl and .ndjson, else kText
//   kText           one text, UTF-8
//   kJsonl          a JSON object with a string "text" per line, each a document
enum class TextFormat : std::uint8_t { kFromExtension, kText, kJsonl };

// "" -> kFromExtension, "text", "jsonl". Errors: kInvalidArgument lists the names.
[[nodiscard]] Result<TextFormat> parse_text_format(std::string_view name);

struct CalibrationSet {
  std::vector<std::vector<std::int32_t>> sequences;
  std::string source;  // for the manifest: the file's name, or "self"
  std::string
      sha256;  // of the file's bytes; of the ids as little-endian int32 where source is self
  std::vector<std::string> warnings;

  [[nodiscard]] std::uint64_t tokens() const;
};

// Sequences from a file. Each has tokens_per_sequence tokens: BOS, where the tokenizer adds one,
// and then tokens of the text. tokenizer, special: of the model; context: its positions.
//
// Text: the first `sequences` consecutive windows of the stream of tokens; the seed is not used.
//
// JSONL: documents in an order that the seed shuffles. A document that fills a window gives its
// first one, and its further ones in turn with the other documents' once every document had its
// turn. A shorter one is joined to the next short one, with EOS where the model has one and BOS
// where the tokenizer adds one in between; what does not fit in the window is dropped. Lines that
// are not drawn are not parsed; blank lines and empty texts are skipped.
//
// A text, or a document, is tokenized in pieces of about 1 MiB that end at white space, and only
// as far as it is used: time and memory do not grow with the file, but for reading and hashing it
// once. The first piece has the ids of the whole text's tokenization; a tokenizer that puts a space
// in front of a text does so for later pieces too.
//
// Too little text gives fewer sequences, and at least one, which may be shorter, and a warning.
// Errors: kNotFound, kIo; kInvalidArgument for options out of range; kFormat, each with the place
// and what to do, for a file without text, for one that is not UTF-8 or contains NUL, for a line
// that is not an object with "text", and for less than 2 tokens.
[[nodiscard]] Result<CalibrationSet> calibration_from_file(
    const std::filesystem::path& path, TextFormat format, const text::Tokenizer& tokenizer,
    const text::SpecialTokens& special, std::size_t context, const CalibrationOptions& options);

// Sequences that the model itself draws at temperature 1, so that no data is needed: each begins as
// calibration_from_file()'s do, and every token, the first one included, comes from the model's
// distribution. Where a text ends before the sequence is full, the next one begins behind its EOS,
// after BOS where the tokenizer adds one; the model goes on from all of it. A model
// without a BOS starts from its EOS, else from a token that the seed draws; that one is not part of
// the sequence where the tokenizer adds no BOS.
//
// The same seed gives the same sequences on every machine and for any number of threads, and the
// first n of them whatever `sequences` is. The context is that of the model's configuration.
// progress: in tokens. Errors: kInvalidArgument for options out of range, kLimit where memory does
// not suffice, kInterrupted, and those of the model.
[[nodiscard]] Result<CalibrationSet> calibration_from_model(model::LlamaModel& model,
                                                            const text::Tokenizer& tokenizer,
                                                            const text::SpecialTokens& special,
                                                            const CalibrationOptions& options,
                                                            const ProgressFn& progress = {});

}  // namespace fptq::calib
