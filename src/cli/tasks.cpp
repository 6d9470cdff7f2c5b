#include "cli/tasks.h"

#include <fmt/format.h>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "base/file.h"
#include "base/sha256.h"
#include "cli/local_shards.h"
#include "hub/environment.h"
#include "hub/fetch.h"
#include "io/hub_cache.h"

namespace fptq::cli {
namespace {

namespace fs = std::filesystem;

struct NamedFile {
  std::string name;
  fs::path file;
};

Result<NamedFile> split(const std::string& flag, const std::string& argument) {
  const std::size_t at = argument.find('=');
  if (at == std::string::npos || at == 0 || at + 1 == argument.size()) {
    return Error{Error::Kind::kInvalidArgument,
                 flag + ": expected NAME=FILE, such as arc_easy=ARC-Easy-Test.jsonl, got \"" +
                     argument + "\""};
  }
  return NamedFile{argument.substr(0, at), argument.substr(at + 1)};
}

bool is_definition(const std::string& name) {
  return name.ends_with(".yaml") || name.ends_with(".yml");
}

Result<eval::TaskDefinition> definition_of(const std::string& name) {
  if (!is_definition(name)) return eval::builtin_task(name);
  FPTQ_TRY(const std::string text, read_text_file(name));
  return eval::parse_task(text, name);
}

// Nanoseconds of the youngest of a model's files, so that a model that was made anew is another.
std::int64_t modified(const fs::path& path) {
  std::error_code ignored;
  auto youngest = fs::last_write_time(path, ignored).time_since_epoch().count();
  for (const auto& entry : fs::directory_iterator(path, ignored)) {
    youngest = std::max(youngest, entry.last_write_time(ignored).time_since_epoch().count());
  }
  return static_cast<std::int64_t>(youngest);
}

// Whatever a document's scores depend on.
Json run_key(Json key, const eval::TaskDefinition& task, const eval::TaskDocuments& documents,
             std::size_t shots, std::size_t context) {
  key["context"] = context;
  key["task"] = task.name;
  key["task_sha256"] = task.sha256;
  key["data_sha256"] = documents.sha256;
  key["shots"] = shots;
  return key;
}

// "allenai/ai2_arc ARC-Easy test".
std::string hub_name(const eval::TaskDefinition& task) {
  return task.dataset_path + (task.dataset_name.empty() ? "" : " " + task.dataset_name) + " " +
         task.split;
}

// The files of one split of a task's data set, from the cache or the hub.
Result<std::vector<fs::path>> fetch_split(const eval::TaskDefinition& task,
                                          const std::string& split, Console& console) {
  auto name = io::parse_hub_name(task.dataset_path);
  if (!name) {
    return Error{Error::Kind::kInvalidArgument,
                 task.name + ": dataset_path: expected org/name, got \"" + task.dataset_path +
                     "\". Give the documents as --task " + task.name + "=FILE"};
  }
  name->dataset = true;
  FPTQ_TRY(const hub::Environment environment, hub::read_environment());
  FPTQ_TRY(const hub::Fetched fetched,
           hub::fetch(*name,
                      {{},
                       task.dataset_name == "default" ? "" : task.dataset_name,
                       split,
                       console.progress(),
                       [&console](const std::string& line) { console.note(line); }},
                      environment));
  std::vector<fs::path> files;
  for (const hub::FetchedFile& file : fetched.files) files.push_back(file.local);
  return files;
}

Result<eval::TaskDocuments> fetch_documents(const eval::TaskDefinition& task, bool with_examples,
                                            Console& console) {
  FPTQ_TRY(const std::vector<fs::path> files, fetch_split(task, task.split, console));
  std::vector<fs::path> examples;
  if (with_examples && task.fewshot_split != task.split) {
    FPTQ_TRY(examples, fetch_split(task, task.fewshot_split, console));
  }
  return eval::read_files(task, files, examples);
}

// The documents of a data set that lies in a directory as the hub keeps it, or whatever else
// --task names.
Result<eval::TaskDocuments> read_local(const eval::TaskDefinition& task, const fs::path& path,
                                       const fs::path& examples, bool with_examples) {
  const std::vector<std::string> shards =
      fs::is_directory(path) ? parquet_paths(path) : std::vector<std::string>();
  if (shards.empty()) return eval::read_documents(task, path, examples);
  FPTQ_TRY(const std::vector<fs::path> files,
           local_split(path, shards, task.dataset_name, task.split));
  std::vector<fs::path> pool;
  if (!examples.empty()) {
    pool.push_back(examples);
  } else if (with_examples && task.fewshot_split != task.split) {
    FPTQ_TRY(pool, local_split(path, shards, task.dataset_name, task.fewshot_split));
  }
  return eval::read_files(task, files, pool);
}

}  // namespace

Json model_key(const std::string& name, const LoadedModel& model, const RunOptions& how) {
  const std::string config = model.checkpoint->config().dump();
  return {{"version", FPTQ_VERSION},
          {"model", fs::absolute(name).lexically_normal().string()},
          {"config_sha256", sha256_hex(std::as_bytes(std::span(config)))},
          {"weight_bytes", model.checkpoint->weight_file_bytes()},
          {"modified", modified(model.checkpoint->path())},
          {"scheme", model.model->scheme()},
          {"activations", how.activations == model::ActivationMode::kFloat ? "a16" : "as stored"},
          {"kv", kv_name(how.kv)}};
}

void add_task_flags(CLI::App& command, TaskFlags& flags) {
  command
      .add_option(
          "--task", flags.tasks,
          "Score a task: a built-in one (arc_easy, hellaswag, ...) or a YAML file, with its "
          "documents (JSONL, JSON, CSV, Parquet; a directory for mmlu, or of Parquet files), or, "
          "without a file, those of the hub")
      ->type_name("NAME[=FILE]")
      ->take_all();
  command.add_option("--shots", flags.shots, "Examples in front of each document (the task's own)")
      ->check(CLI::Range(0, 1000))
      ->type_name("N");
  command
      .add_option("--shots-from", flags.shots_from,
                  "Where a task's examples come from (default: its documents)")
      ->type_name("NAME=FILE")
      ->take_all();
  command.add_option("--limit", flags.limit, "Score the first N documents of each task only")
      ->check(CLI::Range(1, 1'000'000'000))
      ->type_name("N");
  command
      .add_option("--samples-out", flags.samples_out,
                  "Write every document's log-likelihoods and every window's, a JSON object a line")
      ->type_name("FILE");
  command.add_flag("--resume", flags.resume,
                   "Go on with what a stopped run left beside --samples-out");
}

Result<TaskSession::Task> TaskSession::read(const std::string& argument, const TaskFlags& flags,
                                            Console& console) {
  Task task;
  if (argument.find('=') == std::string::npos) {
    FPTQ_TRY(task.definition, definition_of(argument));
    FPTQ_TRY(task.documents,
             fetch_documents(task.definition, flags.shots.value_or(task.definition.num_fewshot) > 0,
                             console));
    task.data = hub_name(task.definition);
    return task;
  }
  FPTQ_TRY(const NamedFile named, split("--task", argument));
  FPTQ_TRY(task.definition, definition_of(named.name));
  task.data = named.file.string();
  fs::path examples;
  for (const std::string& from : flags.shots_from) {
    FPTQ_TRY(const NamedFile pool, split("--shots-from", from));
    if (pool.name == named.name) examples = pool.file;
  }
  FPTQ_TRY(task.documents, read_local(task.definition, named.file, examples,
                                      flags.shots.value_or(task.definition.num_fewshot) > 0));
  return task;
}

Result<TaskSession> TaskSession::open(const TaskFlags& flags, bool measures_text,
                                      Console& console) {
  TaskSession session;
  session.shots_ = flags.shots;
  session.limit_ = flags.limit;
  for (const std::string& argument : flags.tasks) {
    FPTQ_TRY(Task task, read(argument, flags, console));
    for (const Task& other : session.tasks_) {
      if (other.definition.name != task.definition.name) continue;
      return Error{Error::Kind::kInvalidArgument,
                   "--task: expected every task once, got " + task.definition.name + " twice"};
    }
    session.tasks_.push_back(std::move(task));
  }
  for (const std::string& from : flags.shots_from) {
    FPTQ_TRY(const NamedFile pool, split("--shots-from", from));
    const bool known = std::any_of(flags.tasks.begin(), flags.tasks.end(), [&](const auto& task) {
      return task.starts_with(pool.name + "=");
    });
    if (!known) {
      return Error{Error::Kind::kInvalidArgument,
                   "--shots-from: expected the name of a task of --task, got " + pool.name};
    }
  }
  if (!flags.samples_out.empty()) {
    if (session.empty() && !measures_text) {
      return Error{Error::Kind::kInvalidArgument,
                   "--samples-out: expected --task, --ppl or --kl as well"};
    }
    FPTQ_TRY(session.log_, eval::SamplesLog::open(flags.samples_out, flags.resume));
  } else if (flags.resume) {
    return Error{Error::Kind::kInvalidArgument,
                 "--resume: expected --samples-out FILE, beside which is kept what is done"};
  }
  return session;
}

Result<std::vector<eval::TaskResult>> TaskSession::run(const std::string& name,
                                                       const LoadedModel& model,
                                                       const ModelText& text,
                                                       const eval::TextModel& view,
                                                       const RunOptions& how, Console& console) {
  eval::TaskModel subject;
  subject.model = model.model.get();
  subject.pool = model.pool.get();
  subject.kv = how.kv;
  subject.encoder.encode = view.encode;
  subject.encoder.encode_plain = [&text](std::string_view plain) {
    return text.tokenizer.encode(plain, /*add_special=*/false);
  };
  subject.encoder.prefix_token = view.prefix_token;
  subject.encoder.context = how.context > 0 ? how.context : view.context;

  std::vector<eval::TaskResult> results;
  for (const Task& task : tasks_) {
    eval::TaskOptions options;
    std::size_t section = 0;
    options.shots = shots_;
    options.limit = limit_;
    if (log_) {
      FPTQ_TRY(eval::Finished finished,
               log_->begin(run_key(model_key(name, model, how), task.definition, task.documents,
                                   shots_.value_or(task.definition.num_fewshot),
                                   subject.encoder.context)));
      options.finished = std::move(finished.documents);
      section = finished.section;
      options.on_scored = [this, section](std::size_t document,
                                          const eval::DocumentScores& scores) {
        return log_->add(section, document, scores);
      };
    }
    Result<eval::TaskResult> result = eval::run_task(task.definition, task.documents, task.data,
                                                     subject, options, console.progress());
    if (!result) return with_hint(result.error());
    if (log_) log_->end(section, *result);
    if (result->cut > 0) {
      console.warn(fmt::format(
          "{}: {} contexts are longer than the {} tokens that the model sees, and lost their "
          "beginning",
          result->name, result->cut, subject.encoder.context));
    }
    results.push_back(*std::move(result));
  }
  return results;
}

Error TaskSession::with_hint(Error error) const {
  if (!log_ || error.kind != Error::Kind::kInterrupted) return error;
  error.message += ". " + log_->partial().string() +
                   " keeps what is done: the same command with --resume goes on from there";
  return error;
}

Status TaskSession::finish(const std::vector<const eval::EvalResult*>& results, Console& console) {
  if (!log_) return {};
  FPTQ_TRY_VOID(log_->finish(results));
  if (log_->unused() == 0) return {};
  console.note(
      fmt::format("{} keeps {} documents and windows that an earlier run measured and this one did "
                  "not ask for: "
                  "--resume takes them when more are asked for",
                  log_->partial().string(), log_->unused()));
  return {};
}

}  // namespace fptq::cli
