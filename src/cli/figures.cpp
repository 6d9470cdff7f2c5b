#include "cli/figures.h"

#include <utility>

namespace fptq::cli {

report::ModelFigures figures(const Evaluation& evaluation) {
  const eval::EvalResult& result = evaluation.result;
  report::ModelFigures figures;
  figures.name = result.model;
  figures.scheme = result.scheme;
  for (const eval::Perplexity& measured : result.perplexities) {
    report::PerplexityFigure figure;
    figure.protocol = eval::protocol_name(measured.protocol);
    figure.unit = measured.protocol == eval::Protocol::kLmEval ? "word" : "token";
    figure.context = measured.context;
    figure.tokens = measured.tokens;
    figure.value = measured.value;
    figure.standard_error = measured.standard_error;
    if (measured.interval) figure.interval = {measured.interval->low, measured.interval->high};
    figure.bits_per_byte = measured.bits_per_byte;
    figures.perplexities.push_back(std::move(figure));
  }
  if (result.kl) {
    const eval::KlDivergence& kl = *result.kl;
    figures.divergence =
        report::DivergenceFigure{kl.mean, kl.standard_errors.mean, kl.median,      kl.p90,   kl.p99,
                                 kl.max,  kl.top1_agreement,       kl.rms_delta_p, kl.tokens};
  }
  figures.disk_bytes = result.resources.disk_bytes;
  figures.weights_bytes = result.resources.weights_bytes;
  figures.peak_rss_bytes = result.resources.peak_rss_bytes;
  figures.load_s = result.resources.load_s;
  figures.prefill_tok_s = result.resources.prefill_tok_s;
  figures.decode_tok_s = result.resources.decode_tok_s;
  figures.first_token_s = result.resources.first_token_s;
  figures.token_s_median = result.resources.token_s_median;
  figures.token_s_p95 = result.resources.token_s_p95;
  figures.energy_j_per_token = result.resources.energy_j_per_token;
  figures.cpu_others_during = result.resources.cpu_others_during;
  for (const model::ReceiptEntry& entry : evaluation.receipt) {
    figures.receipt.push_back({entry.layer, entry.scheme, entry.kernel, entry.isa, entry.calls});
  }
  return figures;
}

}  // namespace fptq::cli
