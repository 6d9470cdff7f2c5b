// A verdict for people.

#pragma once

#include <string>

#include "eval/verdicts.h"

namespace fptq::eval {

// One of, everything but the sentence being filled in:
//
//   lower by 1.8 points (95 %: 0.4 to 3.2), p = 0.01, 500 documents
//   higher by 2.31 % (95 %: 1.95 to 2.67), p = 0.0008 by Holm for 4 comparisons, 141 windows
//   not distinguishable at this sample size (500 documents, p = 0.42); about 6 200 would settle a
//     difference of 0.4 points
//   the same answer to every document (500 documents)
//   higher by 2.3 %, but 4 windows are too few to tell it from chance (at least 10)
//   no verdict: REASON
//
// Accuracies differ by points of percent, perplexities by percent, or by a factor where one is more
// than twice the other. p is the adjusted one. Numbers have two digits of the interval's half
// width.
[[nodiscard]] std::string verdict_sentence(const Verdict& verdict);

}  // namespace fptq::eval
