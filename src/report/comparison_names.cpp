// How the parts of a comparison are named and found.

#include <algorithm>

#include "report/comparison.h"

namespace fptq::report {
namespace {

// "models/out/" -> "out".
std::string last_part(const std::string& path) {
  const std::size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return path;
  const std::size_t slash = path.rfind('/', end);
  const std::size_t begin = slash == std::string::npos ? 0 : slash + 1;
  return path.substr(begin, end + 1 - begin);
}

}  // namespace

std::string measure_name(const PerplexityFigure& figure) {
  return "ppl " + figure.protocol + (figure.unit == "word" ? " (word)" : "");
}

std::string measure_name(const TaskFigure& figure, bool normalized) {
  return figure.name + (normalized ? " acc_norm" : " acc");
}

const PerplexityFigure* matching(const ModelFigures& model, const PerplexityFigure& wanted) {
  for (const PerplexityFigure& figure : model.perplexities) {
    if (figure.protocol == wanted.protocol && figure.context == wanted.context) return &figure;
  }
  return nullptr;
}

const TaskFigure* matching(const ModelFigures& model, const TaskFigure& wanted) {
  for (const TaskFigure& figure : model.tasks) {
    if (figure.name == wanted.name && figure.shots == wanted.shots &&
        figure.documents == wanted.documents) {
      return &figure;
    }
  }
  return nullptr;
}

const VerdictFigure* verdict_of(const ModelFigures& model, const std::string& measure) {
  for (const VerdictFigure& verdict : model.verdicts) {
    if (verdict.measure == measure) return &verdict;
  }
  return nullptr;
}

std::vector<std::string> display_names(const Comparison& comparison) {
  std::vector<std::string> names;
  for (const ModelFigures& model : comparison.models) names.push_back(last_part(model.name));
  std::vector<std::string> display;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const bool shared = std::count(names.begin(), names.end(), names[i]) > 1;
    std::string name = shared ? comparison.models[i].name : names[i];
    display.push_back(name.empty() ? "model " + std::to_string(i + 1) : std::move(name));
  }
  return display;
}

}  // namespace fptq::report
