#include "calib/residual_stream.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace fptq::calib {
namespace {

namespace fs = std::filesystem;

// What a thread copies at a time: 128 KiB.
constexpr std::size_t kPieceFloats = std::size_t{1} << 15;

void copy(const float* from, std::size_t count, ThreadPool& pool, float* to) {
  pool.parallel_for(count, kPieceFloats, [&](std::size_t begin, std::size_t end) {
    std::copy(from + begin, from + end, to + begin);
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
  FPTQ_TRY_VOID(stream.make(stream.entry_, stream.file_of(0), stream.width_));
  pool.parallel_for(ids.size(), kRowsAtATime, [&](std::size_t begin, std::size_t end) {
    embedding.lookup(ids.subspan(begin, end - begin),
                     stream.entry_->floats() + begin * stream.width_);
  });
  return stream;
}

Result<ResidualStream> ResidualStream::resume(const fs::path& directory, const std::string& name,
                                              const model::LlamaConfig& config, std::size_t rows,
                                              std::size_t layer, ThreadPool& pool) {
  ResidualStream stream(directory, name, config, rows, pool);
  stream.layer_ = layer;
  FPTQ_TRY(stream.entry_, ScratchFile::open(stream.file_of(layer),
                                            std::uint64_t{rows} * stream.width_ * sizeof(float)));
  stream.entry_is_durable_ = true;
  stream.remove_other_files();
  return stream;
}

void ResidualStream::input(const model::DecoderBlock& block, const SequenceBatch& batch,
                           model::BlockInput which, float* x) const {
  constexpr std::size_t kRowsAtATime = 64;
  const std::size_t width = input_width(which);
  pool_->parallel_for(batch.rows, kRowsAtATime, [&](std::size_t begin, std::size_t end) {
    input_rows(block, batch.first_row + begin, end - begin, which, x + begin * width);
  });
}

void ResidualStream::input_rows(const model::DecoderBlock& block, std::size_t first_row,
                                std::size_t rows, model::BlockInput which, float* x) const {
  const std::size_t width = input_width(which);
  switch (which) {
    case model::BlockInput::kAttention:
      FPTQ_CHECK(current_ == Current::kEntry, "attention reads what enters the block");
      return block.attention_norm().normalize(entry_->floats() + first_row * width, rows, x);
    case model::BlockInput::kOutput:
      FPTQ_CHECK(attended_.has_value(), "attention was computed");
      std::copy_n(attended_->floats() + first_row * width, rows * width, x);
      return;
    case model::BlockInput::kMlp:
      FPTQ_CHECK(current_ == Current::kNext, "attention was added");
      return block.mlp_norm().normalize(next_->floats() + first_row * width, rows, x);
    case model::BlockInput::kDown:
      break;
  }
  FPTQ_CHECK(hidden_.has_value(), "the hidden layer was computed");
  std::copy_n(hidden_->floats() + first_row * width, rows * width, x);
}

std::size_t ResidualStream::input_width(model::BlockInput which) const {
  if (which == model::BlockInput::kOutput) return attended_width_;
  return which == model::BlockInput::kDown ? hidden_width_ : width_;
}

const float* ResidualStream::residual(const SequenceBatch& batch) const {
  const ScratchFile& file = current_ == Current::kEntry ? *entry_ : *next_;
  return file.floats() + batch.first_row * width_;
}

Status ResidualStream::compute_attention(model::DecoderBlock& block, const SequenceBatch& batch) {
  FPTQ_TRY_VOID(make(attended_, scratch_file("attended"), attended_width_));
  x_.resize(batch.rows * width_);
  input(block, batch, model::BlockInput::kAttention, x_.data());
  return block.attend(x_.data(), batch.lengths,
                      attended_->floats() + batch.first_row * attended_width_);
}

Status ResidualStream::add_attention(model::DecoderBlock& block, const SequenceBatch& batch) {
  FPTQ_TRY_VOID(make(next_, file_of(layer_ + 1), width_));
  float* h = next_->floats() + batch.first_row * width_;
  copy(residual(batch), batch.rows * width_, *pool_, h);
  block.add_attention(attended_->floats() + batch.first_row * attended_width_, batch.rows, h);
  return {};
}

Status ResidualStream::compute_hidden(model::DecoderBlock& block, const SequenceBatch& batch) {
  FPTQ_TRY_VOID(make(hidden_, scratch_file("hidden"), hidden_width_));
  x_.resize(batch.rows * width_);
  input(block, batch, model::BlockInput::kMlp, x_.data());
  block.mlp_hidden(x_.data(), batch.rows, hidden_->floats() + batch.first_row * hidden_width_);
  return {};
}

Status ResidualStream::add_mlp(model::DecoderBlock& block, const SequenceBatch& batch) {
  block.add_mlp(hidden_->floats() + batch.first_row * hidden_width_, batch.rows,
                next_->floats() + batch.first_row * width_);
  return {};
}

Status ResidualStream::finish_block() {
  FPTQ_CHECK(current_ == Current::kNext, "the block was run");
  std::optional<ScratchFile> old = std::exchange(entry_, std::exchange(next_, std::nullopt));
  ++layer_;
  current_ = Current::kEntry;
  if (std::exchange(entry_is_durable_, false)) {
    kept_ = std::move(old);
    return {};
  }
  FPTQ_TRY_VOID(old->rename(file_of(layer_ + 1)));
  next_ = std::move(old);
  return {};
}

Status ResidualStream::sync_entry() const {
  return entry_->sync();
}

void ResidualStream::entry_is_durable() {
  entry_is_durable_ = true;
  forget_kept();
}

void ResidualStream::forget_kept() {
  std::error_code ignored;
  if (kept_) fs::remove(kept_->path(), ignored);
  kept_.reset();
}

void ResidualStream::remove_other_files() const {
  std::error_code ignored;
  for (const fs::directory_entry& file : fs::directory_iterator(directory_, ignored)) {
    const bool ours = file.path().filename().string().starts_with(name_ + ".");
    if (ours && file.path() != file_of(layer_)) fs::remove(file.path(), ignored);
  }
}

void ResidualStream::remove() {
  std::error_code ignored;
  forget_kept();
  entry_.reset();
  next_.reset();
  attended_.reset();
  hidden_.reset();
  fs::remove(file_of(layer_), ignored);
  fs::remove(file_of(layer_ + 1), ignored);
  for (const char* what : {"attended", "hidden"}) fs::remove(scratch_file(what), ignored);
}

std::uint64_t ResidualStream::disk_bytes(const model::LlamaConfig& config, std::size_t rows) {
  return (3 * std::uint64_t{config.hidden_size} + config.q_width() + config.intermediate_size) *
         rows * sizeof(float);
}

fs::path ResidualStream::file_of(std::size_t layer) const {
  return directory_ / (name_ + "." + std::to_string(layer) + ".f32");
}

fs::path ResidualStream::scratch_file(const char* what) const {
  return directory_ / (name_ + "." + what + ".f32");
}

// A file of rows, where there is none yet. Those that lie within a block serve all blocks.
Status ResidualStream::make(std::optional<ScratchFile>& file, const fs::path& path,
                            std::size_t width) const {
  if (file) return {};
  FPTQ_TRY(file, ScratchFile::create(path, std::uint64_t{rows_} * width * sizeof(float)));
  return {};
}

}  // namespace fptq::calib
