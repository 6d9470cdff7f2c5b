// What is known of several models, side by side: the table and the page.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "report/table.h"

namespace fptq::report {

struct PerplexityFigure {
  std::string protocol;  // "gptq"
  std::string unit;      // what the value is per: "token" or "word"
  std::size_t context = 0;
  std::size_t tokens = 0;
  double value = 0.0;
  std::optional<double> standard_error;
  std::optional<double> bits_per_byte;
  std::optional<std::pair<double, double>> interval = {};  // 95 percent confidence
};

// From the baseline, nats.
struct DivergenceFigure {
  double mean = 0.0;
  std::optional<double> standard_error;  // over windows
  double median = 0.0;
  double p90 = 0.0;
  double p99 = 0.0;
  double max = 0.0;
  double top1_agreement = 0.0;  // 0..1
  double rms_delta_p = 0.0;     // 0..1
  std::size_t tokens = 0;
};

// "0.0200 +- 0.001", or without the error where there is none.
[[nodiscard]] std::string with_error(const DivergenceFigure& divergence);

// What executed one layer.
struct LayerFigure {
  std::string layer;
  std::string scheme;
  std::string kernel;
  std::string isa;
  std::uint64_t calls = 0;
};

// Absent: not measured.
struct ModelFigures {
  std::string name;
  std::string scheme;
  std::vector<PerplexityFigure> perplexities;
  std::optional<DivergenceFigure> divergence;
  std::optional<std::uint64_t> disk_bytes;
  std::optional<std::uint64_t> weights_bytes;
  std::optional<std::uint64_t> peak_rss_bytes;
  std::optional<double> load_s;
  std::optional<double> prefill_tok_s;
  std::optional<double> decode_tok_s;
  std::optional<double> first_token_s;
  std::optional<double> token_s_median;
  std::optional<double> token_s_p95;
  std::optional<double> energy_j_per_token;
  std::optional<double> other_work;  // share of the machine that other processes used, 0..1
  std::vector<LayerFigure> receipt;
};

struct Comparison {
  std::vector<ModelFigures> models;  // the baseline first; at least one
  // Command, version, machine, date, texts: whatever lets somebody repeat the measurement.
  std::vector<std::pair<std::string, std::string>> provenance;
  std::vector<std::string> warnings;
};

// One row a model, in the order given; columns of which no model has a value are left out.
[[nodiscard]] Table comparison_table(const Comparison& comparison);

// A page that needs nothing else: no script, no other file, light or dark as the reader's system,
// every text escaped.
[[nodiscard]] std::string comparison_html(const Comparison& comparison);

}  // namespace fptq::report
