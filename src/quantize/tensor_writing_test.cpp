#include "quantize/tensor_writing.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "quantize/test_tensors.h"

namespace fptq::quantize {
namespace {

using Written = std::map<std::string, std::vector<std::byte>>;

Status keep_going(std::uint64_t /*elements_done*/) {
  return {};
}

ByteSink into(Written& written) {
  return [&written](const io::TensorSpec& tensor, std::span<const std::byte> bytes) -> Status {
    auto& all = written[tensor.name];
    all.insert(all.end(), bytes.begin(), bytes.end());
    return {};
  };
}

TensorPlan quantized_plan(std::size_t rows, std::size_t cols, const QuantArgs& args,
                          DType scale_dtype) {
  TensorPlan plan;
  plan.source = "m.weight";
  plan.module = "m";
  plan.shape = {rows, cols};
  plan.scheme.weights = args;
  plan.quantized = stored_module("m", Scheme{args, std::nullopt}, rows, cols, scale_dtype);
  return plan;
}

Result<TensorOutcome> write(const TensorPlan& plan, const Tensor& weights, Written& written,
                            std::size_t threads = 1) {
  ThreadPool pool(threads);
  return write_tensor(plan, weights, {}, pool, into(written), keep_going);
}

// The obvious way: the whole matrix at once, nibble by nibble.
Written expected_output(const TensorPlan& plan, const std::vector<float>& values) {
  const QuantizedMatrix matrix = round_to_nearest(
      values, plan.shape[0], plan.shape[1], *plan.scheme.weights, plan.quantized->scales.dtype);
  Written written;
  const auto put = [](std::vector<std::byte>& bytes, std::size_t nibble, int code) {
    bytes[nibble / 2] |= static_cast<std::byte>((code + 8) << (nibble % 2 == 0 ? 0 : 4));
  };
  const std::size_t rows = matrix.rows;
  const std::size_t cols = matrix.cols;
  const std::size_t groups = matrix.groups();
  auto& codes = written[plan.quantized->codes.name];
  codes.resize(spec_bytes(plan.quantized->codes));
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t col = 0; col < cols; ++col) {
      const std::int8_t code = matrix.codes[row * cols + col];
      if (plan.scheme.weights->num_bits == 8) {
        codes[row * cols + col] = static_cast<std::byte>(code);
      } else {
        put(codes, row * packed_row_bytes(cols) * 2 + col, code);
      }
    }
  }
  auto& scales = written[plan.quantized->scales.name];
  for (const float scale : matrix.scales) {
    const std::uint16_t bits = f32_to_f16(scale);
    scales.push_back(static_cast<std::byte>(bits & 0xFF));
    scales.push_back(static_cast<std::byte>(bits >> 8));
  }
  if (plan.quantized->zero_points) {
    auto& zero_points = written[plan.quantized->zero_points->name];
    zero_points.resize(spec_bytes(*plan.quantized->zero_points));
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t group = 0; group < groups; ++group) {
        const std::int8_t zero = matrix.zero_points[row * groups + group];
        zero_points[row * groups + group] = static_cast<std::byte>(zero);
      }
    }
  }
  if (plan.quantized->shape) {
    auto& shape = written[plan.quantized->shape->name];
    shape.resize(16);
    const std::array<std::uint64_t, 2> axes = {rows, cols};
    std::memcpy(shape.data(), axes.data(), 16);
  }
  return written;
}

// The scheme of the weights by name.
class WriteTensor : public ::testing::TestWithParam<const char*> {};

// 70000 columns make blocks of 8 rows, so 18 rows take three blocks, the last of 2.
TEST_P(WriteTensor, WritesWhatTheWholeMatrixRoundsToWhateverTheThreads) {
  const QuantArgs args = *parse_scheme(GetParam())->weights;
  for (const auto& [rows, cols] :
       {std::pair<std::size_t, std::size_t>{13, 72}, std::pair<std::size_t, std::size_t>{1, 1},
        std::pair<std::size_t, std::size_t>{18, 70000}}) {
    const TensorPlan plan = quantized_plan(rows, cols, args, DType::kF16);
    const std::vector<float> values = random_weights(rows * cols, 5);
    const Tensor weights = make_tensor(DType::kF32, plan.shape, values);
    const Written expected = expected_output(plan, values);
    for (const std::size_t threads : {1U, 3U}) {
      Written written;
      const auto outcome = write(plan, weights, written, threads);
      ASSERT_TRUE(outcome) << outcome.error().message;
      EXPECT_TRUE(written == expected) << rows << " x " << cols << ", " << threads << " threads";
      EXPECT_EQ(outcome->source_sha256, sha256_hex(weights.bytes()));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Schemes, WriteTensor,
                         ::testing::Values("w4g32", "w4c", "w8c", "w8g64-asym"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(WriteTensorErrors, NameTheElementThatIsNotFinite) {
  const TensorPlan plan =
      quantized_plan(9, 40, int_weights(4, Strategy::kGroup, 32, false), DType::kF16);
  std::vector<float> values = random_weights(9 * 40, 5);
  values[7 * 40 + 3] = std::numeric_limits<float>::quiet_NaN();
  values[8 * 40 + 1] = std::numeric_limits<float>::infinity();
  Written written;
  const auto outcome = write(plan, make_tensor(DType::kF32, plan.shape, values), written, 2);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, Error::Kind::kFormat);
  EXPECT_EQ(outcome.error().message,
            "tensor \"m.weight\": element [7, 3]: expected a finite number, got nan. The "
            "checkpoint is damaged");
}

TEST(WriteTensorErrors, NameAnInfinityInAKeptTensor) {
  TensorPlan plan;
  plan.source = "norm";
  plan.shape = {3};
  plan.stored = io::TensorSpec{"norm", DType::kBF16, {3}};
  Written written;
  const auto outcome =
      write(plan, make_tensor(DType::kBF16, {3}, {1, -std::numeric_limits<float>::infinity(), 2}),
            written);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().message,
            "tensor \"norm\": element [1]: expected a finite number, got -inf. The checkpoint is "
            "damaged");
}

TEST(WriteTensorErrors, RefuseToCastWhatDoesNotFit) {
  TensorPlan plan;
  plan.source = "m.weight";
  plan.shape = {1, 2};
  plan.stored = io::TensorSpec{"m.weight", DType::kF16, {1, 2}};
  Written written;
  const auto outcome = write(plan, make_tensor(DType::kF32, {1, 2}, {1.0f, 1e6f}), written);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, Error::Kind::kUnsupported);
  EXPECT_EQ(outcome.error().message,
            "tensor \"m.weight\": element [0, 1]: 1000000.000000 does not fit F16. Keep the "
            "tensor as it is, or choose BF16");
}

TEST(WriteTensorKept, CopiesBytesAndCastsValues) {
  const std::vector<float> values = {1.0f, 1.00390625f, -3.0f};  // 1 + 2^-8 is not a bfloat16
  TensorPlan plan;
  plan.source = "n";
  plan.shape = {3};
  plan.stored = io::TensorSpec{"n", DType::kF32, {3}};
  const Tensor weights = make_tensor(DType::kF32, {3}, values);
  Written written;
  ASSERT_TRUE(write(plan, weights, written));
  EXPECT_TRUE(std::equal(weights.bytes().begin(), weights.bytes().end(), written["n"].begin()));
  plan.stored->dtype = DType::kBF16;
  written.clear();
  const auto outcome = write(plan, weights, written);
  ASSERT_TRUE(outcome);
  const Tensor expected = make_tensor(DType::kBF16, {3}, values);
  EXPECT_TRUE(std::equal(expected.bytes().begin(), expected.bytes().end(), written["n"].begin()));
  EXPECT_EQ(outcome->error.largest_error, 0x1p-8);
}

TEST(WriteTensorErrors, ComeFromTheSinkAndTheCaller) {
  const TensorPlan plan =
      quantized_plan(8, 8, int_weights(8, Strategy::kChannel, 0, true), DType::kF16);
  const Tensor weights = make_tensor(DType::kF32, plan.shape, random_weights(64, 1));
  ThreadPool pool(1);
  const auto full = [](const io::TensorSpec&, std::span<const std::byte>) -> Status {
    return Error{Error::Kind::kLimit, "disk full"};
  };
  const auto refused = write_tensor(plan, weights, {}, pool, full, keep_going);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "disk full");
  Written written;
  const auto stopped =
      write_tensor(plan, weights, {}, pool, into(written), [](std::uint64_t) -> Status {
        return Error{Error::Kind::kInterrupted, "stop"};
      });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().kind, Error::Kind::kInterrupted);
}

}  // namespace
}  // namespace fptq::quantize
