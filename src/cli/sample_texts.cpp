#include "cli/sample_texts.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>

#include "cli/model_input.h"
#include "engine/session.h"

namespace fptq::cli {
namespace {

constexpr std::size_t kPromptWords = 12;

constexpr std::array<const char*, 8> kNeutralPrompts = {
    "Once upon a time there was a little", "The weather in the mountains changes quickly, and",
    "To bake a loaf of bread, first",      "The library was quiet except for",
    "She opened the letter and read:",     "Water boils when",
    "On the way to the market he met",     "The most important thing about a bridge is"};

// The first words of a paragraph; nothing where it has not more than those.
std::optional<std::string> beginning(std::string_view paragraph) {
  const std::size_t first = paragraph.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return std::nullopt;
  paragraph.remove_prefix(first);
  std::size_t end = 0;
  for (std::size_t word = 0; word < kPromptWords; ++word) {
    const std::size_t next = paragraph.find_first_not_of(' ', end);
    if (next == std::string_view::npos) return std::nullopt;
    end = paragraph.find(' ', next);
    if (end == std::string_view::npos) return std::nullopt;
  }
  return std::string(paragraph.substr(0, end));
}

std::vector<std::string> beginnings(std::string_view text) {
  std::vector<std::string> found;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (auto prompt = beginning(text.substr(0, end))) found.push_back(std::move(*prompt));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return found;
}

std::size_t common_prefix(std::string_view a, std::string_view b) {
  std::size_t length = static_cast<std::size_t>(
      std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
  // Not inside a character.
  while (length > 0 && length < b.size() &&
         (static_cast<unsigned char>(b[length]) & 0xC0U) == 0x80) {
    --length;
  }
  return length;
}

// What the first token that differs is called.
std::string token_name(const text::Tokenizer& tokenizer, std::int32_t id, const std::string& text) {
  if (text.find_first_not_of(" \t\n") != std::string::npos) {
    return text.substr(text.find_first_not_of(' '));
  }
  if (!tokenizer.is_known(id)) return "token " + std::to_string(id) + ", which has no text";
  if (tokenizer.is_special(id)) return "end of text";
  return text.find('\n') != std::string::npos ? "line break" : "space";
}

// Greedy continuations of all prompts by one model, in a session of its own for each.
Result<std::vector<Continuation>> continuations(const LoadedModel& loaded, const ModelText& text,
                                                const RunOptions& run,
                                                const std::vector<std::string>& prompts,
                                                const ProgressFn& progress) {
  std::vector<Continuation> all;
  for (const std::string& prompt : prompts) {
    engine::GenerationRequest request;
    FPTQ_TRY(request.prompt, text.tokenizer.encode(prompt, /*add_special=*/true));
    request.max_tokens = kSampleTokens;
    request.sampling.temperature = 0.0F;
    request.stop_ids = text.special.stops;
    const std::size_t limit = run.context != 0 ? run.context : loaded.model->config().max_positions;
    const std::size_t capacity = std::min(limit, request.prompt.size() + kSampleTokens);
    FPTQ_TRY(engine::Session session,
             engine::Session::create(*loaded.model, text.tokenizer, capacity, run.kv));
    FPTQ_TRY(engine::Generation generation, session.generate(request, {}, progress));
    all.push_back({std::move(request.prompt), std::move(generation.ids)});
  }
  return all;
}

}  // namespace

std::vector<std::string> sample_prompts(std::string_view text, std::size_t count) {
  std::vector<std::string> all = beginnings(text);
  std::vector<std::string> prompts;
  const std::size_t taken = std::min(count, all.size());
  for (std::size_t i = 0; i < taken; ++i) prompts.push_back(all[i * all.size() / taken]);
  for (const char* prompt : kNeutralPrompts) {
    if (prompts.size() < count) prompts.emplace_back(prompt);
  }
  return prompts;
}

Result<report::ContinuationFigure> compare_continuations(const text::Tokenizer& tokenizer,
                                                         std::span<const std::int32_t> ids,
                                                         std::span<const std::int32_t> reference) {
  report::ContinuationFigure figure;
  figure.tokens = ids.size();
  figure.agreeing = static_cast<std::size_t>(
      std::mismatch(ids.begin(), ids.end(), reference.begin(), reference.end()).first -
      ids.begin());
  figure.differs = figure.agreeing < ids.size() || ids.size() != reference.size();
  const auto decode = [&](std::size_t count) {
    std::vector<std::int32_t> known;
    std::copy_if(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count),
                 std::back_inserter(known),
                 [&](std::int32_t id) { return tokenizer.is_known(id); });
    return tokenizer.decode(known, /*skip_special=*/true);
  };
  FPTQ_TRY(const std::string all, decode(ids.size()));
  // A token may hold a part of a character, so its text is what decoding one token more adds.
  FPTQ_TRY(const std::string before, decode(figure.agreeing));
  const std::size_t begin = common_prefix(before, all);
  figure.same = all.substr(0, begin);
  if (figure.agreeing == ids.size()) return figure;
  FPTQ_TRY(const std::string after, decode(figure.agreeing + 1));
  const std::size_t end = std::max(begin, common_prefix(after, all));
  figure.diverging = all.substr(begin, end - begin);
  figure.rest = all.substr(end);
  figure.diverging_name = token_name(tokenizer, ids[figure.agreeing], figure.diverging);
  return figure;
}

Status add_samples(const std::vector<std::filesystem::path>& models,
                   const std::vector<RunOptions>& runs, const std::vector<std::string>& prompts,
                   const CommonOptions& common, Console& console, report::Comparison& page) {
  std::vector<Continuation> baseline;
  for (std::size_t i = 0; i < models.size(); ++i) {
    FPTQ_TRY(const LoadedModel loaded, load_model(models[i], common, runs[i], console));
    FPTQ_TRY(const ModelText text, load_text(loaded));
    FPTQ_TRY(std::vector<Continuation> own,
             continuations(loaded, text, runs[i], prompts, console.progress()));
    if (i == 0) baseline = own;
    std::vector<report::ContinuationFigure> figures;
    for (std::size_t p = 0; p < prompts.size(); ++p) {
      if (own[p].prompt != baseline[p].prompt) {
        return Error{Error::Kind::kFormat,
                     models[i].string() +
                         ": sample texts: expected the tokens that the baseline "
                         "makes of a prompt, got others. Do the models have the "
                         "same tokenizer?"};
      }
      FPTQ_TRY(report::ContinuationFigure figure,
               compare_continuations(text.tokenizer, own[p].ids, baseline[p].ids));
      figures.push_back(std::move(figure));
    }
    page.models[i].continuations = std::move(figures);
  }
  page.prompts = prompts;
  return {};
}

}  // namespace fptq::cli
