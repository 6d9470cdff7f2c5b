// NF4 and FP4 against tensors that bitsandbytes 0.50.2 quantized on a CPU.

#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "algo/table_rounding.h"
#include "io/safetensors.h"
#include "numeric/code_table.h"
#include "support/test_data.h"

namespace fptq {
namespace {

constexpr std::size_t kBlockSize = 64;

struct Case {
  CodeType type;
  std::string name;  // of the file
};

class BitsandbytesGolden : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    FPTQ_REQUIRE_TEST_DATA("golden/formats/bitsandbytes");
    auto opened =
        io::SafetensorsFile::open(testing::test_data_dir() / "golden/formats/bitsandbytes" /
                                  (GetParam().name + ".safetensors"));
    ASSERT_TRUE(opened) << opened.error().message;
    file_.emplace(*std::move(opened));
    values_ = floats("input");
    absmax_.resize((values_.size() + kBlockSize - 1) / kBlockSize);
    algo::block_constants(values_, kBlockSize, absmax_);
  }

  std::vector<float> floats(const std::string& name) { return file_->read(name)->to_f32(); }
  std::vector<std::uint8_t> bytes(const std::string& name) {
    const Tensor tensor = *file_->read(name);
    std::vector<std::uint8_t> copy(tensor.bytes().size());
    std::memcpy(copy.data(), tensor.bytes().data(), copy.size());
    return copy;
  }
  [[nodiscard]] bool nested() const { return bool{file_->read("nested_absmax")}; }

  std::optional<io::SafetensorsFile> file_;
  std::vector<float> values_;
  std::vector<float> absmax_;
};

TEST_P(BitsandbytesGolden, TablesAreEqual) {
  const auto table = code_table(GetParam().type);
  EXPECT_EQ(std::vector<float>(table.begin(), table.end()), floats("quant_map"));
  if (!nested()) return;
  const auto map = dynamic_map();
  EXPECT_EQ(std::vector<float>(map.begin(), map.end()), floats("nested_quant_map"));
}

TEST_P(BitsandbytesGolden, CodesAreEqual) {
  std::vector<std::uint8_t> codes((values_.size() + 1) / 2);
  const QuantArgs weights = table_weights(GetParam().type, kBlockSize, false);
  (void)algo::round_to_table(values_, weights, absmax_, absmax_, codes);
  EXPECT_EQ(bytes("packed"), codes);
}

TEST_P(BitsandbytesGolden, ConstantsAreEqual) {
  if (!nested()) {
    EXPECT_EQ(floats("absmax"), absmax_);
    return;
  }
  const algo::QuantizedConstants constants = algo::quantize_constants(absmax_);
  EXPECT_EQ(bytes("absmax"), constants.codes);
  EXPECT_EQ(floats("nested_absmax"), constants.absmax);
  // torch adds float32 in an order of its own.
  EXPECT_NEAR(floats("nested_offset")[0], constants.offset, constants.offset * 1.2e-7f);
}

TEST_P(BitsandbytesGolden, WeightsAreRestoredEqually) {
  std::vector<float> constants;
  if (nested()) {
    constants = restore_constants(bytes("absmax"), floats("nested_absmax"), dynamic_map(),
                                  floats("nested_offset")[0]);
    EXPECT_EQ(floats("absmax_restored"), constants);
  } else {
    constants = floats("absmax");
  }
  const std::vector<std::uint8_t> codes = bytes("packed");
  const Tensor expected = *file_->read("dequantized");
  const std::vector<float> values = expected.to_f32();
  for (std::size_t i = 0; i < values.size(); ++i) {
    float restored =
        code_table(GetParam().type)[table_code(codes.data(), i)] * constants[i / kBlockSize];
    if (expected.dtype() == DType::kBF16) restored = bf16_to_f32(f32_to_bf16(restored));
    ASSERT_EQ(values[i], restored) << "weight " << i;
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* size : {"64x96", "33x70"}) {
    for (const char* suffix : {"", ".dq"}) {
      all.push_back({CodeType::kNf4, std::string("nf4.") + size + suffix});
      all.push_back({CodeType::kFp4, std::string("fp4.") + size + suffix});
    }
  }
  all.push_back({CodeType::kNf4, "nf4.64x96.bf16"});
  all.push_back({CodeType::kNf4, "nf4.64x96.dq.bf16"});
  return all;
}

struct FileName {
  std::string operator()(const ::testing::TestParamInfo<Case>& file) const {
    std::string name = file.param.name;
    for (char& c : name) c = c == '.' ? '_' : c;
    return name;
  }
};

INSTANTIATE_TEST_SUITE_P(Files, BitsandbytesGolden, ::testing::ValuesIn(cases()), FileName());

}  // namespace
}  // namespace fptq
