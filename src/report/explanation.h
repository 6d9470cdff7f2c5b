// Where a divergence comes from: tables and the page.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "report/table.h"

namespace fptq::report {

// A group's share, in nats.
struct ShareFigure {
  std::string group;
  double forward = 0.0;
  double reverse = 0.0;
  double mean = 0.0;
};

// What one part diverges alone.
struct PartFigure {
  std::string name;
  std::string scheme;
  double nats = 0.0;
  double standard_error = 0.0;
  std::uint64_t bytes = 0;
  std::optional<std::int64_t> bytes_to_w8c;
  std::optional<double> nats_per_mb;
};

struct ExplanationFigures {
  std::string base;
  std::string candidate;
  double total = 0.0;
  double standard_error = 0.0;
  double noise_floor = 0.0;
  std::vector<ShareFigure> budget;
  std::vector<PartFigure> parts;
  double interaction = 0.0;
  std::size_t windows = 0;
  std::size_t context = 0;
  std::size_t tokens = 0;
  std::vector<std::string> notes;
  std::vector<std::pair<std::string, std::string>> provenance;
};

// The shares with their total in the last row.
[[nodiscard]] Table budget_table(const ExplanationFigures& figures);

// The first `most` parts (0: all), the others together, the interaction, the total.
[[nodiscard]] Table parts_table(const ExplanationFigures& figures, std::size_t most = 0);

// A page that needs nothing else, with bars for groups and parts.
[[nodiscard]] std::string explanation_html(const ExplanationFigures& figures);

}  // namespace fptq::report
