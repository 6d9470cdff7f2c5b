// KL divergence from one base, of many models, on the same few windows.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "eval/logits_source.h"

namespace fptq::eval {

// KL(base || model) of the next token in nats.
struct WindowKl {
  double mean = 0;            // over all positions
  double standard_error = 0;  // over windows, which are independent where positions are not
};

// Keeps the base's logits, so that each model costs one forward pass.
class WindowDivergence {
 public:
  // One window: the tokens, of which those from first_scored on are scored.
  struct Window {
    std::vector<TokenId> tokens;
    std::size_t first_scored;
  };

  // base and pool have to outlive it. windows: at least one.
  //   cache_bytes  of the base's logits that are kept; the base runs again for windows beyond
  // Errors: the base's.
  [[nodiscard]] static Result<WindowDivergence> create(LogitsSource& base, ThreadPool& pool,
                                                       std::vector<Window> windows,
                                                       std::uint64_t cache_bytes);

  // model: of the base's vocabulary. Errors: kFormat for logits that are not finite; the models'.
  [[nodiscard]] Result<WindowKl> measure(LogitsSource& model);

  [[nodiscard]] std::size_t windows() const { return windows_.size(); }
  [[nodiscard]] std::size_t tokens() const;  // positions that are scored

 private:
  WindowDivergence(LogitsSource& base, ThreadPool& pool, std::vector<Window> windows)
      : base_(&base), pool_(&pool), windows_(std::move(windows)) {}

  LogitsSource* base_;
  ThreadPool* pool_;
  std::vector<Window> windows_;
  std::vector<std::vector<float>> base_logits_;  // of the first windows: [scored, V]
};

}  // namespace fptq::eval
