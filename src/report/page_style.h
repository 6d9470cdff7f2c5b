// The style sheet of every page.

#pragma once

namespace fptq::report {

// Colors are variables, so that charts follow the reader's light or dark system. Those of series
// and of kinds of tensors are Okabe and Ito's, which color-blind people can tell apart, but nothing
// is said by color alone: charts have labels, shapes and hatching as well.
extern const char* const kPageStyle;

}  // namespace fptq::report
