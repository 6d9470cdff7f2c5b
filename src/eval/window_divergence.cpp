#include "eval/window_divergence.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "base/check.h"
#include "eval/softmax.h"
#include "eval/statistics.h"

namespace fptq::eval {

Result<WindowDivergence> WindowDivergence::create(LogitsSource& base, ThreadPool& pool,
                                                  std::vector<Window> windows,
                                                  std::uint64_t cache_bytes) {
  FPTQ_CHECK(!windows.empty(), "windows to compare in");
  WindowDivergence result(base, pool, std::move(windows));
  WindowReader reader(base);
  std::uint64_t cached = 0;
  for (const Window& window : result.windows_) {
    const std::size_t scored = window.tokens.size() - window.first_scored;
    cached += std::uint64_t{scored} * base.vocabulary() * sizeof(float);
    if (cached > cache_bytes) break;
    std::vector<float> logits;
    logits.reserve(scored * base.vocabulary());
    FPTQ_TRY_VOID(reader.open(window.tokens, window.first_scored));
    for (std::size_t done = 0; done < scored;) {
      const std::size_t rows = std::min(reader.rows_at_a_time(), scored - done);
      FPTQ_TRY(const std::span<const float> part, reader.read(rows));
      logits.insert(logits.end(), part.begin(), part.end());
      done += rows;
    }
    result.base_logits_.push_back(std::move(logits));
  }
  return result;
}

std::size_t WindowDivergence::tokens() const {
  std::size_t count = 0;
  for (const Window& window : windows_) count += window.tokens.size() - window.first_scored;
  return count;
}

Result<WindowKl> WindowDivergence::measure(LogitsSource& model) {
  FPTQ_CHECK(model.vocabulary() == base_->vocabulary(), "models of one vocabulary");
  const std::size_t width = base_->vocabulary();
  WindowReader base_reader(*base_);
  WindowReader reader(model);
  double sum = 0;
  RunningMoments of_windows;
  std::vector<double> rows_kl;
  for (std::size_t w = 0; w < windows_.size(); ++w) {
    const Window& window = windows_[w];
    const bool cached = w < base_logits_.size();
    if (!cached) FPTQ_TRY_VOID(base_reader.open(window.tokens, window.first_scored));
    FPTQ_TRY_VOID(reader.open(window.tokens, window.first_scored));
    const std::size_t scored = window.tokens.size() - window.first_scored;
    double window_sum = 0;
    for (std::size_t done = 0; done < scored;) {
      const std::size_t rows = std::min(reader.rows_at_a_time(), scored - done);
      std::span<const float> p;
      if (cached) {
        p = std::span(base_logits_[w]).subspan(done * width, rows * width);
      } else {
        FPTQ_TRY(p, base_reader.read(rows));
      }
      FPTQ_TRY(const std::span<const float> q, reader.read(rows));
      rows_kl.assign(rows, 0.0);
      pool_->parallel_for(rows, 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t r = begin; r < end; ++r) {
          const TokenId target = window.tokens[window.first_scored + done + r];
          rows_kl[r] =
              compare_logits(p.subspan(r * width, width), q.subspan(r * width, width), target).kl;
        }
      });
      for (const double kl : rows_kl) window_sum += kl;
      done += rows;
    }
    if (!std::isfinite(window_sum)) {
      return Error{Error::Kind::kFormat,
                   "KL divergence: expected finite logits, got infinity or NaN. Are the weights "
                   "damaged?"};
    }
    sum += window_sum;
    of_windows.add(window_sum / static_cast<double>(scored));
  }
  const double error = of_windows.count() < 2 ? 0.0 : of_windows.standard_error();
  return WindowKl{sum / static_cast<double>(tokens()), error};
}

}  // namespace fptq::eval
