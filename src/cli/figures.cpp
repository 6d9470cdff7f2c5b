#include "cli/figures.h"

#include <algorithm>
#include <utility>

namespace fptq::cli {
namespace {

report::PerplexityFigure figure_of(const eval::Perplexity& measured) {
  report::PerplexityFigure figure;
  figure.protocol = eval::protocol_name(measured.protocol);
  figure.unit = measured.protocol == eval::Protocol::kLmEval ? "word" : "token";
  figure.context = measured.context;
  figure.tokens = measured.tokens;
  figure.value = measured.value;
  figure.standard_error = measured.standard_error;
  if (measured.interval) figure.interval = {measured.interval->low, measured.interval->high};
  figure.bits_per_byte = measured.bits_per_byte;
  return figure;
}

report::DivergenceFigure figure_of(const eval::KlDivergence& kl) {
  report::DivergenceFigure figure;
  figure.mean = kl.mean;
  figure.standard_error = kl.standard_errors.mean;
  figure.median = kl.median;
  figure.p90 = kl.p90;
  figure.p99 = kl.p99;
  figure.max = kl.max;
  figure.top1_agreement = kl.top1_agreement;
  figure.rms_delta_p = kl.rms_delta_p;
  figure.tokens = kl.tokens;
  if (kl.interval) figure.interval = {kl.interval->low, kl.interval->high};
  report::HistogramFigure& histogram = figure.histogram.emplace();
  for (std::size_t b = 0; b <= eval::DivergenceHistogram::kBins; ++b) {
    histogram.edges.push_back(eval::DivergenceHistogram::edge(b));
  }
  histogram.counts.assign(kl.histogram.counts().begin(), kl.histogram.counts().end());
  histogram.below = kl.histogram.below();
  histogram.above = kl.histogram.above();
  for (const eval::ConfidenceBin& bin : kl.by_confidence) {
    figure.by_confidence.push_back(
        {bin.from, bin.to, bin.tokens, bin.agreement, bin.standard_error});
  }
  return figure;
}

report::TaskFigure figure_of(const eval::TaskResult& task) {
  report::TaskFigure figure;
  figure.name = task.name;
  figure.shots = task.shots;
  figure.documents = task.documents.size();
  figure.acc = task.acc;
  figure.acc_error = task.acc_standard_error;
  figure.acc_norm = task.acc_norm;
  figure.acc_norm_error = task.acc_norm_standard_error;
  figure.perplexity = task.perplexity;
  figure.perplexity_error = task.perplexity_standard_error;
  return figure;
}

std::vector<report::KindBytes> kinds_of(const eval::DiskBytes& bytes) {
  return {{"embedding", bytes.embedding},
          {"decoder linears", bytes.linears},
          {"classifier", bytes.classifier},
          {"norms", bytes.norms},
          {"other", bytes.other}};
}

void add_resources(const eval::Resources& resources, report::ModelFigures& figures) {
  figures.disk_bytes = resources.disk_bytes;
  figures.weights_bytes = resources.weights_bytes;
  figures.peak_rss_bytes = resources.peak_rss_bytes;
  figures.load_s = resources.load_s;
  figures.prefill_tok_s = resources.prefill_tok_s;
  figures.decode_tok_s = resources.decode_tok_s;
  figures.first_token_s = resources.first_token_s;
  figures.token_s_median = resources.token_s_median;
  figures.token_s_p95 = resources.token_s_p95;
  figures.energy_j_per_token = resources.energy_j_per_token;
  for (const eval::ModelCost& round : resources.rounds) {
    figures.other_work = std::max(figures.other_work, round.other_work());
  }
  if (resources.disk_bytes_of) figures.disk_by_kind = kinds_of(*resources.disk_bytes_of);
  for (const eval::ModelCost& round : resources.rounds) {
    figures.token_s.insert(figures.token_s.end(), round.token_s.begin(), round.token_s.end());
  }
}

}  // namespace

report::ModelFigures figures(const Evaluation& evaluation) {
  const eval::EvalResult& result = evaluation.result;
  report::ModelFigures figures;
  figures.name = result.model;
  figures.scheme = result.scheme;
  for (const eval::Perplexity& measured : result.perplexities) {
    figures.perplexities.push_back(figure_of(measured));
  }
  for (const eval::TaskResult& task : result.tasks) figures.tasks.push_back(figure_of(task));
  if (result.kl) figures.divergence = figure_of(*result.kl);
  add_resources(result.resources, figures);
  for (const model::ReceiptEntry& entry : evaluation.receipt) {
    figures.receipt.push_back({entry.layer, entry.scheme, entry.kernel, entry.isa, entry.calls});
  }
  return figures;
}

namespace {

// A column's name in the report, where the verdict is about one.
std::string column_of(const eval::Verdict& verdict) {
  for (const eval::Protocol protocol :
       {eval::Protocol::kGptq, eval::Protocol::kLlamaCpp, eval::Protocol::kLmEval}) {
    const std::string name(eval::protocol_name(protocol));
    if (verdict.measure != name + " perplexity") continue;
    report::PerplexityFigure figure;
    figure.protocol = name;
    figure.unit = protocol == eval::Protocol::kLmEval ? "word" : "token";
    return report::measure_name(figure);
  }
  return verdict.measure;
}

}  // namespace

std::vector<report::VerdictFigure> figures(std::span<const eval::Verdict> verdicts) {
  std::vector<report::VerdictFigure> result;
  for (const eval::Verdict& verdict : verdicts) {
    if (!verdict.difference || !verdict.distinguishable) continue;
    report::VerdictFigure figure;
    figure.measure = column_of(verdict);
    figure.difference = *verdict.difference;
    if (verdict.interval) {
      figure.low = verdict.interval->low;
      figure.high = verdict.interval->high;
    }
    figure.p = verdict.p_holm;
    figure.n = verdict.n;
    figure.distinguishable = *verdict.distinguishable;
    figure.sentence = verdict.sentence;
    figure.part = !verdict.part_of.empty();
    result.push_back(std::move(figure));
  }
  return result;
}

}  // namespace fptq::cli
