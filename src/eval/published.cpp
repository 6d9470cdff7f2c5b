#include "eval/published.h"

#include <array>

namespace fptq::eval {
namespace {

// wiki.test.raw of wikitext-2-raw-v1, 1,290,590 bytes.
constexpr std::string_view kRawSha256 =
    "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08";
// The same after wikitext_rows().
constexpr std::string_view kRowsSha256 =
    "696cca6b65a171b0a358a4be6732cdfdf2dd6164a32e20fd70e3c13fc4dfae83";

struct Shape {
  std::size_t hidden_size;
  std::size_t num_layers;
  std::size_t vocab_size;
  std::size_t max_positions;
  bool operator==(const Shape&) const = default;
};

constexpr Shape kLlama1Of7B{4096, 32, 32000, 2048};
constexpr Shape kLlama1Of13B{5120, 40, 32000, 2048};
constexpr Shape kLlama2Of7B{4096, 32, 32000, 4096};
constexpr Shape kLlama2Of13B{5120, 40, 32000, 4096};
constexpr Shape kLlama2Of70B{8192, 80, 32000, 4096};
constexpr Shape kLlama3Of8B{4096, 32, 128256, 8192};
constexpr Shape kLlama3Of70B{8192, 80, 128256, 8192};
constexpr Shape kLlama31Of8B{4096, 32, 128256, 131072};
constexpr Shape kLlama31Of70B{8192, 80, 128256, 131072};
constexpr Shape kLlama32Of1B{2048, 16, 128256, 131072};
constexpr Shape kMistralOf7B{4096, 32, 32000, 32768};

constexpr std::string_view kAwq = "AWQ, arXiv:2306.00978";
constexpr std::string_view kQoq = "deepcompressor's README, table of QoQ (arXiv:2405.04532)";
constexpr std::string_view kSpinQuant =
    "SpinQuant repository, 2025-04-10, question about the Llama-3.2-1B baseline";
constexpr std::string_view kOwq = "OWQ repository, 2024-08-10, its author on Llama-2";
constexpr std::string_view kLlamaCppReadme = "llama.cpp, README of its perplexity tool";
constexpr std::string_view kHarness =
    "lm-evaluation-harness of 2024, its repository, 2024-09-15, question about Llama-2-7B";

struct Entry {
  Shape shape;
  PublishedPerplexity figure;
};

constexpr Protocol kGptq = Protocol::kGptq;

constexpr std::array<Entry, 16> kEntries = {{
    {kLlama1Of7B, {"Llama-7B", "fp16", kGptq, 2048, 5.68, kAwq}},
    {kLlama1Of13B, {"Llama-13B", "fp16", kGptq, 2048, 5.09, kAwq}},
    {kLlama2Of7B, {"Llama-2-7B", "fp16", kGptq, 2048, 5.47, kAwq}},
    {kLlama2Of13B, {"Llama-2-13B", "fp16", kGptq, 2048, 4.88, kAwq}},
    {kLlama2Of70B, {"Llama-2-70B", "fp16", kGptq, 2048, 3.32, kAwq}},
    {kLlama3Of8B, {"Llama-3-8B", "fp16", kGptq, 2048, 6.14, kQoq}},
    {kLlama3Of70B, {"Llama-3-70B", "fp16", kGptq, 2048, 2.85, kQoq}},
    {kLlama31Of8B, {"Llama-3.1-8B", "fp16", kGptq, 2048, 6.24, kQoq}},
    {kLlama31Of70B, {"Llama-3.1-70B", "fp16", kGptq, 2048, 2.81, kQoq}},
    {kLlama32Of1B, {"Llama-3.2-1B", "bf16", kGptq, 2048, 9.7548, kSpinQuant}},
    {kLlama32Of1B, {"Llama-3.2-1B-Instruct", "bf16", kGptq, 2048, 13.1585, kSpinQuant}},
    {kMistralOf7B, {"Mistral-7B", "fp16", kGptq, 2048, 5.25, kQoq}},
    {kLlama2Of7B, {"Llama-2-7B", "fp16", kGptq, 4096, 5.12, kOwq}},
    {kLlama2Of13B, {"Llama-2-13B", "fp16", kGptq, 4096, 4.57, kOwq}},
    {kLlama3Of8B, {"Llama-3-8B", "fp16", Protocol::kLlamaCpp, 512, 6.2332, kLlamaCppReadme}},
    {kLlama2Of7B, {"Llama-2-7B", "fp16", Protocol::kLmEval, 4096, 8.7071, kHarness}},
}};

}  // namespace

bool is_wikitext2_test(const Perplexity& measured) {
  if (!measured.all_windows) return false;
  if (measured.text_sha256 == kRawSha256) {
    // llama.cpp's protocol takes the bytes as they are in either mode.
    return measured.documents == DocumentMode::kWikitext ||
           measured.protocol == Protocol::kLlamaCpp;
  }
  return measured.protocol == Protocol::kGptq && measured.documents == DocumentMode::kWhole &&
         measured.text_sha256 == kRowsSha256;
}

std::vector<PublishedPerplexity> published_perplexities(const model::LlamaConfig& config,
                                                        const Perplexity& measured) {
  std::vector<PublishedPerplexity> found;
  if (!is_wikitext2_test(measured)) return found;
  const Shape shape{config.hidden_size, config.num_layers, config.vocab_size, config.max_positions};
  for (const Entry& entry : kEntries) {
    if (entry.shape == shape && entry.figure.protocol == measured.protocol &&
        entry.figure.context == measured.context) {
      found.push_back(entry.figure);
    }
  }
  return found;
}

std::string published_conditions(Protocol protocol) {
  switch (protocol) {
    case Protocol::kGptq:
      return "WikiText-2 test (wiki.test.raw), --ctx 2048";
    case Protocol::kLlamaCpp:
      return "WikiText-2 test (wiki.test.raw), --ctx 512";
    case Protocol::kLmEval:
      return "WikiText-2 test (wiki.test.raw), --ctx the model's own";
  }
  return {};
}

}  // namespace fptq::eval
