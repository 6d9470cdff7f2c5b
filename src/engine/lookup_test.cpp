#include "engine/lookup.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"

namespace fptq::engine {
namespace {

using Ids = std::vector<std::int32_t>;

NgramIndex index_of(const Ids& ids) {
  NgramIndex index;
  for (const std::int32_t id : ids) index.push(id);
  return index;
}

Ids draft_of(const NgramIndex& index, std::size_t count) {
  Ids draft;
  index.append_draft(count, draft);
  return draft;
}

TEST(NgramIndex, FindsNothingInATextWithoutRepetition) {
  EXPECT_EQ(0u, NgramIndex().match_length());
  EXPECT_EQ(0u, index_of({1, 2, 3}).match_length());
}

TEST(NgramIndex, TakesTheLongestNgramThatOccurredBefore) {
  // 3 was followed by 8 last, but 2, 3 by 9.
  const NgramIndex index = index_of({2, 3, 9, 4, 3, 8, 2, 3});
  EXPECT_EQ(2u, index.match_length());
  EXPECT_EQ(9, index.next());
  EXPECT_EQ((Ids{9, 4, 3}), draft_of(index, 3));
}

TEST(NgramIndex, TakesTheLatestOfSeveralOccurrences) {
  EXPECT_EQ(6, index_of({1, 2, 5, 1, 2, 6, 1, 2}).next());
}

TEST(NgramIndex, LooksNoFurtherBackThanItsLongestNgram) {
  EXPECT_EQ(kLongestNgram, index_of({1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6}).match_length());
}

TEST(NgramIndex, DraftsARepetitionBeyondTheEndOfTheText) {
  EXPECT_EQ((Ids{7, 8, 7, 8, 7}), draft_of(index_of({7, 8, 7, 8}), 5));
  EXPECT_EQ((Ids{5, 5, 5, 5}), draft_of(index_of({5, 5, 5}), 4));
}

TEST(NgramIndex, AppendsBehindWhatADraftHoldsAlready) {
  Ids draft = {1, 2};
  index_of({7, 8, 7, 8}).append_draft(3, draft);
  EXPECT_EQ((Ids{1, 2, 7, 8, 7}), draft);
}

TEST(NgramIndex, AgreesWithASearchOfTheWholeText) {
  Rng rng(3);
  NgramIndex index;
  Ids ids;
  for (int i = 0; i < 2000; ++i) {
    ids.push_back(static_cast<std::int32_t>(rng.below(7)));
    index.push(ids.back());
    std::size_t expected_length = 0;
    std::ptrdiff_t expected_end = 0;
    for (std::size_t n = 1; n <= std::min(kLongestNgram, ids.size()); ++n) {
      const auto last = static_cast<std::ptrdiff_t>(n);
      const auto found = std::find_end(ids.begin(), ids.end() - 1, ids.end() - last, ids.end());
      if (found == ids.end() - 1) break;
      expected_length = n;
      expected_end = found - ids.begin() + last;
    }
    ASSERT_EQ(expected_length, index.match_length()) << "after " << i + 1 << " tokens";
    if (expected_length == 0) continue;
    ASSERT_EQ(ids[static_cast<std::size_t>(expected_end)], index.next());
  }
}

TEST(LookupDrafter, NeverDraftsWhereNothingIsAskedFor) {
  LookupDrafter drafter(0);
  drafter.push_prompt(Ids(20, 5));
  drafter.push_generated(5);
  EXPECT_TRUE(drafter.draft(10).empty());
}

TEST(LookupDrafter, DraftsMoreWhereItWasRight) {
  LookupDrafter drafter(8);
  drafter.push_prompt(Ids{1, 2, 3, 1, 2, 3});
  const std::size_t at_first = drafter.draft(100).size();
  EXPECT_GT(at_first, 0u);
  for (int i = 0; i < 30; ++i) drafter.push_generated(1 + i % 3);
  EXPECT_GT(drafter.draft(100).size(), at_first);
  EXPECT_EQ((Ids{1, 2, 3, 1, 2, 3, 1, 2}),
            Ids(drafter.draft(100).begin(), drafter.draft(100).end()));
}

TEST(LookupDrafter, DraftsNoMoreThanThereIsRoomFor) {
  LookupDrafter drafter(8);
  drafter.push_prompt(Ids(20, 5));
  for (int i = 0; i < 30; ++i) drafter.push_generated(5);
  EXPECT_EQ(8u, drafter.draft(100).size());
  EXPECT_EQ(3u, drafter.draft(3).size());
  EXPECT_TRUE(drafter.draft(0).empty());
}

TEST(LookupDrafter, RestsWhileItIsWrongAndWakesWhenItIsRightAgain) {
  LookupDrafter drafter(8);
  Rng rng(4);
  // Every token has occurred, and says nothing about the next one.
  std::size_t drafted = 0;
  for (int i = 0; i < 1000; ++i) {
    drafter.push_generated(static_cast<std::int32_t>(rng.below(50)));
    if (i >= 500) drafted += drafter.draft(100).size();
  }
  EXPECT_LT(drafted, 25u);
  for (int i = 0; i < 60; ++i) drafter.push_generated(100 + i % 5);
  EXPECT_EQ(8u, drafter.draft(100).size());
}

}  // namespace
}  // namespace fptq::engine
