// Perplexities that others have published, to stand beside measured ones.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "eval/perplexity.h"
#include "model/llama_config.h"

namespace fptq::eval {

// One published figure, of a model that was not quantized, on the test split of WikiText-2.
struct PublishedPerplexity {
  std::string_view model;      // "Llama-3.2-1B"
  std::string_view precision;  // "bf16"
  Protocol protocol;
  std::size_t context;
  double value;  // per token, or per word for kLmEval
  std::string_view source;
};

// Whether `measured` is of the whole test split of WikiText-2 as its protocol cuts it: the raw file
// (wiki.test.raw) recognized by its hash, or, for kGptq, its rows joined by blank lines beforehand.
[[nodiscard]] bool is_wikitext2_test(const Perplexity& measured);

// The figures that `measured` can be compared with: same protocol, context and text, models of this
// shape (width, blocks, vocabulary, positions). A shape does not tell a model from one that was
// tuned from it, so there may be several.
[[nodiscard]] std::vector<PublishedPerplexity> published_perplexities(
    const model::LlamaConfig& config, const Perplexity& measured);

// Under what conditions figures of a protocol are published: "WikiText-2 test (wiki.test.raw),
// --ctx 2048".
[[nodiscard]] std::string published_conditions(Protocol protocol);

}  // namespace fptq::eval
