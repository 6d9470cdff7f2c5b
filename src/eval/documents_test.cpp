#include "eval/documents.h"

#include <gtest/gtest.h>

namespace fptq::eval {
namespace {

constexpr const char* kWikitext = " \n = A = \n \n one , two \n = B = \n three \n";

TEST(Documents, OfAPlainTextIsTheText) {
  for (const Protocol protocol : {Protocol::kGptq, Protocol::kLlamaCpp, Protocol::kLmEval}) {
    const auto set = make_documents(protocol, DocumentMode::kAuto, "one , two\n", "t");
    ASSERT_TRUE(set);
    EXPECT_EQ(set->mode, DocumentMode::kWhole);
    ASSERT_EQ(set->documents.size(), 1u);
    EXPECT_EQ(set->documents[0].text, "one , two\n");
    EXPECT_EQ(set->documents[0].words, 4u);
    EXPECT_EQ(set->documents[0].bytes, 10u);
  }
}

TEST(Documents, OfWikitextAreWhatEachProtocolMakesOfIt) {
  const auto pages = make_documents(Protocol::kLmEval, DocumentMode::kAuto, kWikitext, "t");
  ASSERT_TRUE(pages);
  EXPECT_EQ(pages->mode, DocumentMode::kWikitext);
  ASSERT_EQ(pages->documents.size(), 2u);
  EXPECT_EQ(pages->documents[0].text, " = A =\n\none, two ");
  EXPECT_EQ(pages->documents[0].bytes, std::string_view(" = A = \n \n one , two ").size());
  EXPECT_EQ(pages->documents[0].words, 8u);

  const auto rows = make_documents(Protocol::kGptq, DocumentMode::kAuto, kWikitext, "t");
  ASSERT_TRUE(rows);
  EXPECT_EQ(rows->documents[0].text,
            "\n\n = A = \n\n\n\n\n one , two \n\n\n = B = \n\n\n three \n");

  const auto raw = make_documents(Protocol::kLlamaCpp, DocumentMode::kAuto, kWikitext, "t");
  ASSERT_TRUE(raw);
  EXPECT_EQ(raw->documents[0].text, kWikitext);
}

TEST(Documents, AreWhatTheUserSaysTheyAre) {
  const auto whole = make_documents(Protocol::kLmEval, DocumentMode::kWhole, kWikitext, "t");
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->documents.size(), 1u);
  const auto pages = make_documents(Protocol::kLmEval, DocumentMode::kWikitext, "one , two", "t");
  ASSERT_TRUE(pages);
  EXPECT_EQ(pages->documents[0].text, "one, two");
}

TEST(DocumentMode, NamesReadBack) {
  for (const DocumentMode mode :
       {DocumentMode::kAuto, DocumentMode::kWhole, DocumentMode::kWikitext}) {
    const auto parsed = parse_document_mode(document_mode_name(mode));
    ASSERT_TRUE(parsed);
    EXPECT_EQ(*parsed, mode);
  }
  EXPECT_EQ(parse_document_mode("pages").error().message,
            "document: expected auto, whole or wikitext, got \"pages\"");
}

}  // namespace
}  // namespace fptq::eval
