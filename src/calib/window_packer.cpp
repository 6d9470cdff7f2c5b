#include "calib/window_packer.h"

#include "base/check.h"
#include "calib/boundaries.h"

namespace fptq::calib {

WindowPacker::WindowPacker(const text::SpecialTokens& special, std::size_t tokens,
                           std::size_t wanted)
    : bos_(added_bos(special)),
      eos_(end_of_text(special)),
      body_(tokens - (bos_ ? 1 : 0)),
      wanted_(wanted) {}

void WindowPacker::add_window(std::span<const std::int32_t> ids) {
  FPTQ_CHECK(missing() > 0, "a sequence is missing");
  std::vector<std::int32_t>& sequence = sequences_.emplace_back();
  if (bos_) sequence.push_back(*bos_);
  sequence.insert(sequence.end(), ids.begin(), ids.end());
}

void WindowPacker::add_short(std::span<const std::int32_t> ids) {
  if (!joined_.empty()) {
    if (eos_) joined_.push_back(*eos_);
    if (bos_) joined_.push_back(*bos_);
  }
  joined_.insert(joined_.end(), ids.begin(), ids.end());
  if (joined_.size() < body_) return;
  add_window(std::span(joined_).first(body_));
  joined_.clear();
}

void WindowPacker::add_remainder() {
  if (!sequences_.empty() || joined_.size() + (bos_ ? 1 : 0) < 2) return;
  add_window(joined_);
}

}  // namespace fptq::calib
