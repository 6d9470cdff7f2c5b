// fptq inspect: what is in a checkpoint.

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/inspect_inputs.h"
#include "cli/options.h"
#include "io/checkpoint.h"
#include "model/inventory.h"

namespace fptq::cli {
namespace {

struct InspectOptions {
  CommonOptions common;
  std::filesystem::path model;
  bool no_outliers = false;
};

struct InspectedTensor {
  model::InventoryEntry entry;
  std::optional<model::WeightStatistics> statistics;
};

Result<std::vector<InspectedTensor>> inspect_tensors(const io::Checkpoint& checkpoint,
                                                     const model::Inventory& inventory,
                                                     const InspectOptions& options,
                                                     Console& console) {
  ThreadPool pool(options.common.threads);
  const ProgressFn progress = console.progress();
  std::vector<InspectedTensor> tensors;
  for (const model::InventoryEntry& entry : inventory.entries) {
    InspectedTensor tensor{entry, std::nullopt};
    const io::TensorInfo* info = checkpoint.find(entry.name);
    if (!options.no_outliers && info != nullptr) {
      FPTQ_TRY(tensor.statistics, model::weight_statistics(checkpoint, *info, pool));
      checkpoint.release(entry.name);
    }
    tensors.push_back(std::move(tensor));
    if (!report_progress(progress, "reading", tensors.size(), inventory.entries.size())) {
      return interrupted();
    }
  }
  return tensors;
}

Json to_json(const model::Inventory& inventory, const io::Checkpoint& checkpoint,
             const std::vector<InspectedTensor>& tensors,
             const std::map<std::string, InspectedInput>& inputs) {
  Json list = Json::array();
  for (const InspectedTensor& tensor : tensors) {
    Json item = {{"name", tensor.entry.name},
                 {"shape", tensor.entry.shape},
                 {"scheme", tensor.entry.scheme},
                 {"bytes", tensor.entry.bytes}};
    if (tensor.entry.input_rotation != 0) {
      item["input_rotation"] = {{"kind", "hadamard"}, {"block", tensor.entry.input_rotation}};
    }
    if (tensor.statistics) {
      item["absmax"] = tensor.statistics->absmax;
      item["std"] = tensor.statistics->std;
      item["non_finite"] = tensor.statistics->non_finite;
    }
    const auto input = inputs.find(tensor.entry.name);
    if (input != inputs.end()) item["input"] = to_json(input->second);
    list.push_back(std::move(item));
  }
  return {{"architecture", inventory.architecture},
          {"container", checkpoint.container()},
          {"parameters", inventory.parameters},
          {"weights_bytes", inventory.bytes},
          {"disk_bytes", checkpoint.weight_file_bytes()},
          {"bits_per_weight", inventory.bits_per_weight()},
          {"linear_bits_per_weight", inventory.linear_bits_per_weight()},
          {"tensors", std::move(list)}};
}

void print_table(const model::Inventory& inventory, const std::vector<InspectedTensor>& tensors,
                 Console& console) {
  console.print(
      fmt::format("{}: {} parameters, {} bytes, {:.3f} bits per weight (decoder linears {:.3f})\n",
                  inventory.architecture, inventory.parameters, inventory.bytes,
                  inventory.bits_per_weight(), inventory.linear_bits_per_weight()));
  std::size_t width = 6;
  std::size_t scheme_width = 12;
  for (const InspectedTensor& tensor : tensors) {
    width = std::max(width, tensor.entry.name.size());
    scheme_width = std::max(scheme_width, tensor.entry.scheme.size());
  }
  console.print(fmt::format("{:{}}  {:>16}  {:>{}}  {:>12}  {:>10}  {:>7}\n", "tensor", width,
                            "shape", "scheme", scheme_width, "bytes", "absmax", "/ std"));
  for (const InspectedTensor& tensor : tensors) {
    std::string outliers;
    if (tensor.statistics && tensor.statistics->std > 0) {
      outliers = fmt::format("  {:>10.4g}  {:>7.1f}", tensor.statistics->absmax,
                             tensor.statistics->absmax / tensor.statistics->std);
    }
    console.print(fmt::format("{:{}}  {:>16}  {:>{}}  {:>12}{}\n", tensor.entry.name, width,
                              shape_text(tensor.entry.shape), tensor.entry.scheme, scheme_width,
                              tensor.entry.bytes, outliers));
  }
}

// Blocks of inputs that are rotated while the model runs, and of how many linears.
void print_rotations(const model::Inventory& inventory, Console& console) {
  std::map<std::size_t, std::size_t> linears;
  for (const model::InventoryEntry& entry : inventory.entries) {
    if (entry.input_rotation != 0) ++linears[entry.input_rotation];
  }
  for (const auto& [block, count] : linears) {
    console.print(fmt::format(
        "inputs of {} down_proj are rotated while the model runs: Hadamard, blocks of {}\n", count,
        block));
  }
}

Status run_inspect(const InspectOptions& options) {
  Console console(options.common.quiet, options.common.json_on_stdout());
  FPTQ_TRY(const auto checkpoint, io::open_checkpoint(options.model));
  for (const std::string& warning : checkpoint->warnings()) console.warn(warning);
  FPTQ_TRY(const model::Inventory inventory, model::take_inventory(*checkpoint));
  FPTQ_TRY(const auto tensors, inspect_tensors(*checkpoint, inventory, options, console));
  for (const InspectedTensor& tensor : tensors) {
    if (!tensor.statistics || tensor.statistics->non_finite == 0) continue;
    console.warn(fmt::format("{}: {} of {} values are NaN or infinite, the first at index {}",
                             tensor.entry.name, tensor.statistics->non_finite,
                             tensor.entry.parameters, tensor.statistics->first_non_finite));
  }
  FPTQ_TRY(const auto inputs, read_inspected_inputs(checkpoint->path()));
  print_table(inventory, tensors, console);
  print_rotations(inventory, console);
  print_inputs(inputs, console);
  return write_json(options.common, to_json(inventory, *checkpoint, tensors, inputs));
}

}  // namespace

void add_inspect_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command =
      app.add_subcommand("inspect", "List what a checkpoint holds: schemes, sizes, outliers");
  add_model_argument(*command, options->model);
  command->add_flag("--no-outliers", options->no_outliers,
                    "Read headers only: no largest weight, no check for NaN");
  add_common_flags(*command, options->common);
  command->callback([options, &action] { action = [options] { return run_inspect(*options); }; });
}

}  // namespace fptq::cli
