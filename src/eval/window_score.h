// What the tokens of one window add to a perplexity.

#pragma once

#include "eval/statistics.h"

namespace fptq::eval {

struct WindowScore {
  double nll = 0.0;        // sum over the scored tokens, nats
  RunningMoments moments;  // of its tokens' nll

  // The next token's negative log-likelihood. Sums depend on the order: that of the window.
  void add(double token_nll) {
    nll += token_nll;
    moments.add(token_nll);
  }
};

}  // namespace fptq::eval
