// What bitsandbytes says about linears of 4 bits: in config.json, and in a tensor beside each.
//
// docs/formats/bitsandbytes.md describes the layout and says what is read.

#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "numeric/scheme.h"
#include "tensor/tensor.h"

namespace fptq::model {

// Whether a quantization_config is bitsandbytes': quant_method says so or, in older files, is not
// there while load_in_4bit or load_in_8bit is.
[[nodiscard]] bool is_bitsandbytes_config(const Json& config);

// What such a configuration must not say. Which modules are quantized, and how, is said by the
// tensors alone (model/table_module.h).
// Errors: kUnsupported for load_in_8bit (LLM.int8), for what is not load_in_4bit, for another
// bnb_4bit_quant_type than nf4 and fp4, and for codes stored in another type than uint8; kFormat
// for values of the wrong type.
[[nodiscard]] Status check_bitsandbytes_config(const Json& config, const std::string& where);

// What the tensor X.weight.quant_state.bitsandbytes__nf4 says, JSON text in bytes.
struct TableState {
  QuantArgs weights;  // double_quantized where there are nested fields
  Shape shape;        // [N, K]
  float nested_offset = 0;
};

//   text  the tensor's bytes; blanks may follow the JSON
//   type  what the tensor's name says
// Errors: kFormat for what is not such a JSON object and for a quant_type that contradicts;
// kUnsupported for other block sizes and for nested blocks that are not 256 float32 constants.
[[nodiscard]] Result<TableState> parse_table_state(std::string_view text, CodeType type,
                                                   const std::string& where);

}  // namespace fptq::model
