#include "quantize/table_writing.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "algo/table_rounding.h"
#include "base/check.h"
#include "base/sha256.h"
#include "numeric/code_table.h"

namespace fptq::quantize {
namespace {

// Weights that are read together, and those that a thread takes at a time: whole blocks of any
// size that there is.
constexpr std::size_t kChunkWeights = std::size_t{1} << 20;
constexpr std::size_t kPieceWeights = std::size_t{1} << 14;

std::span<const std::byte> bytes_of(std::span<const float> values) {
  return std::as_bytes(values);
}

class TableWriter {
 public:
  TableWriter(const TensorPlan& plan, const Tensor& weights, ThreadPool& pool, const ByteSink& sink)
      : plan_(plan), stored_(*plan.table), weights_(weights), pool_(pool), sink_(sink) {}

  Result<TensorOutcome> write(const std::function<Status(std::uint64_t)>& after_block) {
    const QuantArgs& args = *plan_.scheme.weights;
    constants_.resize(stored_.constants());
    FPTQ_TRY_VOID(for_each_chunk(
        [&](std::size_t first, std::size_t count) { return find_constants(first, count); }));
    algo::QuantizedConstants quantized;
    restored_ = constants_;
    if (args.double_quantized) {
      quantized = algo::quantize_constants(constants_);
      restored_ = algo::restored(quantized);
    }
    const auto write_chunk = [&](std::size_t first, std::size_t count) -> Status {
      FPTQ_TRY_VOID(write_codes(first, count));
      return after_block(first + count);
    };
    FPTQ_TRY_VOID(for_each_chunk(write_chunk));
    FPTQ_TRY_VOID(sink_(stored_.absmax, args.double_quantized
                                            ? std::as_bytes(std::span(quantized.codes))
                                            : bytes_of(constants_)));
    FPTQ_TRY_VOID(sink_(stored_.table, bytes_of(code_table(args.type))));
    if (args.double_quantized) {
      FPTQ_TRY_VOID(sink_(*stored_.nested_absmax, bytes_of(quantized.absmax)));
      FPTQ_TRY_VOID(sink_(*stored_.nested_table, bytes_of(dynamic_map())));
    }
    const std::string state = table_state_text(args, plan_.shape[0], plan_.shape[1],
                                               stored_.source_dtype, quantized.offset);
    FPTQ_TRY_VOID(sink_(stored_.state, std::as_bytes(std::span(state))));
    return TensorOutcome{sha256_.finish(), error_};
  }

 private:
  template <typename Body>
  Status for_each_chunk(const Body& body) const {
    for (std::size_t first = 0; first < weights_.elements(); first += kChunkWeights) {
      FPTQ_TRY_VOID(body(first, std::min(kChunkWeights, weights_.elements() - first)));
    }
    return {};
  }

  // Blocks that begin in the piece at `first`, of `count` weights.
  [[nodiscard]] std::span<float> blocks_of(std::vector<float>& constants, std::size_t first,
                                           std::size_t count) const {
    const std::size_t size = plan_.scheme.weights->group_size;
    return std::span(constants).subspan(first / size, (count + size - 1) / size);
  }

  // Calls body(piece, first, values) for every piece of the chunk on all threads.
  template <typename Body>
  void for_each_piece(std::size_t first, std::size_t count, const Body& body) const {
    const std::size_t pieces = (count + kPieceWeights - 1) / kPieceWeights;
    pool_.parallel_for(pieces, 1, [&](std::size_t begin, std::size_t end) {
      std::vector<float> values;
      for (std::size_t piece = begin; piece < end; ++piece) {
        const std::size_t offset = piece * kPieceWeights;
        values.resize(std::min(kPieceWeights, count - offset));
        weights_.read_f32(first + offset, values.size(), values.data());
        body(piece, offset, std::span<const float>(values));
      }
    });
  }

  Status find_constants(std::size_t first, std::size_t count) {
    const std::size_t source_bytes = dtype_bytes(weights_.dtype());
    sha256_.update(weights_.bytes().subspan(first * source_bytes, count * source_bytes));
    std::vector<std::uint8_t> damaged((count + kPieceWeights - 1) / kPieceWeights, 0);
    for_each_piece(first, count,
                   [&](std::size_t piece, std::size_t offset, std::span<const float> values) {
                     if (!all_finite(values)) {
                       damaged[piece] = 1;
                       return;
                     }
                     algo::block_constants(values, plan_.scheme.weights->group_size,
                                           blocks_of(constants_, first + offset, values.size()));
                   });
    const auto bad = std::find(damaged.begin(), damaged.end(), std::uint8_t{1});
    if (bad == damaged.end()) return {};
    const std::size_t offset = static_cast<std::size_t>(bad - damaged.begin()) * kPieceWeights;
    std::vector<float> values(std::min(kPieceWeights, count - offset));
    weights_.read_f32(first + offset, values.size(), values.data());
    return not_finite(plan_, values, first + offset);
  }

  Status write_codes(std::size_t first, std::size_t count) {
    std::vector<std::uint8_t> codes((count + 1) / 2);
    std::vector<algo::RoundingError> errors((count + kPieceWeights - 1) / kPieceWeights);
    for_each_piece(
        first, count, [&](std::size_t piece, std::size_t offset, std::span<const float> values) {
          errors[piece] = algo::round_to_table(
              values, *plan_.scheme.weights, blocks_of(constants_, first + offset, values.size()),
              blocks_of(restored_, first + offset, values.size()),
              std::span(codes).subspan(offset / 2, (values.size() + 1) / 2));
        });
    for (const algo::RoundingError& error : errors) error_.add(error);
    return sink_(stored_.codes, std::as_bytes(std::span(codes)));
  }

  const TensorPlan& plan_;
  const StoredTable& stored_;
  const Tensor& weights_;
  ThreadPool& pool_;
  const ByteSink& sink_;
  Sha256 sha256_;
  algo::RoundingError error_;
  std::vector<float> constants_;  // [B], of the blocks
  std::vector<float> restored_;   // [B], what they will be read as
};

}  // namespace

std::uint64_t table_working_bytes(const TensorPlan& plan) {
  // Codes of a chunk; of each constant two floats and a code; a piece for each of many threads.
  constexpr std::uint64_t kThreads = 64;
  return kChunkWeights / 2 + std::uint64_t{plan.table->constants()} * (2 * sizeof(float) + 1) +
         kThreads * kPieceWeights * sizeof(float);
}

Result<TensorOutcome> write_table(const TensorPlan& plan, const Tensor& weights, ThreadPool& pool,
                                  const ByteSink& sink,
                                  const std::function<Status(std::uint64_t)>& after_block) {
  FPTQ_CHECK(plan.table.has_value(), "a tensor that becomes codes of a table");
  return TableWriter(plan, weights, pool, sink).write(after_block);
}

}  // namespace fptq::quantize
