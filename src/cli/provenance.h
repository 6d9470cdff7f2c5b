// Whatever lets somebody repeat a measurement.

#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cli/options.h"

namespace fptq::cli {

using Facts = std::vector<std::pair<std::string, std::string>>;  // what, and its value

// `arguments` as a shell takes them; those with other characters than letters, digits and
// "_-./=:,+@%" between apostrophes.
[[nodiscard]] std::string shell_line(const std::vector<std::string>& arguments);

// Version, command line, date, machine, threads and kernels. What the system does not tell is left
// out.
[[nodiscard]] Facts program_facts(const CommonOptions& common);

// "sha256 of FILE". Errors: kNotFound, kIo.
[[nodiscard]] Result<std::string> file_sha256(const std::filesystem::path& file);

// The hash of a model's manifest, of its config.json, or, where it is one file, of the file.
// Leaves out what is not there. Errors: kIo.
[[nodiscard]] Result<Facts> model_facts(const std::filesystem::path& model);

}  // namespace fptq::cli
