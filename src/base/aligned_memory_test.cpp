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

TEST(HugePageArena, GivesDisjointZerosOnCacheLines) {
  HugePageArena arena;
  EXPECT_EQ(nullptr, arena.allocate(0));
  std::vector<std::shared_ptr<std::byte>> arrays;
  std::vector<std::size_t> sizes;
  // Some share a chunk, some begin a new one, some are too large for one.
  for (int i = 0; i < 3; ++i) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{65}, kHugePageBytes + 1,
                                   14 * kHugePageBytes, 40 * kHugePageBytes}) {
      sizes.push_back(size);
      arrays.push_back(arena.allocate(size));
      SCOPED_TRACE(size);
      ASSERT_NE(nullptr, arrays.back());
      std::byte* const bytes = arrays.back().get();
      EXPECT_EQ(0u, reinterpret_cast<std::uintptr_t>(bytes) % 64);
      EXPECT_TRUE(std::all_of(bytes, bytes + size, [](std::byte b) { return b == std::byte{0}; }));
      std::fill(bytes, bytes + size, static_cast<std::byte>(arrays.size()));
    }
  }
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    EXPECT_TRUE(std::all_of(arrays[i].get(), arrays[i].get() + sizes[i],
                            [&](std::byte b) { return b == static_cast<std::byte>(i + 1); }))
        << "array " << i;
  }
}

TEST(HugePageArena, ArraysOutliveTheArenaAndEachOther) {
  std::shared_ptr<std::byte> kept;
  {
    HugePageArena arena;
    const auto first = arena.allocate(1000);
    kept = arena.allocate(1000);
    std::fill(kept.get(), kept.get() + 1000, std::byte{7});
  }
  EXPECT_TRUE(
      std::all_of(kept.get(), kept.get() + 1000, [](std::byte b) { return b == std::byte{7}; }));
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
