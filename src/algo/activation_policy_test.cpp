#include "algo/activation_policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace fptq::algo {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

TEST(ActivationPolicy, FollowsThePapersRanges) {
  const ActivationThresholds paper;
  EXPECT_EQ(*choose_activation(0.0, paper), ActivationChoice::kStatic);
  EXPECT_EQ(*choose_activation(15.0, paper), ActivationChoice::kStatic);
  EXPECT_EQ(*choose_activation(std::nextafter(15.0, 16.0), paper),
            ActivationChoice::kEqualizedStatic);
  EXPECT_EQ(*choose_activation(std::nextafter(150.0, 0.0), paper),
            ActivationChoice::kEqualizedStatic);
  EXPECT_EQ(*choose_activation(150.0, paper), ActivationChoice::kDynamic);
  EXPECT_EQ(*choose_activation(2000.0, paper), ActivationChoice::kDynamic);
}

TEST(ActivationPolicy, LeavesNothingToEqualizeBetweenEqualThresholds) {
  EXPECT_EQ(*choose_activation(20.0, {20.0, 20.0}), ActivationChoice::kStatic);
  EXPECT_EQ(*choose_activation(20.5, {20.0, 20.0}), ActivationChoice::kDynamic);
}

TEST(ActivationPolicy, RefusesRangesThatAreNone) {
  for (const double range : {-1.0, kInf, std::nan("")}) {
    const auto choice = choose_activation(range, {});
    ASSERT_FALSE(choice) << range;
    EXPECT_EQ(choice.error().kind, Error::Kind::kInvalidArgument);
  }
  EXPECT_EQ(choose_activation(-1.0, {}).error().message,
            "activation range: expected a finite number >= 0, got -1.000000");
}

TEST(ActivationThresholds, NameTheOneOutOfRange) {
  EXPECT_TRUE(check_thresholds({}));
  EXPECT_TRUE(check_thresholds({3.0, 3.0}));
  EXPECT_EQ(check_thresholds({0.0, 150.0}).error().message,
            "v0: expected a finite number above 0, got 0.000000");
  EXPECT_EQ(check_thresholds({15.0, 14.0}).error().message,
            "v1: expected a finite number of at least v0 = 15.000000, got 14.000000");
  EXPECT_FALSE(check_thresholds({15.0, kInf}));
  EXPECT_FALSE(check_thresholds({std::nan(""), 150.0}));
}

TEST(ActivationChoice, HasANameThatIsReadBack) {
  for (const ActivationChoice choice :
       {ActivationChoice::kStatic, ActivationChoice::kEqualizedStatic,
        ActivationChoice::kDynamic}) {
    EXPECT_EQ(*parse_activation_choice(activation_choice_name(choice)), choice);
  }
  EXPECT_EQ(activation_choice_name(ActivationChoice::kEqualizedStatic), "lae-static");
  EXPECT_EQ(parse_activation_choice("Static").error().message,
            "activation choice: expected static, lae-static or dynamic, got \"Static\"");
}

}  // namespace
}  // namespace fptq::algo
