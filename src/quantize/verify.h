// Whether an output directory is what its manifest says and, with the source at hand, what its
// recipe makes of it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/progress.h"
#include "base/result.h"
#include "base/thread_pool.h"
#include "io/checkpoint.h"

namespace fptq::quantize {

// Something that is not as it has to be.
struct VerifyFinding {
  std::string file;    // in the directory; empty: of none
  std::string tensor;  // empty: of none
  // Bytes [first, second) of the file between which the difference lies. Hashes tell that
  // a tensor differs, so that these are the tensor's; a comparison tells the bytes themselves.
  std::optional<std::pair<std::uint64_t, std::uint64_t>> bytes;
  std::string what;
};

// 'FILE: tensor "NAME": bytes [128, 256): WHAT', of which the parts that are known.
[[nodiscard]] std::string finding_text(const VerifyFinding& finding);

// How OUT was compared with what its recipe makes of the source.
//   kStreamed  tensor by tensor, nothing written
//   kRepeated  the whole run was repeated into a directory beside OUT
enum class Rederivation : std::uint8_t { kNone, kStreamed, kRepeated };

struct VerifyOptions {
  ThreadPool* pool = nullptr;            // required
  const io::Checkpoint* base = nullptr;  // null: only what OUT says about itself
  std::string tensor_pattern;            // with base: only tensors whose name it is found in
  std::string calibration;               // where the text lies: FILE[:FORMAT]; empty: as the recipe
  std::uint64_t ram_limit_bytes = 0;     // of a run that is repeated; 0: no limit
  std::size_t max_findings = 100;        // that are kept; all are counted
  ProgressFn progress;
};

struct VerifyReport {
  std::string written_by_version;
  std::string written_by_cpu;  // empty: not told
  std::string recipe;
  std::uint64_t files = 0;              // hashed
  std::uint64_t tensors = 0;            // hashed
  std::uint64_t bytes = 0;              // of the files
  std::uint64_t source_tensors = 0;     // hashed in the base
  std::uint64_t rederived_tensors = 0;  // of the output, compared byte by byte
  std::uint64_t rederived_bytes = 0;
  Rederivation rederivation = Rederivation::kNone;
  std::vector<VerifyFinding> findings;  // the first of them
  std::uint64_t findings_total = 0;
  std::vector<std::string> notes;  // what is no finding and explains one
  double seconds = 0;

  [[nodiscard]] bool passed() const { return findings_total == 0; }
};

// Checks a directory that quantize_checkpoint() wrote.
//
// By itself: the manifest has the hash that it holds; every file that it lists, and no other, is
// there with its hash; every tensor that it lists, and no other, is there with its hash;
// config.json and its quantization_config describe a model whose tensors these are, by name, shape,
// type and range; recipe.yaml is a recipe of the manifest's name and seed. So a changed byte
// anywhere is found. What cannot be found is a change by somebody who makes all hashes anew: the
// base tells.
//
// With the base: its tensors have the hashes of the manifest; and the recipe makes the same bytes
// of them. Recipes without data go tensor by tensor, and memory does not grow with the model. Of
// calibrated ones the whole run is repeated, which takes its time, memory and disk, and the text
// that it was calibrated with; where that text has another hash, that is the finding, and
// nothing is repeated.
//
// Errors: kNotFound without directory, manifest or calibration text; kInvalidArgument for a pattern
// that does not compile, or that no tensor's name matches; kLimit, kIo, kInterrupted; make_plan()'s
// about the base. What is wrong with OUT is a finding and no error.
[[nodiscard]] Result<VerifyReport> verify_checkpoint(const std::filesystem::path& out,
                                                     const VerifyOptions& options);

// The object that `fptq verify --json` writes. model: as the user gave it.
[[nodiscard]] Json to_json(const VerifyReport& report, const std::string& model);

}  // namespace fptq::quantize
