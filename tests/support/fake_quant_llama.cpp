#include "support/fake_quant_llama.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"

namespace fptq::testing {
namespace {

using Row = std::vector<double>;

Tensor read_tensor(const io::Checkpoint& checkpoint, const std::string& name) {
  Result<Tensor> tensor = checkpoint.read(name);
  if (!tensor) std::abort();
  return *std::move(tensor);
}

template <typename T>
T element(const Tensor& tensor, std::size_t index) {
  T value;
  std::memcpy(&value, tensor.bytes().data() + index * sizeof(T), sizeof(T));
  return value;
}

// Nibble `index` of int32 words, minus 8; element 0 lies in the low bits of word 0.
double nibble(const Tensor& words, std::size_t first_word, std::size_t index) {
  const auto word = element<std::uint32_t>(words, first_word + index / 8);
  return static_cast<double>((word >> (4 * (index % 8))) & 15u) - 8.0;
}

Row to_double(const Tensor& tensor) {
  const std::vector<float> values = tensor.to_f32();
  return {values.begin(), values.end()};
}

void add_to(Row& sum, const Row& addend) {
  FPTQ_CHECK(sum.size() == addend.size(), "lengths differ");
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += addend[i];
}

// What codes stand for, and the values before they were rounded to codes.
struct GridRow {
  double scale;
  double zero_point;
  double lowest;
  double highest;
  Row unrounded;  // in codes, zero point not added
};

GridRow grid_row(const Row& x, ActivationGrid grid) {
  const auto [least, most] = std::minmax_element(x.begin(), x.end());
  const double low = std::min(*least, 0.0);
  const double high = std::max(*most, 0.0);
  const double absmax = std::max(high, -low);
  GridRow row{1.0, 0.0, -127.0, 127.0, x};
  if (absmax == 0.0) return row;
  switch (grid) {
    case ActivationGrid::kNone:
    case ActivationGrid::kSymmetric:
      row.scale = absmax / 127.0;
      break;
    case ActivationGrid::kAsymmetric:
      row.scale = (high - low) / 255.0;
      row.lowest = -128.0;
      row.zero_point = std::clamp(std::nearbyint(-128.0 - low / row.scale), -128.0, 127.0);
      break;
    case ActivationGrid::kLibrarySymmetric: {
      // In float32, as there: max|x| / (max|x| / 127.5) is 127.5 or a neighbour of it, and that
      // decides whether a negative extreme becomes -127 or -128.
      const float scale = static_cast<float>(absmax) / 127.5f;
      row.scale = scale;
      row.lowest = -128.0;
      for (double& value : row.unrounded) value = static_cast<float>(value) / scale;
      return row;
    }
  }
  for (double& value : row.unrounded) value /= row.scale;
  return row;
}

}  // namespace

FakeQuantLlama::FakeQuantLlama(const io::Checkpoint& checkpoint, ActivationGrid grid)
    : grid_(grid) {
  const Json& config = checkpoint.config();
  layers_ = config.at("num_hidden_layers");
  heads_ = config.at("num_attention_heads");
  kv_heads_ = config.at("num_key_value_heads");
  head_dim_ = config.at("head_dim");
  epsilon_ = config.at("rms_norm_eps");
  FPTQ_CHECK(config.at("rope_parameters").at("rope_type") == "default",
             "the oracle knows default RoPE only");
  theta_ = config.at("rope_parameters").at("rope_theta");
  keys_.resize(layers_);
  values_.resize(layers_);
  for (const io::TensorInfo& info : checkpoint.tensors()) {
    for (const std::string suffix : {".weight", ".weight_packed"}) {
      if (!info.name.ends_with(suffix)) continue;
      const std::string module = info.name.substr(0, info.name.size() - suffix.size());
      matrices_[module] = read_matrix(checkpoint, module);
    }
    if (info.name.ends_with(".bias")) {
      biases_[info.name.substr(0, info.name.size() - std::strlen(".bias"))] =
          to_double(read_tensor(checkpoint, info.name));
    }
  }
  if (!matrices_.contains("lm_head")) matrices_["lm_head"] = matrices_.at("model.embed_tokens");
}

// (q - zero_point) * scale, with one scale per row and group.
FakeQuantLlama::Matrix FakeQuantLlama::read_matrix(const io::Checkpoint& checkpoint,
                                                   const std::string& module) {
  const bool packed = checkpoint.find(module + ".weight_packed") != nullptr;
  const Tensor codes = read_tensor(checkpoint, module + (packed ? ".weight_packed" : ".weight"));
  if (!packed && codes.dtype() != DType::kI8) {
    return {codes.rows(), codes.cols(), to_double(codes)};
  }
  Matrix matrix{codes.rows(), codes.cols(), {}};
  if (packed) {
    const Tensor shape = read_tensor(checkpoint, module + ".weight_shape");
    matrix.cols = static_cast<std::size_t>(element<std::int64_t>(shape, 1));
  }
  const Tensor scale_tensor = read_tensor(checkpoint, module + ".weight_scale");
  const Row scales = to_double(scale_tensor);
  const std::size_t groups = scale_tensor.cols();
  FPTQ_CHECK(scale_tensor.rows() == matrix.rows && matrix.cols % groups == 0,
             "groups have to divide a row");
  Row zero_points(scales.size());
  if (checkpoint.find(module + ".weight_zero_point") != nullptr) {
    const Tensor zeros = read_tensor(checkpoint, module + ".weight_zero_point");
    FPTQ_CHECK(zeros.dtype() == DType::kI8 && zeros.elements() == scales.size(),
               "zero points have to be I8");
    for (std::size_t i = 0; i < zero_points.size(); ++i) {
      zero_points[i] = element<std::int8_t>(zeros, i);
    }
  }
  for (std::size_t n = 0; n < matrix.rows; ++n) {
    for (std::size_t k = 0; k < matrix.cols; ++k) {
      const std::size_t group = n * groups + k / (matrix.cols / groups);
      const double code = packed ? nibble(codes, n * codes.cols(), k)
                                 : element<std::int8_t>(codes, n * codes.cols() + k);
      matrix.values.push_back((code - zero_points[group]) * scales[group]);
    }
  }
  return matrix;
}

// y = W x + b, [N].
FakeQuantLlama::Row FakeQuantLlama::linear(const std::string& module, const Row& x) const {
  const Matrix& weight = matrices_.at(module);
  FPTQ_CHECK(weight.cols == x.size(), "lengths differ");
  Row y(weight.rows);
  for (std::size_t n = 0; n < weight.rows; ++n) {
    for (std::size_t k = 0; k < x.size(); ++k) y[n] += weight.values[n * x.size() + k] * x[k];
  }
  if (const auto bias = biases_.find(module); bias != biases_.end()) add_to(y, bias->second);
  return y;
}

// x / sqrt(mean x^2 + epsilon) * weight.
FakeQuantLlama::Row FakeQuantLlama::norm(const std::string& module, const Row& x) const {
  double squares = 0.0;
  for (const double value : x) squares += value * value;
  const double factor = 1.0 / std::sqrt(squares / static_cast<double>(x.size()) + epsilon_);
  Row y = x;
  for (std::size_t i = 0; i < y.size(); ++i) y[i] *= factor * matrices_.at(module).values[i];
  return y;
}

// Turns the pair (i, i + Dh / 2) of every head by position * theta^(-2i / Dh).
void FakeQuantLlama::rotate(Row& heads, std::size_t position) const {
  const std::size_t half = head_dim_ / 2;
  for (std::size_t begin = 0; begin < heads.size(); begin += head_dim_) {
    for (std::size_t i = 0; i < half; ++i) {
      const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(head_dim_);
      const double angle = static_cast<double>(position) * std::pow(theta_, exponent);
      const double a = heads[begin + i];
      const double b = heads[begin + half + i];
      heads[begin + i] = a * std::cos(angle) - b * std::sin(angle);
      heads[begin + half + i] = b * std::cos(angle) + a * std::sin(angle);
    }
  }
}

// softmax(q k / sqrt(Dh)) v over the positions in the cache, [H * Dh].
FakeQuantLlama::Row FakeQuantLlama::attention(std::size_t layer, const Row& q) const {
  const std::size_t positions = keys_[layer].size();
  Row mixed(q.size());
  for (std::size_t head = 0; head < heads_; ++head) {
    const std::size_t kv_begin = head / (heads_ / kv_heads_) * head_dim_;
    Row scores(positions);
    for (std::size_t t = 0; t < positions; ++t) {
      for (std::size_t i = 0; i < head_dim_; ++i) {
        scores[t] += q[head * head_dim_ + i] * keys_[layer][t][kv_begin + i];
      }
      scores[t] /= std::sqrt(static_cast<double>(head_dim_));
    }
    const double largest = *std::max_element(scores.begin(), scores.end());
    double sum = 0.0;
    for (double& score : scores) sum += score = std::exp(score - largest);
    for (std::size_t t = 0; t < positions; ++t) {
      for (std::size_t i = 0; i < head_dim_; ++i) {
        mixed[head * head_dim_ + i] += scores[t] / sum * values_[layer][t][kv_begin + i];
      }
    }
  }
  return mixed;
}

// The values that the row's 8-bit codes stand for.
FakeQuantLlama::Row FakeQuantLlama::round_row(const Row& x) {
  if (grid_ == ActivationGrid::kNone) return x;
  const GridRow grid = grid_row(x, grid_);
  Row y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double value = grid.unrounded[i];
    const auto clamped = [&](double code) {
      return std::clamp(code + grid.zero_point, grid.lowest, grid.highest);
    };
    double code = clamped(std::nearbyint(value));
    const double other = clamped(std::floor(value) + std::ceil(value) - std::nearbyint(value));
    const std::size_t number = codes_seen_++;
    if (std::abs(value - std::floor(value) - 0.5) <= kTieWidth && other != code) {
      ties_.push_back(number);
      if (std::find(flipped_.begin(), flipped_.end(), number) != flipped_.end()) code = other;
    }
    y[i] = (code - grid.zero_point) * grid.scale;
  }
  return y;
}

std::vector<double> FakeQuantLlama::logits(std::size_t position, std::int32_t id,
                                           std::span<const std::size_t> flipped) {
  codes_seen_ = 0;
  flipped_.assign(flipped.begin(), flipped.end());
  ties_.clear();
  const Matrix& embedding = matrices_.at("model.embed_tokens");
  const auto begin =
      embedding.values.begin() + static_cast<std::ptrdiff_t>(embedding.cols) * std::ptrdiff_t{id};
  Row x(begin, begin + static_cast<std::ptrdiff_t>(embedding.cols));
  for (std::size_t i = 0; i < layers_; ++i) {
    const std::string block = "model.layers." + std::to_string(i);
    const Row attention_input = round_row(norm(block + ".input_layernorm", x));
    Row q = linear(block + ".self_attn.q_proj", attention_input);
    Row k = linear(block + ".self_attn.k_proj", attention_input);
    rotate(q, position);
    rotate(k, position);
    keys_[i].resize(position);
    values_[i].resize(position);
    keys_[i].push_back(std::move(k));
    values_[i].push_back(linear(block + ".self_attn.v_proj", attention_input));
    add_to(x, linear(block + ".self_attn.o_proj", round_row(attention(i, q))));

    const Row mlp_input = round_row(norm(block + ".post_attention_layernorm", x));
    Row gated = linear(block + ".mlp.gate_proj", mlp_input);
    const Row up = linear(block + ".mlp.up_proj", mlp_input);
    for (std::size_t f = 0; f < gated.size(); ++f) gated[f] *= up[f] / (1.0 + std::exp(-gated[f]));
    add_to(x, linear(block + ".mlp.down_proj", round_row(gated)));
  }
  return linear("lm_head", norm("model.norm", x));
}

namespace {

// The search for one position's rounding.
struct Search {
  FakeQuantLlama& oracle;
  std::size_t position;
  std::int32_t id;
  std::span<const float> expected;
  double tolerance;

  std::vector<std::size_t> flips = {};
  std::vector<std::size_t> best_flips = {};
  double best = std::numeric_limits<double>::infinity();

  // Whether the logits agree with the flips so far and up to `more` later ones.
  bool agrees(std::size_t more) {
    const std::vector<double> logits = oracle.logits(position, id, flips);
    FPTQ_CHECK(logits.size() == expected.size(), "vocabularies differ");
    double worst = 0.0;
    for (std::size_t v = 0; v < logits.size(); ++v) {
      const double difference = std::abs(logits[v] - static_cast<double>(expected[v]));
      // A NaN is the worst of all.
      worst = difference <= worst  ? worst
              : difference > worst ? difference
                                   : std::numeric_limits<double>::infinity();
    }
    if (worst < best) {
      best = worst;
      best_flips = flips;
    }
    if (worst <= tolerance) return true;
    if (more == 0) return false;
    const std::vector<std::size_t> ties = oracle.ties();
    for (const std::size_t tie : ties) {
      if (!flips.empty() && tie <= flips.back()) continue;
      flips.push_back(tie);
      if (agrees(more - 1)) return true;
      flips.pop_back();
    }
    return false;
  }
};

}  // namespace

OracleAgreement compare_with_oracle(FakeQuantLlama& oracle, std::span<const std::int32_t> ids,
                                    std::span<const float> expected, double tolerance) {
  constexpr std::size_t kMostFlips = 2;
  const std::size_t vocabulary = expected.size() / ids.size();
  OracleAgreement agreement;
  for (std::size_t t = 0; t < ids.size(); ++t) {
    Search search{oracle, t, ids[t], expected.subspan(t * vocabulary, vocabulary), tolerance};
    bool found = false;
    for (std::size_t most = 0; most <= kMostFlips && !found; ++most) found = search.agrees(most);
    static_cast<void>(oracle.logits(t, ids[t], search.best_flips));
    agreement.worst = std::max(agreement.worst, search.best);
    agreement.flips += search.best_flips.size();
    agreement.ties += oracle.ties().size();
  }
  return agreement;
}

}  // namespace fptq::testing
