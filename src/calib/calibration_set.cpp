#include "calib/calibration_set.h"

#include "calib/options.h"

namespace fptq::calib {

Result<TextFormat> parse_text_format(std::string_view name) {
  if (name.empty()) return TextFormat::kFromExtension;
  if (name == "text") return TextFormat::kText;
  if (name == "jsonl") return TextFormat::kJsonl;
  return Error{Error::Kind::kInvalidArgument,
               "calibration format: expected text or jsonl, got \"" + std::string(name) + "\""};
}

std::uint64_t CalibrationSet::tokens() const {
  std::uint64_t sum = 0;
  for (const std::vector<std::int32_t>& sequence : sequences) sum += sequence.size();
  return sum;
}

Result<std::size_t> usable_length(const CalibrationOptions& options, std::size_t context,
                                  std::vector<std::string>& warnings) {
  if (options.sequences == 0) {
    return Error{Error::Kind::kInvalidArgument, "calibration: expected at least 1 sequence, got 0"};
  }
  const std::size_t length = options.tokens_per_sequence;
  if (length < 2) {
    return Error{
        Error::Kind::kInvalidArgument,
        "calibration: expected sequences of at least 2 tokens, got " + std::to_string(length)};
  }
  if (context < 2) {
    return Error{Error::Kind::kInvalidArgument,
                 "calibration: expected a model with a context of at least 2 tokens, got " +
                     std::to_string(context)};
  }
  if (length <= context) return length;
  warnings.push_back("calibration: sequences of " + std::to_string(length) +
                     " tokens are longer than the model's context: shortened to " +
                     std::to_string(context));
  return context;
}

}  // namespace fptq::calib
