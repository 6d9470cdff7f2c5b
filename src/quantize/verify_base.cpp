// What the recipe makes of the source, compared with what is there.

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

#include "base/file.h"
#include "base/sha256.h"
#include "quantize/calibration_sequences.h"
#include "quantize/layer_pattern.h"
#include "quantize/pipeline.h"
#include "quantize/plan.h"
#include "quantize/tensor_writing.h"
#include "quantize/verify_steps.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

// Which tensors are looked at.
class TensorChoice {
 public:
  static Result<TensorChoice> compile(const std::string& pattern) {
    TensorChoice choice;
    if (pattern.empty()) return choice;
    FPTQ_TRY(choice.pattern_, LayerPattern::compile(pattern));
    return choice;
  }
  [[nodiscard]] bool includes(const std::string& source, const std::string& output) const {
    return !pattern_ || pattern_->found_in(source) || pattern_->found_in(output);
  }
  template <typename Outputs>
  [[nodiscard]] bool includes_any(const std::string& source, const Outputs& outputs) const {
    return std::any_of(outputs.begin(), outputs.end(),
                       [&](const auto& output) { return includes(source, output); });
  }

 private:
  std::optional<LayerPattern> pattern_;
};

std::vector<std::string> output_names(const TensorPlan& tensor) {
  std::vector<std::string> names;
  for (const io::TensorSpec& spec : tensor.outputs()) names.push_back(spec.name);
  return names;
}

std::vector<std::string> output_names(const ManifestTensor& tensor) {
  std::vector<std::string> names;
  for (const auto& [name, sha256] : tensor.output_sha256) names.push_back(name);
  return names;
}

// Where two sequences of bytes of one length differ.
struct Difference {
  std::uint64_t count = 0;
  std::uint64_t first = 0;
  std::uint64_t last = 0;

  // Compares further bytes, of which the first is byte `offset`.
  void add(std::span<const std::byte> a, std::span<const std::byte> b, std::uint64_t offset) {
    if (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0) return;
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (a[i] == b[i]) continue;
      if (count == 0) first = offset + i;
      last = offset + i;
      ++count;
    }
  }
};

VerifyFinding differs(const std::string& file, const io::SafetensorsEntry& entry,
                      const Difference& difference) {
  return {file, entry.name,
          std::pair{entry.begin + difference.first, entry.begin + difference.last + 1},
          std::to_string(difference.count) + " of " + std::to_string(entry.end - entry.begin) +
              " bytes differ from what the recipe makes of the base"};
}

std::string type_text(DType dtype, const Shape& shape) {
  return std::string(dtype_name(dtype)) + " " + shape_text(shape);
}

// A directory that is removed with everything in it, and what a stopped run left beside it.
struct TemporaryRun {
  fs::path path;

  ~TemporaryRun() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
    fs::path partial = path;
    fs::remove_all(partial += ".partial", ignored);
  }
};

}  // namespace

Status Verification::check_base() {
  FPTQ_TRY_VOID(check_source_tensors());
  if (!recipe_) {
    report_.notes.push_back("recipe.yaml cannot be read, so that nothing was derived again");
    return {};
  }
  // Factors folded into norms and weights, and rotations, reach beyond one tensor.
  const bool by_tensor =
      !recipe_->needs_calibration() && recipe_->equalization == Equalization::kNone &&
      recipe_->rotation == RotationKind::kNone && recipe_->down_rotation == RotationKind::kNone;
  return by_tensor ? rederive_streamed(*recipe_) : rederive_repeated(*recipe_);
}

Status Verification::check_source_tensors() {
  FPTQ_TRY(const TensorChoice choice, TensorChoice::compile(options_.tensor_pattern));
  std::vector<const ManifestTensor*> chosen;
  std::uint64_t total = 0;
  for (const ManifestTensor& tensor : manifest_.tensors) {
    if (!choice.includes_any(tensor.source, output_names(tensor))) continue;
    // A classifier that rotation untied has no source of its own.
    if (tensor.source_sha256.empty()) continue;
    chosen.push_back(&tensor);
    total += element_count(tensor.shape).value_or(0);
  }
  if (chosen.empty() && !options_.tensor_pattern.empty()) {
    return Error{Error::Kind::kInvalidArgument, "--tensor \"" + options_.tensor_pattern +
                                                    "\": expected to be found in the name of a "
                                                    "tensor, and no tensor has such a name"};
  }
  const std::string base = options_.base->path().string();
  std::uint64_t done = 0;
  for (const ManifestTensor* tensor : chosen) {
    const io::TensorInfo* info = options_.base->find(tensor->source);
    if (info == nullptr || info->shape != tensor->shape) {
      add({"",
           tensor->source,
           {},
           base + ": expected a source of shape " + shape_text(tensor->shape) + ", got " +
               (info == nullptr ? "no such tensor" : shape_text(info->shape))});
      continue;
    }
    FPTQ_TRY(const Tensor values, options_.base->read(tensor->source));
    const std::string found = sha256_hex(values.bytes());
    if (found != tensor->source_sha256) {
      add({"",
           tensor->source,
           {},
           base + ": not the source that was quantized: expected sha256 " + tensor->source_sha256 +
               ", got " + found});
    }
    options_.base->release(tensor->source);
    ++report_.source_tensors;
    done += element_count(tensor->shape).value_or(0);
    FPTQ_TRY_VOID(step("hashing the base", done, total));
  }
  return {};
}

Status Verification::rederive_streamed(const Recipe& recipe) {
  report_.rederivation = Rederivation::kStreamed;
  FPTQ_TRY(const TensorChoice choice, TensorChoice::compile(options_.tensor_pattern));
  FPTQ_TRY(const Plan plan, make_plan(recipe, *options_.base));
  compare_config(output_config(plan, *options_.base).dump(2) + "\n");
  std::uint64_t elements_done = 0;
  for (const TensorPlan& tensor : plan.tensors) {
    const std::uint64_t elements = element_count(tensor.shape).value_or(0);
    if (!choice.includes_any(tensor.source, output_names(tensor))) {
      elements_done += elements;
      continue;
    }
    std::map<std::string, std::uint64_t> written;  // bytes of each tensor, up to now
    std::map<std::string, Difference> differences;
    const ByteSink sink = [&](const io::TensorSpec& spec,
                              std::span<const std::byte> bytes) -> Status {
      const auto place = weights_.tensors.find(spec.name);
      if (place == weights_.tensors.end()) return {};  // told below
      const io::SafetensorsEntry& entry = *place->second.entry;
      std::uint64_t& offset = written[spec.name];
      if (entry.dtype == spec.dtype && entry.shape == spec.shape) {
        const io::SafetensorsFile& file = weights_.files[place->second.file];
        const Tensor there = file.read(entry);
        differences[spec.name].add(there.bytes().subspan(offset, bytes.size()), bytes, offset);
        file.release(entry);
      }
      offset += bytes.size();
      return {};
    };
    const auto after_block = [&](std::uint64_t done) -> Status {
      options_.base->release(tensor.source);
      return step("deriving again", elements_done + done, plan.parameters);
    };
    FPTQ_TRY(const Tensor weights, options_.base->read(tensor.source));
    const auto outcome = write_tensor(tensor, weights, data_free_rounding(recipe, tensor),
                                      *options_.pool, sink, after_block);
    if (!outcome) return outcome.error();
    elements_done += elements;
    for (const io::TensorSpec& spec : tensor.outputs()) {
      const auto place = weights_.tensors.find(spec.name);
      if (place == weights_.tensors.end()) {
        if (weights_.complete) add({"", spec.name, {}, "the recipe makes it, and it is missing"});
        continue;
      }
      const io::SafetensorsEntry& entry = *place->second.entry;
      if (entry.dtype != spec.dtype || entry.shape != spec.shape) {
        add({weights_.file_name(place->second),
             spec.name,
             {},
             "expected " + type_text(spec.dtype, spec.shape) + " from the recipe, got " +
                 type_text(entry.dtype, entry.shape)});
        continue;
      }
      const Difference& difference = differences[spec.name];
      if (difference.count != 0) {
        add(differs(weights_.file_name(place->second), entry, difference));
      }
      ++report_.rederived_tensors;
      report_.rederived_bytes += entry.end - entry.begin;
    }
  }
  return {};
}

void Verification::compare_config(const std::string& expected) {
  const auto found = read_text_file(directory_ / "config.json");
  if (!found || *found == expected) return;
  const auto [a, b] = std::mismatch(found->begin(), found->end(), expected.begin(), expected.end());
  const auto first = static_cast<std::uint64_t>(a - found->begin());
  add({"config.json", "", std::pair{first, std::uint64_t{found->size()}},
       "differs from what the recipe makes of the base's config.json"});
}

// Whether the text is there with the manifest's hash; puts its path into the recipe.
Result<bool> Verification::has_calibration_text(Recipe& recipe) {
  auto [path, format] = split_calibration_text(recipe.calibration.text);
  if (!options_.calibration.empty()) {
    auto [given_path, given_format] = split_calibration_text(options_.calibration);
    path = given_path;
    if (!given_format.empty()) format = given_format;
  }
  recipe.calibration.text = format.empty() ? path : path + ":" + format;
  if (path == "self") return true;
  const auto file = MappedFile::open(path);
  if (!file) {
    return Error{file.error().kind, file.error().message +
                                        ". The recipe was calibrated with that text; --calib FILE "
                                        "says where it lies now"};
  }
  const std::string found = sha256_hex(file->bytes());
  if (found == manifest_.calibration_sha256) return true;
  add("", path + ": not the text that it was calibrated with: expected sha256 " +
              manifest_.calibration_sha256.value_or("of no text") + ", got " + found +
              "; nothing was derived again");
  return false;
}

Status Verification::rederive_repeated(Recipe recipe) {
  if (recipe.needs_calibration()) {
    FPTQ_TRY(const bool there, has_calibration_text(recipe));
    if (!there) return {};
  }
  report_.rederivation = Rederivation::kRepeated;
  fs::path name = directory_;
  if (!name.has_filename()) name = name.parent_path();
  const TemporaryRun again{name += ".verify-" + std::to_string(::getpid())};
  QuantizeOptions how;
  how.output = again.path;
  how.resumable = false;
  how.pool = options_.pool;
  how.ram_limit_bytes = options_.ram_limit_bytes;
  how.progress = options_.progress;
  const auto done = quantize_checkpoint(recipe, *options_.base, how);
  if (!done) return done.error();
  return compare_with(again.path);
}

Status Verification::compare_with(const fs::path& again) {
  FPTQ_TRY(const TensorChoice choice, TensorChoice::compile(options_.tensor_pattern));
  FPTQ_TRY(const std::string config, read_text_file(again / "config.json"));
  compare_config(config);
  FPTQ_TRY(const auto checkpoint, io::open_checkpoint(again));
  const auto& tensors = checkpoint->tensors();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const io::TensorInfo& info = tensors[i];
    if (!choice.includes(info.name, info.name)) continue;
    const auto place = weights_.tensors.find(info.name);
    if (place == weights_.tensors.end()) {
      if (weights_.complete) add({"", info.name, {}, "the recipe makes it, and it is missing"});
      continue;
    }
    const io::SafetensorsEntry& entry = *place->second.entry;
    if (entry.dtype != info.dtype || entry.shape != info.shape) {
      add({weights_.file_name(place->second),
           info.name,
           {},
           "expected " + type_text(info.dtype, info.shape) + " from the recipe, got " +
               type_text(entry.dtype, entry.shape)});
      continue;
    }
    FPTQ_TRY(const Tensor expected, checkpoint->read(info.name));
    const Tensor there = weights_.files[place->second.file].read(entry);
    Difference difference;
    difference.add(there.bytes(), expected.bytes(), 0);
    if (difference.count != 0) add(differs(weights_.file_name(place->second), entry, difference));
    ++report_.rederived_tensors;
    report_.rederived_bytes += entry.end - entry.begin;
    FPTQ_TRY_VOID(step("comparing", i + 1, tensors.size()));
  }
  return {};
}

}  // namespace fptq::quantize
