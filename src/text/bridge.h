// The C ABI of rust/text-bridge, which rust/text-bridge/src/lib.rs defines; keep the two equal.
// Only src/text may include it: the rest of fptq uses Tokenizer and ChatTemplate.
//
// A function that returns bool returns true and writes *value, or false and writes *error (text
// for a person). What is written into an FptqBytes or FptqIds is the caller's to free. Inputs are
// pointer and count; a null pointer stands for an empty input. No function keeps a pointer to its
// inputs, none unwinds, none prints. Objects may be used from several threads at a time.

#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct FptqBytes {
  std::uint8_t* data;
  std::size_t size;
};

struct FptqIds {
  std::uint32_t* data;
  std::size_t size;
};

void fptq_bridge_free_bytes(FptqBytes bytes);
void fptq_bridge_free_ids(FptqIds ids);

struct FptqTokenizer;  // a loaded tokenizer.json

bool fptq_tokenizer_new(const std::uint8_t* json, std::size_t size, FptqTokenizer** value,
                        FptqBytes* error);
void fptq_tokenizer_free(FptqTokenizer* tokenizer);

// One byte per id: bit 0, a token has it; bit 1, that token is special. Lives as long as the
// tokenizer.
const std::uint8_t* fptq_tokenizer_flags(const FptqTokenizer* tokenizer, std::size_t* size);

bool fptq_tokenizer_encode(const FptqTokenizer* tokenizer, const std::uint8_t* text,
                           std::size_t size, bool add_special, FptqIds* value, FptqBytes* error);
bool fptq_tokenizer_decode(const FptqTokenizer* tokenizer, const std::uint32_t* ids,
                           std::size_t size, bool skip_special, FptqBytes* value, FptqBytes* error);

// The id of a token's exact text, or -1.
std::int64_t fptq_tokenizer_id_of(const FptqTokenizer* tokenizer, const std::uint8_t* token,
                                  std::size_t size);
// The text of a token; false, with nothing written, where no token has that id.
bool fptq_tokenizer_token_of(const FptqTokenizer* tokenizer, std::uint32_t id, FptqBytes* value);

struct FptqTemplate;  // a parsed chat template

bool fptq_template_new(const std::uint8_t* source, std::size_t size, FptqTemplate** value,
                       FptqBytes* error);
void fptq_template_free(FptqTemplate* chat_template);

enum FptqOutcome : std::int32_t {
  kFptqDone = 0,
  kFptqFailed = 1,   // the template is wrong, or does not fit its input
  kFptqRefused = 2,  // it called raise_exception
  kFptqLimit = 3,    // it wants to do more work than a chat template may
};

// context: a JSON object, the variables. wall_clock: the local time for strftime_now, in seconds
// since 1970-01-01 00:00 local. Writes the rendered text, or the reason where there is none.
FptqOutcome fptq_template_render(const FptqTemplate* chat_template, const std::uint8_t* context,
                                 std::size_t size, std::int64_t wall_clock, FptqBytes* text);

struct FptqTaskTemplate;  // a parsed template of an evaluation task

bool fptq_task_template_new(const std::uint8_t* source, std::size_t size, FptqTaskTemplate** value,
                            FptqBytes* error);
void fptq_task_template_free(FptqTaskTemplate* task_template);

// documents: a JSON array of objects, each the variables of one rendering. Writes a JSON array of
// as many results, or the index of the first document that has none and the reason.
FptqOutcome fptq_task_template_render(const FptqTaskTemplate* task_template,
                                      const std::uint8_t* documents, std::size_t size,
                                      std::size_t* index, FptqBytes* text);

struct FptqParquet;  // a Parquet file that is being read

bool fptq_parquet_open(const std::uint8_t* path, std::size_t size, FptqParquet** value,
                       FptqBytes* error);
void fptq_parquet_free(FptqParquet* file);
// What the file's metadata says.
std::uint64_t fptq_parquet_row_count(const FptqParquet* file);
// The next rows as lines of JSON, as many as it takes for that many bytes; none at the end.
bool fptq_parquet_read(FptqParquet* file, std::size_t enough_bytes, FptqBytes* value,
                       FptqBytes* error);

}  // extern "C"
