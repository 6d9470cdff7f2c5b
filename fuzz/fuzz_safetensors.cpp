// Hostile safetensors files: parses the header and reads every byte of every tensor.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/check.h"
#include "base/thread_pool.h"
#include "io/safetensors.h"
#include "tensor/finite.h"
#include "tensor/tensor.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  const auto header = fptq::io::parse_safetensors(file, "fuzz");
  if (!header) {
    FPTQ_CHECK(!header.error().message.empty(), "every refusal has a message");
    return 0;
  }
  fptq::ThreadPool pool(1);
  std::size_t covered = 0;
  std::uint8_t sum = 0;
  for (const auto& entry : header->entries) {
    const auto bytes = file.subspan(entry.begin, entry.end - entry.begin);
    const fptq::Tensor tensor(entry.dtype, entry.shape, bytes, nullptr);
    static_cast<void>(fptq::find_non_finite(tensor, pool));
    for (const std::byte byte : bytes) sum = static_cast<std::uint8_t>(sum + std::uint8_t(byte));
    covered += bytes.size();
    FPTQ_CHECK(header->find(entry.name) == &entry, "names are unique and sorted");
  }
  FPTQ_CHECK(covered <= size, "no byte belongs to two tensors");
  volatile std::uint8_t sink = sum;
  static_cast<void>(sink);
  return 0;
}
