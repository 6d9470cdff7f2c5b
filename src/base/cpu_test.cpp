#include "base/cpu.h"

#include <gtest/gtest.h>

#include <array>

namespace fptq {
namespace {

struct FakeVariant {
  std::string_view name;
  Isa isa;
};

TEST(Isa, ScalarRunsEverywhereAndTheBestIsSupported) {
  EXPECT_TRUE(cpu_supports(Isa::kScalar));
  EXPECT_TRUE(cpu_supports(best_isa()));
}

TEST(Isa, FamiliesContainWhatTheirNamesPromise) {
  EXPECT_TRUE(isa_includes(Isa::kAvx512Vnni, Isa::kAvx2));
  EXPECT_TRUE(isa_includes(Isa::kAmx, Isa::kAvx512Vnni));
  EXPECT_TRUE(isa_includes(Isa::kAmx, Isa::kAvx2));
  EXPECT_TRUE(isa_includes(Isa::kAvxVnni, Isa::kAvx2));
  EXPECT_TRUE(isa_includes(Isa::kI8mm, Isa::kNeon));
  EXPECT_TRUE(isa_includes(Isa::kAvx2, Isa::kScalar));
  EXPECT_FALSE(isa_includes(Isa::kAvx2, Isa::kAvx512Vnni));
  EXPECT_FALSE(isa_includes(Isa::kAvx512Vnni, Isa::kAvxVnni));
  EXPECT_FALSE(isa_includes(Isa::kAvx512Vnni, Isa::kAmx));
  EXPECT_FALSE(isa_includes(Isa::kAmx, Isa::kAvxVnni));
  EXPECT_FALSE(isa_includes(Isa::kScalar, Isa::kNeon));
}

TEST(Isa, SelectsTheFirstVariantThatTheFamilyContains) {
  constexpr std::array<FakeVariant, 3> kVariants = {
      {{"fast", Isa::kAvx512Vnni}, {"medium", Isa::kAvx2}, {"slow", Isa::kScalar}}};
  const std::span<const FakeVariant> variants(kVariants);
  EXPECT_EQ("fast", select_variant(variants, Isa::kAvx512Vnni).name);
  EXPECT_EQ("medium", select_variant(variants, Isa::kAvxVnni).name);
  EXPECT_EQ("medium", select_variant(variants, Isa::kAvx2).name);
  EXPECT_EQ("slow", select_variant(variants, Isa::kNeon).name);
}

TEST(ParseIsa, ReadsTheNameOfTheBestFamilyBack) {
  const auto isa = parse_isa(isa_name(best_isa()));
  ASSERT_TRUE(isa);
  EXPECT_EQ(best_isa(), *isa);
}

TEST(ParseIsa, ListsTheNamesItKnows) {
  const auto isa = parse_isa("sse9");
  ASSERT_FALSE(isa);
  EXPECT_EQ(Error::Kind::kInvalidArgument, isa.error().kind);
  EXPECT_EQ("--isa: expected scalar, avx2, avxvnni, avx512vnni, amx, neon or i8mm, got \"sse9\"",
            isa.error().message);
}

TEST(ParseIsa, SaysWhatThisCpuHasInsteadOfAFamilyItLacks) {
#if defined(__x86_64__)
  const auto isa = parse_isa("neon");
  const std::string name = "neon";
#else
  const auto isa = parse_isa("avx2");
  const std::string name = "avx2";
#endif
  ASSERT_FALSE(isa);
  EXPECT_EQ(Error::Kind::kUnsupported, isa.error().kind);
  EXPECT_EQ("--isa " + name + ": this CPU (" + cpu_name() + ") has " +
                std::string(isa_name(best_isa())) + " at best",
            isa.error().message);
}

TEST(Cpu, AnUncachedBufferIsTwiceTheLargestCacheWithinBounds) {
  const std::size_t cache = largest_cache_bytes();
  const std::size_t buffer = uncached_buffer_bytes();
  EXPECT_GE(buffer, std::size_t{256} << 20);
  EXPECT_LE(buffer, std::size_t{1} << 30);
  EXPECT_TRUE(buffer >= 2 * cache || buffer == std::size_t{1} << 30);
  EXPECT_EQ(0U, buffer % 4096);
}

}  // namespace
}  // namespace fptq
