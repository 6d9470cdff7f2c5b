#include "quantize/verify.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/file.h"
#include "quantize/verify_steps.h"

namespace fptq::quantize {
namespace {

constexpr std::uint64_t kMaxManifestBytes = std::uint64_t{1} << 30;

std::string_view rederivation_name(Rederivation rederivation) {
  return rederivation == Rederivation::kNone       ? "none"
         : rederivation == Rederivation::kStreamed ? "streamed"
                                                   : "repeated";
}

}  // namespace

std::string finding_text(const VerifyFinding& finding) {
  std::string text;
  if (!finding.file.empty()) text += finding.file + ": ";
  if (!finding.tensor.empty()) text += "tensor \"" + finding.tensor + "\": ";
  if (finding.bytes) {
    text += "bytes [" + std::to_string(finding.bytes->first) + ", " +
            std::to_string(finding.bytes->second) + "): ";
  }
  return text + finding.what;
}

void Verification::add(VerifyFinding finding) {
  ++report_.findings_total;
  if (report_.findings.size() < options_.max_findings) {
    report_.findings.push_back(std::move(finding));
  }
}

Status Verification::step(std::string_view stage, std::uint64_t done, std::uint64_t total) const {
  if (report_progress(options_.progress, stage, done, std::max<std::uint64_t>(total, 1))) return {};
  return Error{Error::Kind::kInterrupted, directory_.string() + ": interrupted"};
}

Status Verification::run() {
  std::error_code failure;
  if (!std::filesystem::is_directory(directory_, failure)) {
    return Error{Error::Kind::kNotFound,
                 directory_.string() + ": expected a directory that fptq quantize wrote"};
  }
  const std::filesystem::path path = directory_ / kManifestFile;
  auto text = read_text_file(path, kMaxManifestBytes);
  if (!text && text.error().kind == Error::Kind::kNotFound) {
    return Error{Error::Kind::kNotFound,
                 path.string() + ": no such file. Only what fptq quantize wrote can be verified"};
  }
  if (!text) return text.error();
  const Status seal = check_seal(*text);
  if (!seal) add(kManifestFile, seal.error().message);
  const auto json = parse_json(*text, path.string());
  const auto manifest = json ? read_manifest(*json, path.string()) : json.error();
  if (!manifest) {
    add(kManifestFile, manifest.error().message + ". Nothing else can be checked");
    return {};
  }
  manifest_ = *manifest;
  report_.written_by_version = manifest_.version;
  report_.written_by_cpu = manifest_.cpu;
  report_.recipe = manifest_.recipe;
  if (manifest_.version != FPTQ_VERSION) {
    report_.notes.push_back("written by fptq " + manifest_.version + ", and this is fptq " +
                            FPTQ_VERSION + ": what it makes of the recipe may differ");
  }
  for (const ManifestTensor& tensor : manifest_.tensors) {
    expected_tensors_.insert(tensor.output_sha256.begin(), tensor.output_sha256.end());
  }
  FPTQ_TRY_VOID(check_files());
  FPTQ_TRY_VOID(check_structure());
  check_recipe();
  if (options_.base == nullptr) return {};
  return check_base();
}

Result<VerifyReport> verify_checkpoint(const std::filesystem::path& out,
                                       const VerifyOptions& options) {
  FPTQ_CHECK(options.pool != nullptr, "a thread pool is required");
  const auto begin = std::chrono::steady_clock::now();
  Verification verification(out, options);
  FPTQ_TRY_VOID(verification.run());
  VerifyReport report = std::move(verification.report());
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return report;
}

Json to_json(const VerifyReport& report, const std::string& model) {
  Json findings = Json::array();
  for (const VerifyFinding& finding : report.findings) {
    Json item = {{"file", finding.file.empty() ? Json() : Json(finding.file)},
                 {"tensor", finding.tensor.empty() ? Json() : Json(finding.tensor)},
                 {"begin_byte", finding.bytes ? Json(finding.bytes->first) : Json()},
                 {"end_byte", finding.bytes ? Json(finding.bytes->second) : Json()},
                 {"what", finding.what}};
    findings.push_back(std::move(item));
  }
  return {{"model", model},
          {"passed", report.passed()},
          {"written_by",
           {{"version", report.written_by_version},
            {"cpu", report.written_by_cpu.empty() ? Json() : Json(report.written_by_cpu)}}},
          {"version", FPTQ_VERSION},
          {"recipe", report.recipe},
          {"files", report.files},
          {"tensors", report.tensors},
          {"bytes", report.bytes},
          {"source_tensors", report.source_tensors},
          {"rederivation", std::string(rederivation_name(report.rederivation))},
          {"rederived_tensors", report.rederived_tensors},
          {"rederived_bytes", report.rederived_bytes},
          {"findings_total", report.findings_total},
          {"findings", std::move(findings)},
          {"notes", report.notes},
          {"seconds", report.seconds}};
}

}  // namespace fptq::quantize
