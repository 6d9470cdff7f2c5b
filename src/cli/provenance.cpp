#include "cli/provenance.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <ctime>
#include <fstream>
#include <iterator>

#include "base/cpu.h"
#include "base/file.h"
#include "base/sha256.h"
#include "quantize/manifest.h"

namespace fptq::cli {
namespace {

// This process's arguments; none where the system does not tell.
std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> arguments;
  for (std::size_t begin = 0; begin < bytes.size();) {
    const std::size_t end = std::min(bytes.find('\0', begin), bytes.size());
    arguments.push_back(bytes.substr(begin, end - begin));
    begin = end + 1;
  }
  if (!arguments.empty()) arguments[0] = "fptq";
  return arguments;
}

// "2026-01-31T12:00:00Z".
std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  if (gmtime_r(&now, &parts) == nullptr) return "";
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

// "Linux 6.1 x86_64"; the host's name stays out of reports.
std::string system_name() {
  utsname name{};
  if (uname(&name) != 0) return "";
  return fmt::format("{} {} {}", name.sysname, name.release, name.machine);
}

}  // namespace

std::string shell_line(const std::vector<std::string>& arguments) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+@%";
  std::string line;
  for (const std::string& argument : arguments) {
    if (!line.empty()) line += ' ';
    if (!argument.empty() && argument.find_first_not_of(kPlain) == std::string::npos) {
      line += argument;
      continue;
    }
    line += '\'';
    for (const char c : argument) line += c == '\'' ? "'\\''" : std::string(1, c);
    line += '\'';
  }
  return line;
}

Facts program_facts(const CommonOptions& common) {
  Facts facts = {{"program", "fptq " FPTQ_VERSION},
                 {"command", shell_line(own_arguments())},
                 {"date", utc_now()},
                 {"CPU", fmt::format("{} ({} processors)", cpu_name(), available_cpus())},
                 {"system", system_name()},
                 {"threads", std::to_string(common.threads)},
                 {"kernels", common.isa.empty() ? std::string(isa_name(best_isa())) : common.isa},
                 {"seed", std::to_string(common.seed)}};
  std::erase_if(facts, [](const auto& fact) { return fact.second.empty(); });
  return facts;
}

Result<std::string> file_sha256(const std::filesystem::path& file) {
  FPTQ_TRY(const MappedFile mapped, MappedFile::open(file));
  return sha256_hex(mapped.bytes());
}

Result<Facts> model_facts(const std::filesystem::path& model) {
  Facts facts;
  std::vector<std::filesystem::path> files = {model / quantize::kManifestFile,
                                              model / "config.json"};
  std::error_code failure;
  if (std::filesystem::is_regular_file(model, failure)) files = {model};
  for (const std::filesystem::path& file : files) {
    if (!std::filesystem::is_regular_file(file, failure)) continue;
    FPTQ_TRY(std::string hash, file_sha256(file));
    facts.emplace_back("sha256 of " + file.string(), std::move(hash));
  }
  return facts;
}

}  // namespace fptq::cli
