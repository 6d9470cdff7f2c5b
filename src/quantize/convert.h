// Other containers for the same weights.

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "io/checkpoint.h"
#include "numeric/dtype.h"

namespace fptq::quantize {

// kHf     a Hugging Face directory with the tensors as the source gives them: from GGUF and
//         llama2.c files under Hugging Face's names, quantized GGUF blocks as float32
// kDense  the same with every quantized weight dequantized and no quantization_config: a model
//         that any program loads, computing what the quantized one computes with float activations
enum class ConvertTarget { kHf, kDense };

// "hf", "dense". Errors: kUnsupported for gguf, vllm, bnb and gptq, which this version does not
// write yet; kInvalidArgument for other names.
[[nodiscard]] Result<ConvertTarget> parse_convert_target(std::string_view name);

struct ConvertOptions {
  std::filesystem::path output;
  bool overwrite = false;
  ThreadPool* pool = nullptr;  // required
  // The type of float weights in the output. Absent: as in the source, and float32 for weights
  // that are dequantized, which holds (code - zero point) * scale exactly where scales are 16-bit.
  std::optional<DType> dtype;
  std::uint64_t max_shard_bytes = 5'000'000'000;
  ProgressFn progress;
};

struct ConvertReport {
  std::uint64_t output_bytes = 0;  // of all tensors
  // |w - w'| at most, where options.dtype is narrower than what was there.
  double largest_error = 0;
  std::vector<std::string> warnings;
};

// Streams tensor by tensor; the output has its name only when it is complete.
// Errors: those of reading; kFormat for NaN and infinity; kUnsupported for a value that
// options.dtype cannot hold; kInvalidArgument for an output that exists or holds the source;
// kLimit, kIo; kInterrupted.
[[nodiscard]] Result<ConvertReport> convert_checkpoint(const io::Checkpoint& checkpoint,
                                                       ConvertTarget target,
                                                       const ConvertOptions& options);

}  // namespace fptq::quantize
