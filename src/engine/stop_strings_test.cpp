#include "engine/stop_strings.h"

#include <gtest/gtest.h>

namespace fptq::engine {
namespace {

TEST(StopStrings, LetTextThroughWhereThereAreNone) {
  StopStrings stops({});
  EXPECT_EQ("anything", stops.push("anything"));
  EXPECT_EQ("", stops.flush());
}

TEST(StopStrings, EndTheTextBeforeAStopStringThatSpansPieces) {
  StopStrings stops({"\nUser:"});
  EXPECT_EQ("Hello", stops.push("Hello\nUs"));
  EXPECT_EQ("", stops.push("e"));
  EXPECT_FALSE(stops.stopped());
  EXPECT_EQ("", stops.push("r: me"));
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ("", stops.push("more"));
  EXPECT_EQ("", stops.flush());
}

TEST(StopStrings, ReleaseWhatTurnsOutNotToBeOne) {
  StopStrings stops({"abc"});
  EXPECT_EQ("", stops.push("ab"));
  EXPECT_EQ("ab", stops.push("ab"));
  EXPECT_EQ("abd", stops.push("d"));
}

TEST(StopStrings, ReleaseAnUnfinishedOneAtTheEnd) {
  StopStrings stops({"abc"});
  EXPECT_EQ("x", stops.push("xab"));
  EXPECT_EQ("ab", stops.flush());
}

TEST(StopStrings, StopAtTheOneThatBeginsFirst) {
  StopStrings stops({"two", "one two"});
  EXPECT_EQ("", stops.push("one two"));
  EXPECT_TRUE(stops.stopped());
}

TEST(StopStrings, FindAStopStringThatOverlapsItsOwnBeginning) {
  StopStrings stops({"aab"});
  EXPECT_EQ("", stops.push("aa"));
  EXPECT_EQ("a", stops.push("ab"));
  EXPECT_TRUE(stops.stopped());
}

}  // namespace
}  // namespace fptq::engine
