// The steps of verify_checkpoint().

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/safetensors.h"
#include "quantize/manifest.h"
#include "quantize/recipe.h"
#include "quantize/verify.h"

namespace fptq::quantize {

// Where a tensor of the output lies.
struct TensorPlace {
  std::size_t file;  // of OutputWeights::files
  const io::SafetensorsEntry* entry;
};

// The weight files of a directory, mapped.
struct OutputWeights {
  std::vector<io::SafetensorsFile> files;
  std::map<std::string, TensorPlace> tensors;
  bool complete = true;  // every file could be read

  [[nodiscard]] std::string file_name(const TensorPlace& place) const {
    return files[place.file].path().filename().string();
  }
};

// What is being verified, and what has been found.
class Verification {
 public:
  Verification(std::filesystem::path directory, const VerifyOptions& options)
      : directory_(std::move(directory)), options_(options) {}

  // Fills the report; Error only where there is no telling.
  [[nodiscard]] Status run();
  [[nodiscard]] VerifyReport& report() { return report_; }

 private:
  void add(VerifyFinding finding);
  void add(const std::string& file, const std::string& what) { add({file, "", {}, what}); }
  [[nodiscard]] Status step(std::string_view stage, std::uint64_t done, std::uint64_t total) const;

  // verify_files.cpp: hashes.
  [[nodiscard]] Status check_files();
  void check_listing();
  [[nodiscard]] Status check_weight_file(const std::string& name, const std::string& sha256);
  [[nodiscard]] Status check_other_file(const std::string& name, const std::string& sha256);
  void check_tensor_names();

  // verify_structure.cpp: what a loader would make of it.
  [[nodiscard]] Status check_structure();
  void check_recipe();

  // verify_base.cpp: what the source says.
  [[nodiscard]] Status check_base();
  [[nodiscard]] Status check_source_tensors();
  [[nodiscard]] Status rederive_streamed(const Recipe& recipe);
  [[nodiscard]] Status rederive_repeated(Recipe recipe);
  [[nodiscard]] Result<bool> has_calibration_text(Recipe& recipe);
  [[nodiscard]] Status compare_with(const std::filesystem::path& again);
  void compare_config(const std::string& expected);

  std::filesystem::path directory_;
  const VerifyOptions& options_;
  VerifyReport report_;
  Manifest manifest_;
  OutputWeights weights_;
  std::map<std::string, std::string> expected_tensors_;  // name -> hash, of the manifest
  std::optional<Recipe> recipe_;
  std::uint64_t bytes_total_ = 0;
};

}  // namespace fptq::quantize
