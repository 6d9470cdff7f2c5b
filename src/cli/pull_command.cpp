// fptq pull: a model or a data set from a hub into the cache; a data set's rows into a file.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/options.h"
#include "hub/environment.h"
#include "hub/fetch.h"
#include "hub/selection.h"
#include "text/parquet.h"

namespace fptq::cli {
namespace {

struct PullOptions {
  CommonOptions common;
  std::string name;
  bool dataset = false;
  std::vector<std::string> include;
  std::string config;
  std::string split;
  std::filesystem::path output;
  std::string text_column;
};

Error usage(const std::string& what) {
  return Error{Error::Kind::kInvalidArgument, what};
}

Result<io::HubName> parse_name(const PullOptions& options) {
  auto name = io::parse_hub_name(options.name);
  if (!name) {
    return usage(options.name + ": expected org/name, org/name@revision or datasets/org/name");
  }
  name->dataset = name->dataset || options.dataset;
  if (!name->dataset &&
      !(options.config.empty() && options.split.empty() && options.output.empty())) {
    return usage(options.name +
                 ": --config, --split and -o are for data sets: give --dataset as well");
  }
  if (!options.text_column.empty() && options.output.empty()) {
    return usage("--text: expected -o FILE, where the text goes, as well");
  }
  return *name;
}

// Rows of one table only: those of another have other columns, or would be counted twice.
Status check_one_table(const hub::Fetched& fetched) {
  std::vector<std::string> paths;
  for (const hub::FetchedFile& file : fetched.files) paths.push_back(file.path);
  const std::vector<hub::DataFile> files = hub::parquet_files(paths);
  if (files.size() != paths.size()) {
    return usage("-o: expected Parquet files, got others. Narrow --include");
  }
  for (const hub::DataFile& file : files) {
    if (file.config == files.front().config && file.split == files.front().split) continue;
    return usage("-o: expected one configuration and split, got " + hub::describe(files) +
                 ". Choose with --config and --split");
  }
  return {};
}

// The text in a row's column, ended by a line feed.
Result<std::string> line_of(const Json& row, const std::string& column, const std::string& where) {
  const auto value = row.find(column);
  if (value == row.end()) {
    std::string columns;
    for (const auto& [name, unused] : row.items()) columns += " " + name;
    return usage(where + ": --text " + column + ": expected one of the columns" + columns);
  }
  if (!value->is_string()) {
    return usage(where + ": --text " + column + ": expected a column of texts, got " +
                 value->type_name());
  }
  std::string line = value->get<std::string>();
  if (!line.ends_with('\n')) line += '\n';
  return line;
}

// Appends the rows of a file to `out`. Returns their number.
Result<std::uint64_t> write_rows(const std::filesystem::path& path, const std::string& text_column,
                                 OutputFile& out, const ProgressFn& progress) {
  FPTQ_TRY(text::ParquetReader reader, text::ParquetReader::open(path));
  const std::uint64_t expected = reader.row_count() + 1;
  std::uint64_t rows = 0;
  for (;;) {
    FPTQ_TRY(const std::string lines, reader.read_lines());
    if (lines.empty()) return rows;
    std::string texts;
    for (std::size_t begin = 0, end = 0; begin < lines.size(); begin = end + 1) {
      end = lines.find('\n', begin);
      if (!text_column.empty()) {
        const std::string where = fmt::format("{}: row {}", path.string(), rows);
        FPTQ_TRY(const Json row,
                 parse_json(std::string_view(lines).substr(begin, end - begin), where));
        FPTQ_TRY(const std::string line, line_of(row, text_column, where));
        texts += line;
      }
      ++rows;
    }
    FPTQ_TRY_VOID(out.write(std::string_view(text_column.empty() ? lines : texts)));
    if (!report_progress(progress, "writing rows", std::min(rows, expected - 1), expected)) {
      return interrupted();
    }
  }
}

// All rows of the fetched files as JSONL or text.
Result<std::uint64_t> write_output(const hub::Fetched& fetched, const PullOptions& options,
                                   const ProgressFn& progress) {
  FPTQ_TRY_VOID(check_one_table(fetched));
  FPTQ_TRY(OutputFile out, OutputFile::create(options.output));
  std::uint64_t rows = 0;
  for (const hub::FetchedFile& file : fetched.files) {
    FPTQ_TRY(const std::uint64_t more, write_rows(file.local, options.text_column, out, progress));
    rows += more;
  }
  FPTQ_TRY_VOID(out.commit());
  (void)report_progress(progress, "writing rows", 1, 1);
  return rows;
}

Json to_json(const hub::Fetched& fetched) {
  Json files = Json::array();
  for (const hub::FetchedFile& file : fetched.files) {
    files.push_back({{"name", file.path},
                     {"path", file.local.string()},
                     {"bytes", file.size_bytes},
                     {"fetched", file.fetched}});
  }
  return Json{
      {"name", fetched.name.id()},         {"kind", fetched.name.dataset ? "dataset" : "model"},
      {"revision", fetched.name.revision}, {"commit", fetched.commit},
      {"path", fetched.snapshot.string()}, {"files", files}};
}

// A model's path is that of its snapshot, which every command takes; a data set's are its files.
std::string paths_of(const hub::Fetched& fetched, const PullOptions& options) {
  if (!options.output.empty()) return options.output.string() + "\n";
  if (!fetched.name.dataset && options.include.empty()) return fetched.snapshot.string() + "\n";
  std::string text;
  for (const hub::FetchedFile& file : fetched.files) text += file.local.string() + "\n";
  return text;
}

Status run_pull(const PullOptions& options) {
  FPTQ_TRY(const io::HubName name, parse_name(options));
  FPTQ_TRY(const hub::Environment environment, hub::read_environment());
  Console console(options.common.quiet, options.common.json_on_stdout());
  hub::FetchOptions fetch_options{options.include, options.config, options.split,
                                  console.progress(),
                                  [&console](const std::string& line) { console.note(line); }};
  auto fetched = hub::fetch(name, fetch_options, environment);
  if (!fetched && fetched.error().kind == Error::Kind::kInterrupted) {
    return Error{Error::Kind::kInterrupted, "interrupted; the same command goes on from here"};
  }
  if (!fetched) return std::move(fetched).error();
  Json json = to_json(*fetched);
  if (!options.output.empty()) {
    FPTQ_TRY(const std::uint64_t rows, write_output(*fetched, options, fetch_options.progress));
    json["output"] = options.output.string();
    json["rows"] = rows;
    console.note(fmt::format("{} rows", rows));
  }
  if (!options.common.json_on_stdout()) console.print(paths_of(*fetched, options));
  return write_json(options.common, json);
}

}  // namespace

void add_pull_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<PullOptions>();
  CLI::App* command =
      app.add_subcommand("pull", "Fetch a model or a data set from the Hugging Face Hub");
  command->add_option("NAME", options->name, "org/name, org/name@revision or datasets/org/name")
      ->required()
      ->type_name("");
  command->add_flag("--dataset", options->dataset, "NAME is a data set");
  command
      ->add_option("--include", options->include,
                   "The files that match, instead of those that fptq reads; repeatable")
      ->type_name("GLOB");
  command->add_option("--config", options->config, "Of a data set: this configuration only")
      ->type_name("NAME");
  command->add_option("--split", options->split, "Of a data set: this split only")
      ->type_name("NAME");
  command
      ->add_option("-o,--output", options->output,
                   "Write the rows of a data set's split here, a line of JSON each")
      ->type_name("FILE");
  command
      ->add_option("--text", options->text_column,
                   "With -o: write the texts of this column instead, each ended by a line feed")
      ->type_name("COLUMN");
  add_common_flags(*command, options->common);
  command->callback([options, &action] { action = [options] { return run_pull(*options); }; });
}

}  // namespace fptq::cli
