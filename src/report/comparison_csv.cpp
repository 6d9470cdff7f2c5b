// A comparison for programs: one line a model.

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <functional>
#include <string>
#include <utility>

#include "base/check.h"
#include "report/comparison.h"
#include "report/format.h"

namespace fptq::report {
namespace {

using Value = std::function<std::string(const ModelFigures& model)>;

struct CsvColumn {
  std::string name;
  Value value;  // empty: not measured
};

// The fewest digits that read back as the same number.
std::string exact(double value) {
  if (!std::isfinite(value)) return fixed(value, 0);
  std::array<char, 40> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

template <typename T>
std::string exact(const std::optional<T>& value) {
  if (!value) return "";
  if constexpr (std::is_integral_v<T>) {
    return std::to_string(*value);
  } else {
    return exact(static_cast<double>(*value));
  }
}

std::string quoted(const std::string& field) {
  if (field.find_first_of(",\"\r\n") == std::string::npos) return field;
  std::string text = "\"";
  for (const char c : field) {
    if (c == '"') text += '"';
    text += c;
  }
  return text + "\"";
}

// What spreadsheets take for a formula gets an apostrophe in front, which they show as text. For
// names only: a number may begin with a sign.
std::string guarded(std::string name) {
  const bool is_formula = !name.empty() && std::string("=+-@").find(name[0]) != std::string::npos;
  return is_formula ? "'" + std::move(name) : name;
}

template <typename T>
CsvColumn member(std::string name, std::optional<T> ModelFigures::*value) {
  return {std::move(name), [value](const ModelFigures& model) { return exact(model.*value); }};
}

template <typename Read>
CsvColumn divergence(std::string name, Read read) {
  return {std::move(name), [read](const ModelFigures& model) {
            return model.divergence ? read(*model.divergence) : std::string();
          }};
}

void add_perplexity(std::vector<CsvColumn>& columns, const PerplexityFigure& wanted) {
  const std::string name = "ppl_" + wanted.protocol + "_ctx" + std::to_string(wanted.context);
  const auto add = [&](const std::string& suffix, auto read) {
    columns.push_back({name + suffix, [wanted, read](const ModelFigures& model) {
                         const PerplexityFigure* figure = matching(model, wanted);
                         return figure == nullptr ? std::string() : read(*figure);
                       }});
  };
  using Figure = const PerplexityFigure&;
  add("", [](Figure f) { return exact(f.value); });
  add("_stderr", [](Figure f) { return exact(f.standard_error); });
  add("_low", [](Figure f) { return f.interval ? exact(f.interval->first) : ""; });
  add("_high", [](Figure f) { return f.interval ? exact(f.interval->second) : ""; });
  add("_bits_per_byte", [](Figure f) { return exact(f.bits_per_byte); });
}

void add_task(std::vector<CsvColumn>& columns, const TaskFigure& wanted) {
  const auto add = [&](const std::string& suffix, auto read) {
    columns.push_back({wanted.name + suffix, [wanted, read](const ModelFigures& model) {
                         const TaskFigure* figure = matching(model, wanted);
                         return figure == nullptr ? std::string() : read(*figure);
                       }});
  };
  using Figure = const TaskFigure&;
  add("_n", [](Figure f) { return std::to_string(f.documents); });
  add("_acc", [](Figure f) { return exact(f.acc); });
  add("_acc_stderr", [](Figure f) { return exact(f.acc_error); });
  add("_acc_norm", [](Figure f) { return exact(f.acc_norm); });
  add("_acc_norm_stderr", [](Figure f) { return exact(f.acc_norm_error); });
  add("_perplexity", [](Figure f) { return exact(f.perplexity); });
  add("_perplexity_stderr", [](Figure f) { return exact(f.perplexity_error); });
}

// The measures of some verdicts, each once, behind those that are known.
void add_measures(const std::vector<VerdictFigure>& verdicts, std::vector<std::string>& measures) {
  for (const VerdictFigure& verdict : verdicts) {
    if (std::find(measures.begin(), measures.end(), verdict.measure) == measures.end()) {
      measures.push_back(verdict.measure);
    }
  }
}

// The columns of one verdict. find: const VerdictFigure* of a model, null where it has none.
template <typename Find>
void add_verdict(std::vector<CsvColumn>& columns, const std::string& measure,
                 const std::string& beside, Find find) {
  const auto add = [&](const std::string& name, auto read) {
    columns.push_back({measure + " " + name + beside, [find, read](const ModelFigures& model) {
                         const VerdictFigure* verdict = find(model);
                         return verdict == nullptr ? std::string() : read(*verdict);
                       }});
  };
  using Verdict = const VerdictFigure&;
  add("difference", [](Verdict v) { return exact(v.difference); });
  add("difference low", [](Verdict v) { return exact(v.low); });
  add("difference high", [](Verdict v) { return exact(v.high); });
  add("p", [](Verdict v) { return exact(v.p); });
  add("distinguishable", [](Verdict v) { return std::string(v.distinguishable ? "yes" : "no"); });
}

// Of every measure that some candidate has a verdict on.
void add_verdicts(std::vector<CsvColumn>& columns, const Comparison& comparison) {
  std::vector<std::string> measures;
  for (const ModelFigures& model : comparison.models) add_measures(model.verdicts, measures);
  for (const std::string& measure : measures) {
    add_verdict(columns, measure, "",
                [measure](const ModelFigures& model) { return verdict_of(model, measure); });
  }
}

// What tells `model` from the candidate `first` by this measure; null where it was not compared.
const VerdictFigure* verdict_beside(const Comparison& comparison, const ModelFigures& model,
                                    std::size_t first, const std::string& measure) {
  for (const PairFigure& pair : comparison.pairs) {
    if (pair.first != first || &comparison.models[pair.second] != &model) continue;
    for (const VerdictFigure& verdict : pair.verdicts) {
      if (verdict.measure == measure) return &verdict;
    }
  }
  return nullptr;
}

// Of every measure and candidate that another one is beside.
void add_pairs(std::vector<CsvColumn>& columns, const Comparison& comparison) {
  for (std::size_t first = 0; first < comparison.models.size(); ++first) {
    std::vector<std::string> measures;
    for (const PairFigure& pair : comparison.pairs) {
      if (pair.first == first) add_measures(pair.verdicts, measures);
    }
    for (const std::string& measure : measures) {
      add_verdict(columns, measure, " beside " + comparison.models[first].name,
                  [&comparison, first, measure](const ModelFigures& model) {
                    return verdict_beside(comparison, model, first, measure);
                  });
    }
  }
}

std::vector<CsvColumn> csv_columns(const Comparison& comparison) {
  const ModelFigures& baseline = comparison.models.front();
  std::vector<CsvColumn> columns = {
      {"model", [](const ModelFigures& model) { return guarded(model.name); }},
      {"scheme", [](const ModelFigures& model) { return guarded(model.scheme); }}};
  for (const TaskFigure& task : baseline.tasks) add_task(columns, task);
  for (const PerplexityFigure& figure : baseline.perplexities) add_perplexity(columns, figure);
  using D = const DivergenceFigure&;
  columns.push_back(divergence("kl_mean", [](D d) { return exact(d.mean); }));
  columns.push_back(divergence("kl_stderr", [](D d) { return exact(d.standard_error); }));
  columns.push_back(divergence("kl_median", [](D d) { return exact(d.median); }));
  columns.push_back(divergence("kl_p90", [](D d) { return exact(d.p90); }));
  columns.push_back(divergence("kl_p99", [](D d) { return exact(d.p99); }));
  columns.push_back(divergence("kl_max", [](D d) { return exact(d.max); }));
  columns.push_back(divergence("top1_agreement", [](D d) { return exact(d.top1_agreement); }));
  columns.push_back(divergence("rms_delta_p", [](D d) { return exact(d.rms_delta_p); }));
  using M = ModelFigures;
  columns.push_back(member("disk_bytes", &M::disk_bytes));
  columns.push_back(member("weights_bytes", &M::weights_bytes));
  columns.push_back(member("peak_rss_bytes", &M::peak_rss_bytes));
  columns.push_back(member("load_s", &M::load_s));
  columns.push_back(member("prefill_tok_s", &M::prefill_tok_s));
  columns.push_back(member("decode_tok_s", &M::decode_tok_s));
  columns.push_back(member("first_token_s", &M::first_token_s));
  columns.push_back(member("token_s_median", &M::token_s_median));
  columns.push_back(member("token_s_p95", &M::token_s_p95));
  columns.push_back(member("energy_j_per_token", &M::energy_j_per_token));
  columns.push_back(member("other_work", &M::other_work));
  add_verdicts(columns, comparison);
  add_pairs(columns, comparison);
  return columns;
}

}  // namespace

std::string comparison_csv(const Comparison& comparison) {
  FPTQ_CHECK(!comparison.models.empty(), "a baseline");
  std::vector<std::string> lines(comparison.models.size() + 1);
  bool first = true;
  for (const CsvColumn& column : csv_columns(comparison)) {
    std::vector<std::string> cells = {guarded(column.name)};
    bool has_any = false;
    for (const ModelFigures& model : comparison.models) {
      cells.push_back(column.value(model));
      has_any = has_any || !cells.back().empty();
    }
    if (!has_any) continue;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      lines[i] += (first ? "" : ",") + quoted(printable(cells[i]));
    }
    first = false;
  }
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

}  // namespace fptq::report
