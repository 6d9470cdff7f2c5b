// A sentence for each candidate.

#include <cmath>

#include "report/comparison.h"
#include "report/format.h"

namespace fptq::report {
namespace {

// "3.6 times smaller", "1.2 times larger", "as large as the baseline"; nothing where the factor is
// no number. Words are for factors above 1 and below.
std::string times(double factor, const char* more, const char* less, const char* same) {
  if (!std::isfinite(factor) || factor <= 0.0) return "";
  const double above = factor >= 1.0 ? factor : 1.0 / factor;
  if (above < 1.005) return same;
  // Two decimals where one would hide a small factor.
  return fixed(above, above < 1.95 ? 2 : 1) + " times " + (factor > 1.0 ? more : less);
}

void add(std::vector<std::string>& clauses, std::string clause) {
  if (!clause.empty()) clauses.push_back(std::move(clause));
}

std::string cost_clause(const ModelFigures& model, const ModelFigures& baseline) {
  std::vector<std::string> parts;
  if (model.disk_bytes && baseline.disk_bytes && *model.disk_bytes > 0) {
    add(parts,
        times(static_cast<double>(*baseline.disk_bytes) / static_cast<double>(*model.disk_bytes),
              "smaller", "larger", "as large as the baseline"));
  }
  if (model.decode_tok_s && baseline.decode_tok_s && *baseline.decode_tok_s > 0.0) {
    add(parts, times(*model.decode_tok_s / *baseline.decode_tok_s, "faster at decoding",
                     "slower at decoding", "as fast at decoding as the baseline"));
  }
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "is " : " and ") + part;
  return text;
}

// What a test adds to a difference: in its own words, or that there was none.
std::string certainty(const ModelFigures& model, const std::string& measure) {
  const VerdictFigure* verdict = verdict_of(model, measure);
  if (verdict == nullptr) return "";
  return verdict->distinguishable ? " (more than chance)" : " (not distinguishable from chance)";
}

std::string perplexity_clause(const ModelFigures& model, const PerplexityFigure& before,
                              bool named) {
  const PerplexityFigure* after = matching(model, before);
  if (after == nullptr) return "";
  const double change = 100.0 * (after->value / before.value - 1.0);
  const std::string what = named ? "perplexity (" + before.protocol + ")" : "perplexity";
  if (!std::isfinite(change)) return what + " is " + significant(after->value, 4);
  const std::string sure = certainty(model, measure_name(before));
  if (std::abs(change) < 0.005) return what + " stays the same within 0.01 %" + sure;
  return what + (change > 0.0 ? " rises by " : " falls by ") + significant(std::abs(change), 2) +
         " %" + sure;
}

std::string task_clause(const ModelFigures& model, const TaskFigure& before) {
  const TaskFigure* after = matching(model, before);
  if (after == nullptr) return "";
  const VerdictFigure* verdict = verdict_of(model, measure_name(before, false));
  const std::string what = "accuracy on " + before.name;
  if (verdict != nullptr && !verdict->distinguishable) {
    return what + " is not distinguishable from the baseline's";
  }
  const double points = 100.0 * (after->acc - before.acc);
  if (points == 0.0) return what + " is the same";
  return what + (points > 0.0 ? " rises by " : " falls by ") + fixed(std::abs(points), 2) +
         " points" + (verdict == nullptr ? " (not tested)" : " (more than chance)");
}

std::vector<std::string> clauses(const ModelFigures& model, const ModelFigures& baseline) {
  std::vector<std::string> found;
  add(found, cost_clause(model, baseline));
  for (const PerplexityFigure& before : baseline.perplexities) {
    add(found, perplexity_clause(model, before, baseline.perplexities.size() > 1));
  }
  if (model.divergence) {
    const DivergenceFigure& d = *model.divergence;
    add(found, fixed(100.0 * d.top1_agreement, 1) + " % of the most probable tokens agree");
  }
  for (const TaskFigure& before : baseline.tasks) add(found, task_clause(model, before));
  return found;
}

}  // namespace

std::vector<std::string> summary_sentences(const Comparison& comparison) {
  const std::vector<std::string> names = display_names(comparison);
  std::vector<std::string> sentences;
  for (std::size_t i = 1; i < comparison.models.size(); ++i) {
    const ModelFigures& model = comparison.models[i];
    std::string sentence = names[i];
    if (!model.scheme.empty()) sentence += " (" + model.scheme + ")";
    const std::vector<std::string> parts = clauses(model, comparison.models.front());
    if (parts.empty()) {
      sentence += ": nothing was measured that compares with the baseline";
    } else {
      const bool is_sentence = parts.front().starts_with("is ");
      sentence += (is_sentence ? " " : ": ") + parts.front();
      for (std::size_t p = 1; p < parts.size(); ++p) sentence += "; " + parts[p];
    }
    sentences.push_back(sentence + ".");
  }
  return sentences;
}

}  // namespace fptq::report
