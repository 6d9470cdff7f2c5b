#include "base/aligned_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace fptq {
namespace {

TEST(AllocateZeroed, GivesZerosOnACacheLineForEverySize) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{63}, std::size_t{4097},
                                 kHugePageBytes - 1, kHugePageBytes, 2 * kHugePageBytes + 4095}) {
    SCOPED_TRACE(size);
    const auto bytes = allocate_zeroed(size);
    ASSERT_NE(nullptr, bytes);
    EXPECT_EQ(0u, reinterpret_cast<std::uintptr_t>(bytes.get()) % 64);
    EXPECT_TRUE(std::all_of(bytes.get(), bytes.get() + size,
                            [](std::byte b) { return b == std::byte{0}; }));
    std::fill(bytes.get(), bytes.get() + size, std::byte{1});  // all of it can be written
  }
}

TEST(AllocateZeroed, GivesNothingForNoBytesAndForMoreThanCanBeAddressed) {
  EXPECT_EQ(nullptr, allocate_zeroed(0));
  EXPECT_EQ(nullptr, allocate_zeroed(std::numeric_limits<std::size_t>::max()));
  EXPECT_EQ(nullptr, allocate_zeroed(std::numeric_limits<std::size_t>::max() / 2));
}

TEST(HugePageAllocator, LetsAVectorGrowAndShrink) {
  std::vector<float, HugePageAllocator<float>> values(3, 1.0f);
  values.resize(kHugePageBytes, 2.0f);
  EXPECT_EQ(1.0f, values[2]);
  EXPECT_EQ(2.0f, values.back());
  values.resize(5);
  values.shrink_to_fit();
  EXPECT_EQ((std::vector<float, HugePageAllocator<float>>{1.0f, 1.0f, 1.0f, 2.0f, 2.0f}), values);
}

}  // namespace
}  // namespace fptq
