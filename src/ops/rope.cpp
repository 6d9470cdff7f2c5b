#include "ops/rope.h"

#include <algorithm>
#include <string>

#include "base/check.h"
#include "kernels/rope/dispatch.h"

namespace fptq::ops {
namespace {

// Values below which a piece is not worth handing to another thread: a few microseconds.
constexpr std::size_t kSmallestPiece = std::size_t{1} << 14;

}  // namespace

Result<Rope> Rope::create(std::size_t head_dim, Isa isa) {
  if (head_dim == 0 || head_dim % 2 != 0) {
    return Error{Error::Kind::kUnsupported, "head_dim: expected an even number, got " +
                                                std::to_string(head_dim) +
                                                "; rotary embedding turns pairs of channels"};
  }
  return Rope(head_dim, select_variant(kernels::rope_variants(), isa).run);
}

void Rope::apply(float* x, std::size_t heads, std::span<const std::size_t> positions,
                 const RopeTable& table, ThreadPool& pool) const {
  if (positions.empty()) return;
  const std::size_t last = *std::max_element(positions.begin(), positions.end());
  FPTQ_CHECK(last < table.cos.size() / (head_dim_ / 2), "every position has a row of cosines");
  FPTQ_CHECK(table.sin.size() == table.cos.size(), "as many sines as cosines");
  const std::size_t width = heads * head_dim_;
  const std::size_t grain =
      std::max<std::size_t>(1, kSmallestPiece / std::max<std::size_t>(1, width));
  pool.parallel_for(positions.size(), grain, [&](std::size_t begin, std::size_t end) {
    kernel_({.x = x + begin * width,
             .x_stride = width,
             .tokens = end - begin,
             .heads = heads,
             .head_dim = head_dim_,
             .cos = table.cos.data(),
             .sin = table.sin.data(),
             .positions = positions.data() + begin});
  });
}

}  // namespace fptq::ops
