#include "quantize/observation.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "algo/channel_statistics.h"
#include "base/file.h"
#include "calib/residual_stream.h"
#include "model/decoder_block.h"
#include "model/weights.h"

namespace fptq::quantize {
namespace {

namespace fs = std::filesystem;

using calib::ResidualStream;
using calib::SequenceBatch;
using model::BlockInput;
using model::DecoderBlock;

constexpr char kFile[] = "observation.json";
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 32;

class Observer {
 public:
  Observer(const ObservationJob& job, ResidualStream stream, const ProgressFn& progress)
      : job_(job),
        batches_(calib::sequence_batches(job.sequences->lengths(), kBatchRows)),
        stream_(std::move(stream)),
        progress_(progress) {}

  Result<std::vector<InputChoice>> run() {
    for (std::size_t layer = 0; layer < job_.config->num_layers; ++layer) {
      FPTQ_TRY_VOID(watch_block(layer));
      FPTQ_TRY_VOID(stream_.finish_block());
      for (const model::BlockLinear linear : model::kBlockLinears) {
        job_.checkpoint->release(model::block_module_name(layer, linear) + ".weight");
      }
    }
    stream_.remove();
    return std::move(choices_);
  }

 private:
  using Step = Status (ResidualStream::*)(DecoderBlock&, const SequenceBatch&);

  Status watch_block(std::size_t layer) {
    FPTQ_TRY(block_, DecoderBlock::load(*job_.checkpoint, *job_.config, layer,
                                        {.pool = job_.pool, .isa = job_.isa}));
    FPTQ_TRY_VOID(watch(BlockInput::kAttention));
    FPTQ_TRY_VOID(advance(&ResidualStream::compute_attention));
    FPTQ_TRY_VOID(watch(BlockInput::kOutput));
    FPTQ_TRY_VOID(advance(&ResidualStream::add_attention));
    stream_.attention_is_added();
    FPTQ_TRY_VOID(watch(BlockInput::kMlp));
    FPTQ_TRY_VOID(advance(&ResidualStream::compute_hidden));
    FPTQ_TRY_VOID(watch(BlockInput::kDown));
    FPTQ_TRY_VOID(advance(&ResidualStream::add_mlp));
    block_.reset();
    return {};
  }

  Status advance(Step step) {
    for (const SequenceBatch& batch : batches_) {
      FPTQ_TRY_VOID((stream_.*step)(*block_, batch));
      FPTQ_TRY_VOID(piece());
    }
    return {};
  }

  Status watch(BlockInput input) {
    const std::size_t width = model::block_input_width(*job_.config, input);
    algo::ChannelStatistics statistics(width);
    std::vector<float> x;
    for (const SequenceBatch& batch : batches_) {
      x.resize(batch.rows * width);
      stream_.input(*block_, batch, input, x.data());
      const Status status = statistics.add(x.data(), batch.rows, *job_.pool);
      if (!status) {
        return with_context(
            status.error(),
            "inputs of " + model::block_module_name(stream_.layer(), model::readers_of(input)[0]));
      }
      FPTQ_TRY_VOID(piece());
    }
    FPTQ_TRY(InputChoice choice, choose_input(*job_.recipe, *job_.plan, *job_.checkpoint,
                                              stream_.layer(), input, statistics, *job_.pool));
    choices_.push_back(std::move(choice));
    return {};
  }

  // Four inputs and four steps of a block, batch by batch.
  Status piece() {
    const std::uint64_t all = 8 * batches_.size() * job_.config->num_layers;
    const std::string stage = "observing block " + std::to_string(stream_.layer() + 1) + " of " +
                              std::to_string(job_.config->num_layers);
    if (report_progress(progress_, stage, ++pieces_done_, all)) return {};
    return Error{Error::Kind::kInterrupted,
                 job_.directory.parent_path().string() + ": interrupted"};
  }

  const ObservationJob& job_;
  std::vector<SequenceBatch> batches_;
  ResidualStream stream_;
  const ProgressFn& progress_;
  std::optional<DecoderBlock> block_;
  std::vector<InputChoice> choices_;
  std::uint64_t pieces_done_ = 0;
};

Result<std::vector<InputChoice>> read_choices(const fs::path& file, std::size_t blocks) {
  FPTQ_TRY(const std::string text, read_text_file(file, kMaxFileBytes));
  FPTQ_TRY(const Json saved, parse_json(text, file.string()));
  if (!saved.is_array() || saved.size() != blocks * model::kBlockInputs.size()) {
    return Error{Error::Kind::kFormat,
                 file.string() + ": expected " +
                     std::to_string(blocks * model::kBlockInputs.size()) +
                     " inputs, got something else. Begin again with --overwrite"};
  }
  std::vector<InputChoice> choices;
  for (const Json& json : saved) {
    FPTQ_TRY(InputChoice choice, parse_input_choice(json, file.string()));
    choices.push_back(std::move(choice));
  }
  return choices;
}

}  // namespace

bool has_observation(const fs::path& directory) {
  std::error_code failure;
  return has_calibration_sequences(directory) &&
         fs::exists(calibration_folder(directory) / kFile, failure);
}

Result<std::vector<InputChoice>> observe_inputs(const ObservationJob& job,
                                                const ProgressFn& progress) {
  const fs::path file = job.directory / kFile;
  std::error_code failure;
  if (fs::exists(file, failure)) return read_choices(file, job.config->num_layers);
  FPTQ_TRY(const ops::Embedding embedding,
           model::bind_embedding(*job.checkpoint, *job.config, {.pool = job.pool, .isa = job.isa}));
  FPTQ_TRY(ResidualStream stream,
           ResidualStream::create(job.directory, "observed", *job.config, embedding,
                                  job.sequences->all_ids(), *job.pool));
  FPTQ_TRY(std::vector<InputChoice> choices, Observer(job, std::move(stream), progress).run());
  Json saved = Json::array();
  for (const InputChoice& choice : choices) saved.push_back(to_json(choice, true));
  FPTQ_TRY_VOID(write_text_file(file, saved.dump() + "\n"));
  return choices;
}

InputScales scales_of(const std::vector<InputChoice>& choices) {
  InputScales scales;
  for (const InputChoice& choice : choices) {
    if (!choice.scales.empty())
      scales.emplace(std::pair(choice.layer, choice.input), choice.scales);
  }
  return scales;
}

ActivationChoices activations_of(const std::vector<InputChoice>& choices) {
  ActivationChoices activations;
  for (const InputChoice& choice : choices) {
    if (!choice.activations) continue;
    const bool dynamic = *choice.activations == algo::ActivationChoice::kDynamic;
    for (const model::BlockLinear linear : model::readers_of(choice.input)) {
      activations.emplace(model::block_module_name(choice.layer, linear),
                          dynamic ? a8_dynamic_per_token() : a8_static_per_tensor());
    }
  }
  return activations;
}

}  // namespace fptq::quantize
