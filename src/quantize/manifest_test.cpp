#include "quantize/manifest.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace fptq::quantize {
namespace {

Json small_manifest() {
  const std::string hash(64, 'a');
  return {{"program", "fptq"},
          {"version", "1"},
          {"recipe", "rtn"},
          {"seed", 0U},
          {"calibration_sha256", nullptr},
          {"tensors", Json::array({{{"source", "w"},
                                    {"shape", {2U, 3U}},
                                    {"source_sha256", hash},
                                    {"output_sha256", {{"w", hash}}}}})},
          {"files", {{"config.json", hash}}},
          {"run", {{"cpu", "a CPU"}}}};
}

std::string error_of(const Json& json) {
  const auto manifest = read_manifest(json, "m");
  return manifest ? "" : manifest.error().message;
}

TEST(Manifest, ReadsWhatItHolds) {
  const auto manifest = read_manifest(small_manifest(), "m");
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->recipe, "rtn");
  EXPECT_EQ(manifest->cpu, "a CPU");
  EXPECT_EQ(manifest->tensors.front().shape, (Shape{2, 3}));
  EXPECT_EQ(manifest->files.at("config.json"), std::string(64, 'a'));
  EXPECT_FALSE(manifest->calibration_sha256);
}

TEST(Manifest, NoticesEveryByteThatIsChanged) {
  const std::string text = seal_manifest(small_manifest());
  ASSERT_TRUE(check_seal(text));
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    EXPECT_FALSE(check_seal(damaged)) << "byte " << i;
  }
  EXPECT_FALSE(check_seal(text + " "));
  EXPECT_FALSE(check_seal(text.substr(0, text.size() - 1)));
}

TEST(Manifest, SaysWhereThereIsNoHash) {
  const auto status = check_seal(small_manifest().dump(2));
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("got none"), std::string::npos);
}

TEST(Manifest, NamesWhatIsNotAsItHasToBe) {
  Json json = small_manifest();
  json["files"] = {{"../x", std::string(64, 'a')}};
  EXPECT_EQ(error_of(json), "m: files: \"../x\": expected the name of a file in that directory");
  json = small_manifest();
  json["tensors"][0]["source_sha256"] = "short";
  EXPECT_EQ(error_of(json), "m: tensors[0].source_sha256: expected a SHA-256 hash");
  json = small_manifest();
  json["tensors"][0]["shape"] = {-1};
  EXPECT_EQ(error_of(json), "m: tensors[0].shape: expected a list of integers");
  json = small_manifest();
  json.erase("seed");
  EXPECT_EQ(error_of(json), "m: seed: expected an integer from 0 on");
  EXPECT_EQ(error_of(Json::array()), "m: program: expected \"fptq\"");
}

}  // namespace
}  // namespace fptq::quantize
