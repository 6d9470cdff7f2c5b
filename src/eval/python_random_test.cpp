#include "eval/python_random.h"

#include <gtest/gtest.h>

#include <vector>

namespace fptq::eval {
namespace {

using Indices = std::vector<std::size_t>;

// The expected numbers are those of CPython 3.11.

TEST(PythonRandom, DrawsCPythonsBits) {
  PythonRandom random(1234);
  for (const std::uint32_t expected : {4150886329U, 3342196574U, 1892932127U, 501869158U}) {
    EXPECT_EQ(random.bits(), expected);
  }
  PythonRandom zero(0);
  EXPECT_EQ(zero.bits(), 3626764237U);
  EXPECT_EQ(zero.bits(), 1654615998U);
}

TEST(PythonRandom, DrawsCPythonsSamplesFromBothOfItsAlgorithms) {
  PythonRandom random(1234);
  EXPECT_EQ(random.sample(10, 4), (Indices{7, 1, 0, 9}));
  EXPECT_EQ(random.sample(1000, 3), (Indices{932, 965, 961}));
  EXPECT_EQ(random.sample(100, 10), (Indices{74, 4, 85, 88, 10, 12, 98, 45, 30, 2}));
  EXPECT_EQ(random.sample(69, 6), (Indices{3, 2, 44, 61, 59, 19}));
  const Indices many = random.sample(2000, 40);
  EXPECT_EQ(Indices(many.begin(), many.begin() + 5), (Indices{186, 374, 1461, 234, 1731}));
}

TEST(PythonRandom, GoesOnBeyondItsState) {
  PythonRandom random(1234);
  EXPECT_EQ(random.sample(1000, 500).size(), 500U);
  EXPECT_EQ(random.bits(), 2254301621U);
}

TEST(PythonRandom, SamplesNothingAndEverything) {
  PythonRandom random(1);
  EXPECT_EQ(random.sample(5, 0), Indices{});
  EXPECT_EQ(random.sample(1, 1), Indices{0});
}

}  // namespace
}  // namespace fptq::eval
