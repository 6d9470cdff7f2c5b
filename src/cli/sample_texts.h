// The same prompts continued by several models.

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/console.h"
#include "cli/options.h"
#include "report/comparison.h"
#include "text/tokenizer.h"

namespace fptq::cli {

inline constexpr std::size_t kSampleTokens = 48;  // of a continuation, at most

// `count` beginnings of paragraphs of `text`, at even distances, each of the first words of a
// paragraph (a line) that has more than those. Where the text has not as many, neutral prompts of
// this program follow, each once: there are 8 of them, and so there may be fewer than `count`.
[[nodiscard]] std::vector<std::string> sample_prompts(std::string_view text, std::size_t count);

// A prompt and a model's greedy continuation of it.
struct Continuation {
  std::vector<std::int32_t> prompt;
  std::vector<std::int32_t> ids;  // an end-of-text token included
};

// Where a continuation leaves the baseline's, with the texts before and behind. Ids that the
// tokenizer does not know, of rows that fill an embedding up, have no text.
//   ids        the model's
//   reference  the baseline's
// Errors: those of decoding.
[[nodiscard]] Result<report::ContinuationFigure> compare_continuations(
    const text::Tokenizer& tokenizer, std::span<const std::int32_t> ids,
    std::span<const std::int32_t> reference);

// Loads each model in turn, continues `prompts` greedily by kSampleTokens tokens, and adds the
// texts to the model of `page` beside it, and the prompts to the page.
//
//   models  as many as there are in `page`, the baseline first
//   runs    how each of them runs
//
// Errors: those of loading and generating; kFormat where a candidate's tokenizer makes other ids
// of a prompt than the baseline's.
[[nodiscard]] Status add_samples(const std::vector<std::filesystem::path>& models,
                                 const std::vector<RunOptions>& runs,
                                 const std::vector<std::string>& prompts,
                                 const CommonOptions& common, Console& console,
                                 report::Comparison& page);

}  // namespace fptq::cli
