#include "eval/logits_source.h"

#include <algorithm>

#include "base/check.h"

namespace fptq::eval {
namespace {

constexpr std::size_t kLogitsBytes = std::size_t{64} << 20;
constexpr std::size_t kMostRows = 512;

}  // namespace

std::size_t logits_rows_at_a_time(std::size_t vocabulary) {
  return std::clamp<std::size_t>(kLogitsBytes / (vocabulary * sizeof(float)), 1, kMostRows);
}

std::size_t WindowReader::rows_at_a_time() const {
  return logits_rows_at_a_time(source_->vocabulary());
}

Status WindowReader::open(std::span<const TokenId> tokens, std::size_t first_scored) {
  FPTQ_CHECK(first_scored >= 1 && first_scored < tokens.size(), "a window scores a token");
  tokens_ = tokens;
  FPTQ_TRY_VOID(source_->begin(tokens.size() - 1));
  const std::size_t unscored = first_scored - 1;
  for (position_ = 0; position_ < unscored;) {
    const std::size_t count = std::min(kMostRows, unscored - position_);
    FPTQ_TRY_VOID(source_->append(tokens_.subspan(position_, count), {}));
    position_ += count;
  }
  return {};
}

Result<std::span<const float>> WindowReader::read(std::size_t rows) {
  FPTQ_CHECK(rows >= 1 && rows <= rows_at_a_time() && position_ + rows < tokens_.size(),
             "rows that the window still has");
  logits_.resize(rows * source_->vocabulary());
  FPTQ_TRY_VOID(source_->append(tokens_.subspan(position_, rows), logits_));
  position_ += rows;
  return std::span<const float>(logits_);
}

}  // namespace fptq::eval
