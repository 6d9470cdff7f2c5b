// Hostile llama2.c checkpoints and vocabularies: parses them and reads every tensor.

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "base/thread_pool.h"
#include "io/gguf_tokenizer.h"
#include "io/llama2c.h"
#include "io/rope_order.h"
#include "tensor/finite.h"
#include "tensor/tensor.h"

namespace {

void read_checkpoint(std::span<const std::byte> file) {
  const auto parsed = fptq::io::parse_llama2c(file, "fuzz");
  if (!parsed) return;
  fptq::ThreadPool pool(1);
  for (const auto& entry : parsed->tensors) {
    const fptq::Tensor tensor(fptq::DType::kF32, entry.shape,
                              file.subspan(entry.begin, entry.size_bytes), nullptr);
    static_cast<void>(fptq::find_non_finite(tensor, pool));
    if (entry.rotary_heads == 0) continue;
    FPTQ_CHECK(bool(fptq::io::half_split_rows(tensor, entry.rotary_heads)),
               "the header's heads fit its projections");
  }
}

void read_vocabulary(std::span<const std::byte> file) {
  if (file.empty()) return;
  // The first byte says how many pieces the checkpoint has.
  const auto vocabulary = fptq::io::parse_llama2c_vocabulary(
      file.subspan(1), static_cast<std::size_t>(file[0]), "fuzz");
  if (!vocabulary) return;
  FPTQ_CHECK(vocabulary->tokens.size() == vocabulary->scores.size(), "a score for each piece");
  static_cast<void>(
      fptq::io::tokenizer_from_llama2c(vocabulary->tokens, vocabulary->scores, "fuzz"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  read_checkpoint(file);
  read_vocabulary(file);
  return 0;
}
