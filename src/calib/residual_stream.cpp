#include "calib/residual_stream.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace fptq::calib {
namespace {

namespace fs = std::filesystem;

// What a thread copies at a time: 128 KiB.
constexpr std::size_t kPieceFloats = std::size_t{1} << 15;

// Copies rows [first_row, first_row + rows) on all threads: move(offset_bytes, first, count) takes
// elements [first, first + count) of them. Returns the first error.
template <typename Move>
Status move_rows(std::size_t first_row, std::size_t rows, std::size_t cols, ThreadPool& pool,
                 const Move& move) {
  const std::size_t grain = std::max<std::size_t>(1, kPieceFloats / std::max<std::size_t>(1, cols));
  std::vector<Status> pieces((rows + grain - 1) / grain);
  pool.parallel_for(rows, grain, [&](std::size_t begin, std::size_t end) {
    pieces[begin / grain] = move(std::uint64_t{first_row + begin} * cols * sizeof(float),
                                 begin * cols, (end - begin) * cols);
  });
  for (Status& piece : pieces) FPTQ_TRY_VOID(std::move(piece));
  return {};
}

Status read_rows(const ScratchFile& file, std::size_t first_row, std::size_t rows, std::size_t cols,
                 ThreadPool& pool, float* out) {
  return move_rows(
      first_row, rows, cols, pool, [&](std::uint64_t offset, std::size_t first, std::size_t count) {
        return file.read_at(offset, std::as_writable_bytes(std::span(out + first, count)));
      });
}

Status write_rows(ScratchFile& file, std::size_t first_row, std::size_t rows, std::size_t cols,
                  ThreadPool& pool, const float* values) {
  return move_rows(first_row, rows, cols, pool,
                   [&](std::uint64_t offset, std::size_t first, std::size_t count) {
                     return file.write_at(offset, std::as_bytes(std::span(values + first, count)));
                   });
}

}  // namespace

std::vector<SequenceBatch> sequence_batches(std::span<const std::size_t> lengths,
                                            std::size_t max_rows) {
  std::vector<SequenceBatch> batches;
  std::size_t row = 0;
  for (const std::size_t length : lengths) {
    if (batches.empty() || batches.back().rows + length > max_rows) {
      batches.push_back({row, 0, {}});
    }
    batches.back().rows += length;
    batches.back().lengths.push_back(length);
    row += length;
  }
  return batches;
}

Result<ResidualStream> ResidualStream::create(const fs::path& directory, const std::string& name,
                                              const model::LlamaConfig& config,
                                              const ops::Embedding& embedding,
                                              std::span<const std::int32_t> ids, ThreadPool& pool) {
  constexpr std::size_t kRowsAtATime = 1024;
  ResidualStream stream(directory, name, config, ids.size(), pool);
  FPTQ_TRY(stream.entry_, ScratchFile::create(stream.file_of(0)));
  std::vector<float> h(kRowsAtATime * stream.width_);
  for (std::size_t row = 0; row < ids.size(); row += kRowsAtATime) {
    const std::size_t count = std::min(kRowsAtATime, ids.size() - row);
    embedding.lookup(ids.subspan(row, count), h.data());
    FPTQ_TRY_VOID(write_rows(*stream.entry_, row, count, stream.width_, pool, h.data()));
  }
  FPTQ_TRY_VOID(stream.entry_->sync());
  return stream;
}

Result<ResidualStream> ResidualStream::resume(const fs::path& directory, const std::string& name,
                                              const model::LlamaConfig& config, std::size_t rows,
                                              std::size_t layer, ThreadPool& pool) {
  ResidualStream stream(directory, name, config, rows, pool);
  stream.layer_ = layer;
  FPTQ_TRY(stream.entry_, ScratchFile::open(stream.file_of(layer),
                                            std::uint64_t{rows} * stream.width_ * sizeof(float)));
  stream.forget_entry();  // whoever was stopped may not have come to it
  return stream;
}

Status ResidualStream::input(model::DecoderBlock& block, const SequenceBatch& batch,
                             model::BlockInput which, float* x) {
  if (which == model::BlockInput::kOutput) {
    FPTQ_CHECK(attended_.has_value(), "attention was computed");
    return read_rows(*attended_, batch.first_row, batch.rows, attended_width_, *pool_, x);
  }
  if (which == model::BlockInput::kDown) {
    FPTQ_CHECK(hidden_.has_value(), "the hidden layer was computed");
    return read_rows(*hidden_, batch.first_row, batch.rows, hidden_width_, *pool_, x);
  }
  h_.resize(batch.rows * width_);
  FPTQ_TRY_VOID(residual(batch, h_.data()));
  if (which == model::BlockInput::kAttention) {
    FPTQ_CHECK(current_ == Current::kEntry, "attention reads what enters the block");
    block.attention_input(h_.data(), batch.rows, x);
    return {};
  }
  FPTQ_CHECK(current_ == Current::kNext, "attention was added");
  block.mlp_input(h_.data(), batch.rows, x);
  return {};
}

Status ResidualStream::residual(const SequenceBatch& batch, float* h) const {
  return read_rows(current_ == Current::kEntry ? *entry_ : *next_, batch.first_row, batch.rows,
                   width_, *pool_, h);
}

Status ResidualStream::compute_attention(model::DecoderBlock& block, const SequenceBatch& batch) {
  if (!attended_) {
    FPTQ_TRY(attended_, ScratchFile::create(scratch_file("attended")));
  }
  x_.resize(batch.rows * width_);
  wide_.resize(batch.rows * attended_width_);
  FPTQ_TRY_VOID(input(block, batch, model::BlockInput::kAttention, x_.data()));
  FPTQ_TRY_VOID(block.attend(x_.data(), batch.lengths, wide_.data()));
  return write_rows(*attended_, batch.first_row, batch.rows, attended_width_, *pool_, wide_.data());
}

Status ResidualStream::add_attention(model::DecoderBlock& block, const SequenceBatch& batch) {
  FPTQ_TRY_VOID(open_next());
  wide_.resize(batch.rows * attended_width_);
  h_.resize(batch.rows * width_);
  FPTQ_TRY_VOID(input(block, batch, model::BlockInput::kOutput, wide_.data()));
  FPTQ_TRY_VOID(read_rows(*entry_, batch.first_row, batch.rows, width_, *pool_, h_.data()));
  block.add_attention(wide_.data(), batch.rows, h_.data());
  return write_rows(*next_, batch.first_row, batch.rows, width_, *pool_, h_.data());
}

Status ResidualStream::compute_hidden(model::DecoderBlock& block, const SequenceBatch& batch) {
  if (!hidden_) {
    FPTQ_TRY(hidden_, ScratchFile::create(scratch_file("hidden")));
  }
  x_.resize(batch.rows * width_);
  wide_.resize(batch.rows * hidden_width_);
  FPTQ_TRY_VOID(input(block, batch, model::BlockInput::kMlp, x_.data()));
  block.mlp_hidden(x_.data(), batch.rows, wide_.data());
  return write_rows(*hidden_, batch.first_row, batch.rows, hidden_width_, *pool_, wide_.data());
}

Status ResidualStream::add_mlp(model::DecoderBlock& block, const SequenceBatch& batch) {
  wide_.resize(batch.rows * hidden_width_);
  h_.resize(batch.rows * width_);
  FPTQ_TRY_VOID(input(block, batch, model::BlockInput::kDown, wide_.data()));
  FPTQ_TRY_VOID(residual(batch, h_.data()));
  block.add_mlp(wide_.data(), batch.rows, h_.data());
  FPTQ_TRY_VOID(write_rows(*next_, batch.first_row, batch.rows, width_, *pool_, h_.data()));
  next_->begin_sync(std::uint64_t{batch.first_row} * width_ * sizeof(float),
                    std::uint64_t{batch.rows} * width_ * sizeof(float));
  return {};
}

Status ResidualStream::finish_block() {
  FPTQ_CHECK(current_ == Current::kNext, "the block was run");
  FPTQ_TRY_VOID(next_->sync());
  entry_ = std::exchange(next_, std::nullopt);
  attended_.reset();
  hidden_.reset();
  ++layer_;
  current_ = Current::kEntry;
  return {};
}

void ResidualStream::forget_entry() {
  std::error_code ignored;
  if (layer_ > 0) fs::remove(file_of(layer_ - 1), ignored);
}

void ResidualStream::remove() {
  std::error_code ignored;
  forget_entry();
  entry_.reset();
  next_.reset();
  attended_.reset();
  hidden_.reset();
  fs::remove(file_of(layer_), ignored);
  fs::remove(file_of(layer_ + 1), ignored);
  for (const char* what : {"attended", "hidden"}) fs::remove(scratch_file(what), ignored);
}

std::uint64_t ResidualStream::disk_bytes(const model::LlamaConfig& config, std::size_t rows) {
  return (2 * std::uint64_t{config.hidden_size} + config.q_width() + config.intermediate_size) *
         rows * sizeof(float);
}

fs::path ResidualStream::file_of(std::size_t layer) const {
  return directory_ / (name_ + "." + std::to_string(layer) + ".f32");
}

fs::path ResidualStream::scratch_file(const char* what) const {
  return directory_ / (name_ + "." + what + ".f32");
}

Status ResidualStream::open_next() {
  if (next_) return {};
  FPTQ_TRY(next_, ScratchFile::create(file_of(layer_ + 1)));
  return {};
}

}  // namespace fptq::calib
