// Hostile GGUF files: parses them, dequantizes every tensor, and derives configuration and
// tokenizer from the metadata.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "io/ggml_types.h"
#include "io/gguf.h"
#include "io/gguf_llama.h"
#include "io/gguf_tokenizer.h"
#include "io/rope_order.h"
#include "tensor/finite.h"
#include "tensor/tensor.h"

namespace {

using fptq::io::GgufTensor;

// The tensor's values as float32, or as they are.
fptq::Tensor read_tensor(std::span<const std::byte> file, const GgufTensor& tensor) {
  const auto bytes = file.subspan(tensor.begin, tensor.size_bytes);
  const auto& info = fptq::io::ggml_type_info(tensor.type);
  const fptq::DType dtype = fptq::io::ggml_read_dtype(tensor.type);
  if (info.block_elements == 1) return fptq::Tensor(dtype, tensor.shape, bytes, nullptr);
  auto fresh = fptq::Tensor::create(dtype, tensor.shape);
  if (!fresh) return {};
  fptq::io::dequantize_ggml_blocks(tensor.type, bytes.data(), bytes.size() / info.block_bytes,
                                   reinterpret_cast<float*>(fresh->data));
  return fresh->tensor;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto file = fptq::io::parse_gguf(bytes, "fuzz");
  if (!file) return 0;
  fptq::ThreadPool pool(1);
  std::vector<float> rope_factors;
  for (const GgufTensor& tensor : file->tensors) {
    const fptq::Tensor values = read_tensor(bytes, tensor);
    static_cast<void>(fptq::find_non_finite(values, pool));
    static_cast<void>(fptq::io::hf_name_of_gguf(tensor.name));
    static_cast<void>(fptq::io::half_split_rows(values, 2));
    if (tensor.name == fptq::io::kGgufRopeFactors) rope_factors = values.to_f32();
  }
  static_cast<void>(fptq::io::llama_config_of_gguf(*file, file->tensors, rope_factors, "fuzz"));
  if (const auto vocabulary = fptq::io::vocabulary_of_gguf(*file, "fuzz")) {
    static_cast<void>(fptq::io::tokenizer_from_gguf(*vocabulary, "fuzz"));
  }
  return 0;
}
