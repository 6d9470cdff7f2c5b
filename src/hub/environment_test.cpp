#include "hub/environment.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/file.h"
#include "support/temporary_directory.h"

namespace fptq::hub {
namespace {

class HubEnvironment : public fptq::testing::TemporaryDirectoryTest {
 protected:
  void SetUp() override {
    TemporaryDirectoryTest::SetUp();
    clear();
    set("HF_HOME", root_.string());
  }
  void TearDown() override {
    clear();
    TemporaryDirectoryTest::TearDown();
  }

  static void set(const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); }
  static void clear() {
    for (const char* name :
         {"HF_HOME", "HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH",
          "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DOWNLOAD_TIMEOUT",
          "HF_HUB_ETAG_TIMEOUT", "FPTQ_HUB_RETRY_MS", "HF_HUB_DISABLE_IMPLICIT_TOKEN"}) {
      ::unsetenv(name);
    }
  }
  static Environment read() {
    const auto environment = read_environment();
    EXPECT_TRUE(environment) << environment.error().message;
    return environment ? *environment : Environment{};
  }
  static std::string error() {
    const auto environment = read_environment();
    if (environment) return "no error";
    EXPECT_EQ(Error::Kind::kInvalidArgument, environment.error().kind);
    return environment.error().message;
  }
};

TEST_F(HubEnvironment, HasTheDefaultsOfOtherClients) {
  const Environment environment = read();
  EXPECT_EQ("https://huggingface.co", environment.endpoint);
  EXPECT_EQ("", environment.token);
  EXPECT_FALSE(environment.offline);
  EXPECT_EQ(10, environment.download_timeout_s);
  EXPECT_EQ(10, environment.metadata_timeout_s);
}

TEST_F(HubEnvironment, ReadsWhatIsSet) {
  set("HF_ENDPOINT", "http://localhost:8000//");
  set("HF_HUB_OFFLINE", "yes");
  set("HF_HUB_DOWNLOAD_TIMEOUT", "33");
  set("HF_HUB_ETAG_TIMEOUT", "44");
  const Environment environment = read();
  EXPECT_EQ("http://localhost:8000", environment.endpoint);
  EXPECT_TRUE(environment.offline);
  EXPECT_EQ(33, environment.download_timeout_s);
  EXPECT_EQ(44, environment.metadata_timeout_s);
}

TEST_F(HubEnvironment, LooksForTheTokenInOrder) {
  ASSERT_TRUE(write_text_file(root_ / "token", "hf_file\n"));
  EXPECT_EQ("hf_file", read().token);
  ASSERT_TRUE(write_text_file(root_ / "other", " hf_other "));
  set("HF_TOKEN_PATH", (root_ / "other").string());
  EXPECT_EQ("hf_other", read().token);
  set("HUGGING_FACE_HUB_TOKEN", "hf_old");
  EXPECT_EQ("hf_old", read().token);
  set("HF_TOKEN", "hf_new\n");
  EXPECT_EQ("hf_new", read().token);
  set("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
  EXPECT_EQ("", read().token);
}

TEST_F(HubEnvironment, NamesTheVariableThatMakesNoSense) {
  set("HF_HUB_DOWNLOAD_TIMEOUT", "0");
  EXPECT_EQ("HF_HUB_DOWNLOAD_TIMEOUT: expected a whole number from 1 on, got 0", error());
  set("HF_TOKEN", "two words");
  EXPECT_EQ("HF_TOKEN: expected a token of printable characters, got others", error());
  set("HF_ENDPOINT", "huggingface.co");
  EXPECT_EQ("HF_ENDPOINT: expected https://HOST, got huggingface.co", error());
}

}  // namespace
}  // namespace fptq::hub
