// Logits of compressed-tensors' layers with 8-bit activations, and those of the engine, on both
// sides of one oracle (support/fake_quant_llama.h). The library takes steps of max / 127.5 and the
// engine of max / 127, so that their logits cannot be compared directly; that each of them is the
// oracle's function on its own grid can. Provenance: README.md of the test data's folder `golden`.

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "golden/model_fixture.h"
#include "support/fake_quant_llama.h"
#include "support/npy_reader.h"
#include "support/test_data.h"

namespace fptq::testing {
namespace {

// Largest difference allowed between the oracle and float32 arithmetic, as a part of the largest
// |logit|. Reached: 6e-7; an error of 1e-5 in the activations' scale gives 6e-3.
constexpr double kTolerance = 2e-6;

class FakeQuantOracle : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string name = std::string("golden/formats/compressed-tensors/") + GetParam();
    FPTQ_REQUIRE_TEST_DATA(name);
    directory_ = test_data_dir() / name;
    ids_ = read_npy_i32(directory_ / "expected.ids.npy");
    ASSERT_EQ(ids_.size(), 32u);
  }

  [[nodiscard]] std::vector<float> expected(const char* logits) const {
    return read_npy_f32(directory_ / (std::string("expected.logits_") + logits + ".npy"));
  }
  [[nodiscard]] std::vector<float> engine() const {
    auto model = load_model(directory_);
    return model ? all_logits(*model, ids_) : std::vector<float>(ids_.size());
  }

  // The difference as a part of the largest logit.
  OracleAgreement compare(ActivationGrid grid, const std::vector<float>& logits) {
    auto checkpoint = io::open_checkpoint(directory_);
    if (!checkpoint) {
      ADD_FAILURE() << checkpoint.error().message;
      return {.worst = INFINITY};
    }
    FakeQuantLlama oracle(**checkpoint, grid);
    const double largest = max_abs(logits);
    OracleAgreement agreement = compare_with_oracle(oracle, ids_, logits, kTolerance * largest);
    agreement.worst /= largest;
    RecordProperty("worst", std::to_string(agreement.worst * 1e6) + "e-6");
    RecordProperty("flips", std::to_string(agreement.flips));
    RecordProperty("ties", std::to_string(agreement.ties));
    return agreement;
  }

  std::filesystem::path directory_;
  std::vector<std::int32_t> ids_;
};

TEST_P(FakeQuantOracle, WithoutRoundingIsTransformers) {
  const OracleAgreement agreement = compare(ActivationGrid::kNone, expected("dense_weights"));
  EXPECT_LE(agreement.worst, kTolerance);
  EXPECT_EQ(agreement.flips, 0u);
}

// Four ties of w4g32-a8t are rounded the other way: a row's negative extreme lies at -127.5 of the
// library's steps, in the middle between two codes, and the last bit of float32 decides.
TEST_P(FakeQuantOracle, OnTheGridOfTheLibraryHasItsLogits) {
  const OracleAgreement agreement =
      compare(ActivationGrid::kLibrarySymmetric, expected("fake_quant"));
  EXPECT_LE(agreement.worst, kTolerance);
  EXPECT_LE(agreement.flips, 8u) << "of " << agreement.ties << " ties";
}

TEST_P(FakeQuantOracle, OnTheGridOfTheEngineHasItsLogits) {
  const OracleAgreement agreement = compare(ActivationGrid::kSymmetric, engine());
  EXPECT_LE(agreement.worst, kTolerance);
  EXPECT_LE(agreement.flips, 2u) << "of " << agreement.ties << " ties";
}

TEST_P(FakeQuantOracle, TellsTheGridsApart) {
  EXPECT_GE(compare(ActivationGrid::kSymmetric, expected("fake_quant")).worst, 1e-2);
  EXPECT_GE(compare(ActivationGrid::kLibrarySymmetric, engine()).worst, 1e-2);
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, FakeQuantOracle, ::testing::Values("w8c-a8t", "w4g32-a8t"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace fptq::testing
