// The residual stream of all calibration sequences, carried from block to block on disk.

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "model/decoder_block.h"
#include "model/llama_config.h"
#include "ops/embedding.h"

namespace fptq::calib {

// Consecutive rows of the stream that are handled together: whole sequences.
struct SequenceBatch {
  std::size_t first_row;
  std::size_t rows;
  std::vector<std::size_t> lengths;
};

// Cuts sequences of these lengths into batches of at most max_rows rows, or of one longer sequence.
[[nodiscard]] std::vector<SequenceBatch> sequence_batches(std::span<const std::size_t> lengths,
                                                          std::size_t max_rows);

// One model's stream. What enters block `b` lies in a file of its own. What was durable last stays
// until what enters a later block is, so that an interrupted run can be gone on with from there.
//
//   rows  R, of all sequences    D, H, Dh, F as in LlamaConfig
//
// Within a block, in this order, each for all batches: input(kAttention), compute_attention(),
// input(kOutput), add_attention(), input(kMlp), compute_hidden(), input(kDown), add_mlp(),
// finish_block(). Inputs may be asked for as often as wanted until the next step; they depend on
// the block that is handed over.
// The pool's threads copy rows; it outlives the stream.
// Thread safety: sync_entry() and input_rows() may run on other threads; all else one call at a
// time.
class ResidualStream {
 public:
  // A stream before the first block: rows of the embedding.
  //   name   begins the names of the stream's files in `directory`
  //   ids    [R], each in the vocabulary
  // Errors: kLimit where the disk is full, kIo.
  [[nodiscard]] static Result<ResidualStream> create(const std::filesystem::path& directory,
                                                     const std::string& name,
                                                     const model::LlamaConfig& config,
                                                     const ops::Embedding& embedding,
                                                     std::span<const std::int32_t> ids,
                                                     ThreadPool& pool);
  // A stream of `rows` rows that was left before block `layer`. Errors: kNotFound, kFormat, kIo.
  [[nodiscard]] static Result<ResidualStream> resume(const std::filesystem::path& directory,
                                                     const std::string& name,
                                                     const model::LlamaConfig& config,
                                                     std::size_t rows, std::size_t layer,
                                                     ThreadPool& pool);

  // The block that comes next: 0 to num_layers.
  [[nodiscard]] std::size_t layer() const { return layer_; }
  [[nodiscard]] std::size_t rows() const { return rows_; }

  // What the linears of `which` read.  x [batch.rows, K] out
  void input(const model::DecoderBlock& block, const SequenceBatch& batch, model::BlockInput which,
             float* x) const;
  // The same for rows [first_row, first_row + rows) of the stream, on the calling thread; several
  // threads may call it at a time.  x [rows, K] out
  void input_rows(const model::DecoderBlock& block, std::size_t first_row, std::size_t rows,
                  model::BlockInput which, float* x) const;
  // The stream itself, as the step before left it: [batch.rows, D], until the next step.
  [[nodiscard]] const float* residual(const SequenceBatch& batch) const;

  [[nodiscard]] Status compute_attention(model::DecoderBlock& block, const SequenceBatch& batch);
  [[nodiscard]] Status add_attention(model::DecoderBlock& block, const SequenceBatch& batch);
  [[nodiscard]] Status compute_hidden(model::DecoderBlock& block, const SequenceBatch& batch);
  [[nodiscard]] Status add_mlp(model::DecoderBlock& block, const SequenceBatch& batch);
  // After add_attention() of every batch, and after add_mlp() of every batch.
  void attention_is_added() { current_ = Current::kNext; }
  // Goes on to the next block. What entered this one is kept if it is durable; otherwise its file
  // is written anew for what leaves the next block: memory that is there already costs nothing.
  // Errors: kIo.
  [[nodiscard]] Status finish_block();
  // Makes what enters the block survive the machine's end: what resume() finds. Errors: kLimit,
  // kIo.
  [[nodiscard]] Status sync_entry() const;
  // sync_entry() was done, and whatever else is needed to go on from there: gives up what was kept.
  void entry_is_durable();
  // Removes all files of the stream.
  void remove();

  // Bytes on disk that a stream takes at most.
  [[nodiscard]] static std::uint64_t disk_bytes(const model::LlamaConfig& config, std::size_t rows);

 private:
  enum class Current { kEntry, kNext };

  ResidualStream(std::filesystem::path directory, std::string name,
                 const model::LlamaConfig& config, std::size_t rows, ThreadPool& pool)
      : directory_(std::move(directory)),
        name_(std::move(name)),
        width_(config.hidden_size),
        attended_width_(config.q_width()),
        hidden_width_(config.intermediate_size),
        rows_(rows),
        pool_(&pool) {}

  [[nodiscard]] std::size_t input_width(model::BlockInput which) const;
  void forget_kept();
  // Removes what an earlier run left beside what enters the block.
  void remove_other_files() const;
  [[nodiscard]] std::filesystem::path file_of(std::size_t layer) const;
  [[nodiscard]] std::filesystem::path scratch_file(const char* what) const;
  [[nodiscard]] Status make(std::optional<ScratchFile>& file, const std::filesystem::path& path,
                            std::size_t width) const;

  std::filesystem::path directory_;
  std::string name_;
  std::size_t width_;           // D
  std::size_t attended_width_;  // H * Dh
  std::size_t hidden_width_;    // F
  std::size_t rows_;
  ThreadPool* pool_;
  std::size_t layer_ = 0;
  Current current_ = Current::kEntry;
  std::optional<ScratchFile> entry_;  // [R, D] what enters the block
  std::optional<ScratchFile> next_;   // [R, D] the stream behind attention, then behind the block
  std::optional<ScratchFile> kept_;   // [R, D] what entered an earlier block, durable
  bool entry_is_durable_ = false;
  std::optional<ScratchFile> attended_;  // [R, H * Dh]
  std::optional<ScratchFile> hidden_;    // [R, F]
  std::vector<float> x_;  // [batch rows, D], kept so that its memory is not made anew
};

}  // namespace fptq::calib
