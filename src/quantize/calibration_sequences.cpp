#include "quantize/calibration_sequences.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/file.h"
#include "base/sha256.h"
#include "calib/calibration_set.h"
#include "model/llama_config.h"
#include "model/llama_model.h"
#include "text/special_tokens.h"
#include "text/tokenizer.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

constexpr char kProgressFile[] = "progress.json";
constexpr char kIdsFile[] = "ids.i32";

// What the model goes on from when it draws sequences like these: the first tokens of each.
std::vector<std::vector<std::int32_t>> beginnings_of(
    std::span<const std::vector<std::int32_t>> sequences, std::size_t length) {
  constexpr std::size_t kTokens = 5;
  std::vector<std::vector<std::int32_t>> beginnings;
  for (const std::vector<std::int32_t>& sequence : sequences) {
    const std::size_t count = std::min({kTokens, sequence.size(), length - 1});
    beginnings.emplace_back(sequence.begin(),
                            sequence.begin() + static_cast<std::ptrdiff_t>(count));
  }
  return beginnings;
}

// The checkpoint for a model that does not outlive this call.
std::shared_ptr<const io::Checkpoint> borrowed(const io::Checkpoint& checkpoint) {
  return {std::shared_ptr<const void>(), &checkpoint};
}

// Adds a part of what the checkpoint's files hold: another model of the same shapes has other
// bytes, and reading all of them would take minutes.
void sample_files(const fs::path& model, Sha256& hash) {
  constexpr std::size_t kSamples = 64;
  constexpr std::size_t kSampleBytes = 4096;
  std::vector<fs::path> files;
  std::error_code failure;
  if (fs::is_regular_file(model, failure)) files.push_back(model);
  for (const auto& entry : fs::directory_iterator(model, failure)) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& path : files) {
    const auto file = MappedFile::open(path);
    if (!file) continue;
    const std::span<const std::byte> bytes = file->bytes();
    const std::size_t step = std::max(kSampleBytes, bytes.size() / kSamples);
    for (std::size_t begin = 0; begin < bytes.size(); begin += step) {
      hash.update(bytes.subspan(begin, std::min(kSampleBytes, bytes.size() - begin)));
    }
  }
}

Json fingerprint(const Recipe& recipe, const io::Checkpoint& checkpoint) {
  Sha256 tensors;
  for (const io::TensorInfo& info : checkpoint.tensors()) {
    const std::string line = info.name + " " + info.stored_type + " " + shape_text(info.shape) +
                             " " + std::to_string(info.stored_bytes) + "\n";
    tensors.update(std::as_bytes(std::span(line)));
  }
  const std::string config = checkpoint.config().dump();
  tensors.update(std::as_bytes(std::span(config)));
  sample_files(checkpoint.path(), tensors);
  return {{"version", FPTQ_VERSION},
          {"recipe", print_recipe(recipe)},
          {"checkpoint", tensors.finish()}};
}

Result<CalibrationSequences> draw(const Recipe& recipe, const io::Checkpoint& checkpoint,
                                  ThreadPool& pool, Isa isa, const ProgressFn& progress) {
  const std::string where = checkpoint.path().string();
  auto files = checkpoint.tokenizer();
  if (!files) {
    return Error{files.error().kind,
                 files.error().message + ". Calibration needs the model's tokenizer"};
  }
  FPTQ_TRY(const text::Tokenizer tokenizer,
           text::Tokenizer::from_json(files->tokenizer_json, where));
  FPTQ_TRY(const text::SpecialTokens special,
           text::special_tokens(files->others, checkpoint.config(), tokenizer, where));
  FPTQ_TRY(const model::LlamaConfig config, model::parse_llama_config(checkpoint.config(), where));
  calib::CalibrationOptions options{
      .sequences = static_cast<std::size_t>(recipe.calibration.samples),
      .tokens_per_sequence = static_cast<std::size_t>(recipe.calibration.seqlen),
      .seed = recipe.seed};
  const auto from_model = [&]() -> Result<calib::CalibrationSet> {
    FPTQ_TRY(model::LlamaModel model,
             model::LlamaModel::load(borrowed(checkpoint), {.pool = &pool, .isa = isa}));
    return calib::calibration_from_model(model, tokenizer, special, options, progress);
  };
  const std::string& text = recipe.calibration.text;
  const auto self_samples = static_cast<std::size_t>(recipe.calibration.self_samples);
  auto made = [&]() -> Result<calib::CalibrationSet> {
    if (text == "self") return from_model();
    const auto [path, format_name] = split_calibration_text(text);
    FPTQ_TRY(const calib::TextFormat format, calib::parse_text_format(format_name));
    FPTQ_TRY(calib::CalibrationSet set,
             calib::calibration_from_file(path, format, tokenizer, special, config.max_positions,
                                          options));
    if (self_samples == 0) return set;
    options.sequences = self_samples;
    options.beginnings =
        beginnings_of(set.sequences, std::min(options.tokens_per_sequence, config.max_positions));
    FPTQ_TRY(const calib::CalibrationSet drawn, from_model());
    set.sequences.insert(set.sequences.end(), drawn.sequences.begin(), drawn.sequences.end());
    return set;
  }();
  if (!made) return made.error();
  for (const std::vector<std::int32_t>& sequence : made->sequences) {
    for (const std::int32_t id : sequence) {
      if (id >= 0 && static_cast<std::size_t>(id) < config.vocab_size) continue;
      return Error{Error::Kind::kFormat,
                   where + ": calibration: expected ids below the vocabulary of " +
                       std::to_string(config.vocab_size) + ", got " + std::to_string(id) +
                       ". Do the tokenizer and the model belong together?"};
    }
  }
  CalibrationSequences result;
  result.source = {{"source", made->source},
                   {"sha256", made->sha256},
                   {"sequences", made->sequences.size()},
                   {"self_samples", text == "self" ? made->sequences.size() : self_samples},
                   {"tokens", made->tokens()}};
  result.warnings = std::move(made->warnings);
  const std::size_t widest =
      std::max({config.hidden_size, config.q_width(), config.intermediate_size});
  if (recipe.calibrates_rounding() && made->tokens() < widest) {
    result.warnings.push_back(
        "calibration: " + std::to_string(made->tokens()) + " tokens, fewer than the " +
        std::to_string(widest) +
        " inputs of the widest linear, whose Gram matrix they leave singular: "
        "rounding follows their noise. Use more or longer samples");
  }
  result.ids = std::move(made->sequences);
  return result;
}

Status save(const CalibrationSequences& sequences, Json record, const fs::path& folder) {
  record["calibration"] = sequences.source;
  record["warnings"] = sequences.warnings;
  record["lengths"] = sequences.lengths();
  const std::vector<std::int32_t> ids = sequences.all_ids();
  record["ids_sha256"] = sha256_hex(std::as_bytes(std::span(ids)));
  FPTQ_TRY(OutputFile file, OutputFile::create(folder / kIdsFile));
  FPTQ_TRY_VOID(file.write(std::as_bytes(std::span(ids))));
  FPTQ_TRY_VOID(file.commit());
  return write_text_file(folder / kProgressFile, record.dump(1) + "\n");
}

Result<CalibrationSequences> restore(const Json& saved, const fs::path& folder) {
  const fs::path path = folder / kIdsFile;
  FPTQ_TRY(const MappedFile file, MappedFile::open(path));
  CalibrationSequences sequences;
  std::size_t total = 0;
  const bool has_lengths = saved.contains("lengths") && saved["lengths"].is_array();
  for (const Json& length : has_lengths ? saved["lengths"] : Json::array()) {
    const auto count = length.is_number_unsigned() ? length.get<std::size_t>() : 0;
    const std::size_t bytes = count * sizeof(std::int32_t);
    if (count == 0 || count > file.bytes().size() || total + bytes > file.bytes().size()) break;
    std::vector<std::int32_t> ids(count);
    std::memcpy(ids.data(), file.bytes().data() + total, bytes);
    sequences.ids.push_back(std::move(ids));
    total += bytes;
  }
  if (sequences.ids.empty() || total != file.bytes().size() ||
      saved.value("ids_sha256", Json()) != sha256_hex(file.bytes())) {
    return Error{Error::Kind::kFormat, path.string() + ": expected the ids of the sequences that " +
                                           kProgressFile + " lists. Begin again with --overwrite"};
  }
  sequences.source = saved.value("calibration", Json());
  if (!sequences.source.is_object()) sequences.source = Json::object();
  const Json warnings = saved.value("warnings", Json::array());
  for (const Json& warning : warnings.is_array() ? warnings : Json::array()) {
    if (warning.is_string()) sequences.warnings.push_back(warning.get<std::string>());
  }
  return sequences;
}

}  // namespace

std::pair<std::string, std::string> split_calibration_text(const std::string& text) {
  for (const std::string_view format : {"text", "jsonl"}) {
    const std::string ending = ":" + std::string(format);
    if (text.ends_with(ending)) {
      return {text.substr(0, text.size() - ending.size()), std::string(format)};
    }
  }
  return {text, ""};
}

fs::path calibration_folder(const fs::path& directory) {
  return directory / "calibration";
}

std::vector<std::size_t> CalibrationSequences::lengths() const {
  std::vector<std::size_t> all;
  for (const std::vector<std::int32_t>& sequence : ids) all.push_back(sequence.size());
  return all;
}

std::vector<std::int32_t> CalibrationSequences::all_ids() const {
  std::vector<std::int32_t> all;
  for (const std::vector<std::int32_t>& sequence : ids) {
    all.insert(all.end(), sequence.begin(), sequence.end());
  }
  return all;
}

bool has_calibration_sequences(const fs::path& directory) {
  std::error_code failure;
  return fs::exists(calibration_folder(directory) / kProgressFile, failure);
}

Result<CalibrationSequences> open_calibration_sequences(const Recipe& recipe,
                                                        const io::Checkpoint& checkpoint,
                                                        const fs::path& directory, bool resume,
                                                        ThreadPool& pool, Isa isa,
                                                        const ProgressFn& progress) {
  const fs::path folder = calibration_folder(directory);
  const Json expected = fingerprint(recipe, checkpoint);
  if (resume && has_calibration_sequences(directory)) {
    const fs::path file = folder / kProgressFile;
    FPTQ_TRY(const std::string text, read_text_file(file, std::uint64_t{1} << 24));
    FPTQ_TRY(const Json saved, parse_json(text, file.string()));
    for (const auto& [key, value] : expected.items()) {
      if (saved.contains(key) && saved[key] == value) continue;
      return Error{Error::Kind::kInvalidArgument,
                   directory.string() + ": --resume: expected a run with the same " + key +
                       ", got another one. Begin again with --overwrite, or resume with what that "
                       "run was given"};
    }
    return restore(saved, folder);
  }
  // Blocks of another run must not be taken for this one's.
  std::error_code failure;
  fs::remove_all(folder, failure);
  fs::create_directories(folder, failure);
  if (failure) return system_error(folder, "create the directory", failure.value());
  FPTQ_TRY(CalibrationSequences sequences, draw(recipe, checkpoint, pool, isa, progress));
  FPTQ_TRY_VOID(save(sequences, expected, folder));
  return sequences;
}

}  // namespace fptq::quantize
