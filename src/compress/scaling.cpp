#include "compress/scaling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/interrupt.h"
#include "base/threads.h"
#include "compress/scaling_places.h"
#include "cpu/gemm.h"
#include "ops/conv.h"
#include "ops/linear.h"

namespace pomona::compress {
namespace {

// Rows of a weight that the choice of an exponent looks at, in runs of neighbours, as tables are shared by some.
constexpr std::size_t most_rows = 256, row_run = 16;
constexpr int exponent_steps = 10;
constexpr float most_scale = 256;

struct Layer {
  Node* op;
  std::string field;
  Value weight;
  LayerInput reads;
  std::shared_ptr<const Scheme> scheme;
};
struct Group {
  Value input;
  std::size_t axis = 0;
  std::vector<Layer> layers;
  std::string trouble;  // why it cannot be scaled
};

std::vector<std::string> weight_names(const Group& group) {
  std::vector<std::string> names;
  for (const Layer& layer : group.layers) names.push_back(layer.weight.name());
  return names;
}

// The same layers in another function have the same.
std::string key_of(const Group& group) {
  std::vector<std::string> identities;
  for (const Layer& layer : group.layers) identities.push_back(layer.weight.literal()->identity());
  std::ranges::sort(identities);
  return fmt::format("{}", fmt::join(identities, "|"));
}

std::optional<Layer> layer_of(Node& op) {
  for (const char* field : {"weight", "y"}) {
    if (!op.op->input_index(field)) continue;
    Value weight = op.input(field);
    if (!weight || !weight.literal()) continue;
    if (auto reads = layer_input(op, weight)) return Layer{&op, field, weight, *reads, nullptr};
  }
  return {};
}

// Floats of some rows [rows, columns] of a weight, and which they are.
struct Rows {
  std::vector<std::size_t> which;
  Tensor floats;
};
Rows some_rows(const Tensor& tensor, const ChannelAxes& axes) {
  Tensor all = tensor.converted(DType::fp32);
  bool columns_first = axes.input < axes.output;
  std::size_t rows = std::size_t(tensor.sizes()[axes.output]), columns = tensor.count() / rows;
  Rows some;
  std::size_t runs = std::max<std::size_t>(1, std::min(rows, most_rows) / row_run), run = std::min(rows, row_run);
  for (std::size_t r = 0; r < runs; ++r)
    for (std::size_t i = 0; i < run; ++i) some.which.push_back(rows / run * r / runs * run + i);
  some.floats = Tensor(DType::fp32, {std::int64_t(some.which.size()), std::int64_t(columns)});
  float* to = some.floats.mutable_view<float>().data();
  std::span<const float> from = all.view<float>();
  for (std::size_t row : some.which)
    for (std::size_t c = 0; c < columns; ++c) *to++ = from[columns_first ? c * rows + row : row * columns + c];
  return some;
}

// What a layer's outputs lose when its weight is stored by its scheme: the weight's rows, and the moments of its
// inputs.
class Loss {
 public:
  static Result<Loss> of(const Layer& layer, std::shared_ptr<const Statistics> statistics) {
    Loss loss;
    loss.scheme_ = layer.scheme;
    loss.statistics_ = std::move(statistics);
    loss.opset_ = layer.op->block()->function().opset;
    loss.dtype_ = layer.weight.dtype();
    loss.rows_ = some_rows(POM_TRY(layer.weight.literal()->materialise()), layer.reads.axes);
    loss.columns_ = std::size_t(loss.rows_.floats.sizes()[1]);
    const Statistics& seen = *loss.statistics_;
    if (!seen.matrix.empty())
      loss.packed_ =
          cpu::pack_matrix({seen.matrix.data(), loss.columns_, loss.columns_, std::ptrdiff_t(loss.columns_), 1});
    loss.output_ = loss.error(loss.rows_.floats.view<float>());
    return loss;
  }
  // With the weight's columns times `columns` and its rows divided by `rows`, where they are given; a part of the
  // outputs' power.
  Result<double> at(const std::vector<float>* columns, const std::vector<float>* rows) const {
    Tensor scaled(DType::fp32, rows_.floats.sizes());
    std::span<float> to = scaled.mutable_view<float>();
    std::span<const float> from = rows_.floats.view<float>();
    std::size_t repeats = columns ? columns_ / columns->size() : 1;
    auto factor = [&](std::size_t i) {
      float up = columns ? (*columns)[i % columns_ / repeats] : 1;
      return rows ? up / (*rows)[rows_.which[i / columns_]] : up;
    };
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = from[i] * factor(i);
    Tensor stored = scaled.converted(dtype_);
    Summary summary = summarise(stored);
    POM_REQUIRE(!summary.not_finite, "scaled weights leave the range of their type");
    Candidate candidate{Weight(stored),
                        stored,
                        summary,
                        opset_,
                        ChannelAxes{0, 1},
                        std::make_shared<Shelf>(),
                        "",
                        true,
                        false,
                        importance(columns, repeats)};
    Encoded encoded = POM_TRY(scheme_->encode(candidate));
    Tensor decoded = POM_TRY(decode(encoded, opset_)).converted(DType::fp32);
    std::span<const float> got = decoded.view<float>();
    std::vector<float> off(from.size());
    for (std::size_t i = 0; i < off.size(); ++i) off[i] = got[i] / factor(i) - from[i];
    double sum = error(off);
    return output_ > 0 ? sum / output_ : 0;
  }

 private:
  // Of all rows' outputs.
  double error(std::span<const float> off) const {
    double sum = 0;
    if (!packed_) {
      for (std::size_t i = 0; i < off.size(); ++i)
        sum += double(off[i]) * double(off[i]) * double(statistics_->second_moments[i % columns_]);
      return sum;
    }
    std::vector<float> product(off.size());
    auto stride = std::ptrdiff_t(columns_);
    cpu::multiply({off.data(), stride, packed_->view(), nullptr, product.data(), stride, off.size() / columns_}, 0,
                  cpu::panel_count(columns_));
    for (std::size_t i = 0; i < off.size(); ++i) sum += double(off[i]) * double(product[i]);
    return sum;
  }

  Importance importance(const std::vector<float>* columns, std::size_t repeats) const {
    Statistics seen;
    seen.second_moments = statistics_->second_moments;
    for (std::size_t c = 0; columns && c < columns_; ++c) {
      float scale = (*columns)[c / repeats];
      seen.second_moments[c] /= scale * scale;
    }
    return importance_of(seen, {0, 1}, rows_.floats.sizes());
  }

  std::shared_ptr<const Scheme> scheme_;
  std::shared_ptr<const Statistics> statistics_;
  Target opset_ = iOS18;
  DType dtype_ = DType::fp16;
  Rows rows_;
  std::size_t columns_ = 0;
  std::optional<cpu::PackedMatrix> packed_;
  double output_ = 0;
};

// Geometric middle of the extremes is 1.
void normalise(std::vector<float>& scales) {
  auto [least, most] = std::ranges::minmax_element(scales);
  float middle = std::sqrt(*least * *most);
  for (float& scale : scales) scale = std::clamp(scale / middle, 1 / most_scale, most_scale);
}

// Per channel from per column.
std::vector<float> channels_of(const std::vector<float>& columns, std::size_t channels) {
  std::vector<float> some(channels);
  for (std::size_t c = 0; c < channels; ++c) some[c] = columns[c * (columns.size() / channels)];
  return some;
}

std::vector<float> powers(const std::vector<float>& sizes, double exponent) {
  float least = std::numeric_limits<float>::infinity();
  for (float size : sizes)
    if (size > 0) least = std::min(least, size);
  std::vector<float> scales(sizes.size(), 1.0f);
  if (!std::isfinite(least)) return scales;
  for (std::size_t c = 0; c < sizes.size(); ++c)
    scales[c] = float(std::pow(double(std::max(sizes[c], least)), exponent));
  normalise(scales);
  return scales;
}

class Scaler {
 public:
  Scaler(Program& program, Calibration& calibration, const Recipe& recipe, const ScalingOptions& options)
      : program_(program), calibration_(calibration), recipe_(recipe), options_(options) {}

  Result<Scaled> run() {
    Function& main = calibration_.function();
    for (Group& group : groups_of(main)) POM_TRY_IN(decide(main, group), "scaling '{}'", group.input.name());
    for (const auto& function : program_.functions) {
      if (function.get() == &main) continue;
      for (Group& group : groups_of(*function))
        POM_TRY_IN(repeat(*function, group), "scaling '{}'", group.input.name());
    }
    calibration_.forget();
    return std::move(scaled_);
  }

 private:
  struct Decision {
    Scales scales;
    double exponent;
  };

  // Inputs of layers in the order of the program.
  std::vector<Group> groups_of(Function& function) {
    std::vector<Group> groups;
    std::set<Value> seen;
    for (const auto& node : function.body.nodes()) {
      auto layer = layer_of(*node);
      if (!layer || !seen.insert(layer->reads.input).second) continue;
      groups.push_back(group_at(layer->reads));
    }
    return groups;
  }

  Group group_at(const LayerInput& reads) {
    Group group{reads.input, reads.axis, {}, {}};
    for (Node* user : reads.input.users()) {
      auto layer = user->op ? layer_of(*user) : std::nullopt;
      if (!layer || layer->reads.input != reads.input || layer->reads.axis != reads.axis) {
        group.trouble = fmt::format("{} reads it as well", user->op ? user->label() : "the model's caller");
        continue;
      }
      auto choice = choose(recipe_, layer->weight, used_);
      if (choice) layer->scheme = choice->scheme;
      bool small = layer->scheme && std::int64_t(layer->weight.literal()->count()) <= layer->scheme->weight_threshold();
      if (!layer->scheme || small)
        group.trouble = fmt::format("'{}' is not compressed", layer->weight.name());
      else if (!layer->weight.used_once())
        group.trouble = fmt::format("'{}' is read by other ops", layer->weight.name());
      group.layers.push_back(*layer);
    }
    return group;
  }

  void leave(const Function& function, const Group& group, std::string note) {
    scaled_.lines.push_back({function.name, group.input.name(), weight_names(group), "", 0, std::move(note)});
  }

  Status decide(Function& function, Group& group) {
    POM_TRY(check_interrupt());
    if (!group.trouble.empty()) return leave(function, group, group.trouble), Status();
    auto fold = find_fold(group.input, group.axis);
    if (!fold) return leave(function, group, "there is nothing before it that the scales could go into"), Status();
    auto statistics = POM_TRY(calibration_.shared(group.layers[0].weight));
    if (!statistics) return leave(function, group, "without data"), Status();
    std::string key = key_of(group);
    auto channels = std::size_t(group.input.shape()[group.axis].value());
    auto found = options_.method == ScalingMethod::awq ? search(group, *fold, statistics, channels)
                                                       : smooth(group, *statistics, channels);
    if (!found) return leave(function, group, found.error().what), Status();
    if (found->exponent == 0) return leave(function, group, "scaling would not help"), Status();
    decisions_[key] = *found;
    return apply(function, group, *fold, *found);
  }

  Status repeat(Function& function, Group& group) {
    auto known = group.trouble.empty() ? decisions_.find(key_of(group)) : decisions_.end();
    if (known == decisions_.end()) return {};
    if (auto fold = find_fold(group.input, group.axis)) return apply(function, group, *fold, known->second);
    leave(function, group, "there is nothing before it that the scales could go into");
    return {};
  }

  Status apply(Function& function, Group& group, const Fold& fold, const Decision& decision) {
    std::string into;
    for (const FoldPlace& place : fold.places) {
      Value constant = place.node->input(place.field);
      into += fmt::format("{}'{}'", into.empty() ? "" : ", ", constant ? constant.name() : place.node->label());
    }
    scaled_.lines.push_back(
        {function.name, group.input.name(), weight_names(group), std::move(into), decision.exponent, {}});
    for (const auto& [value, axis] : fold.values)
      scaled_.values[{function.name, value.name()}] = {axis, decision.scales};
    POM_TRY(apply_fold(fold, decision.scales));
    for (Layer& layer : group.layers)
      POM_TRY(set_constant(*layer.op, layer.field,
                           times_scales(*layer.weight.literal(), layer.reads.axes.input, decision.scales, false)));
    return {};
  }

  // The exponent with which the layers, and a layer that takes the opposite, lose least.
  Result<Decision> search(const Group& group, const Fold& fold, const std::shared_ptr<const Statistics>& statistics,
                          std::size_t channels) {
    std::vector<Loss> losses, before;
    for (const Layer& layer : group.layers) losses.push_back(POM_TRY(Loss::of(layer, statistics)));
    for (const FoldPlace& place : fold.places) {
      auto layer = layer_of(*place.node);
      if (!layer || layer->field != place.field) continue;
      auto choice = choose(recipe_, layer->weight, used_);
      if (!choice || !choice->scheme) continue;
      layer->scheme = choice->scheme;
      if (auto seen = POM_TRY(calibration_.shared(layer->weight))) before.push_back(POM_TRY(Loss::of(*layer, seen)));
    }
    std::vector<float> rms = channels_of(statistics->second_moments, channels);
    for (float& each : rms) each = std::sqrt(each);
    std::vector<Result<double>> found(exponent_steps + 1, Result<double>(0.0));
    parallel_for(found.size(), 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t e = begin; e < end; ++e) found[e] = loss_at(losses, before, powers(rms, exponent(e)));
    });
    std::size_t best = 0;
    if (!found[0]) return std::move(found[0]).error();
    double least = *found[0];
    for (std::size_t e = 1; e < found.size(); ++e)
      if (found[e] && *found[e] < least) least = *found[e], best = e;
    return Decision{std::make_shared<const std::vector<float>>(powers(rms, exponent(best))), exponent(best)};
  }
  static double exponent(std::size_t step) { return double(step) / exponent_steps; }
  static Result<double> loss_at(const std::vector<Loss>& losses, const std::vector<Loss>& before,
                                const std::vector<float>& scales) {
    double sum = 0;
    for (const Loss& loss : losses) sum += POM_TRY(loss.at(&scales, nullptr));
    for (const Loss& loss : before) sum += POM_TRY(loss.at(nullptr, &scales));
    return sum;
  }

  Result<Decision> smooth(const Group& group, const Statistics& statistics, std::size_t channels) {
    std::vector<float> reach = channels_of(statistics.largest, channels), weights(channels);
    for (const Layer& layer : group.layers) {
      Tensor floats = POM_TRY(layer.weight.literal()->materialise()).converted(DType::fp32);
      std::span<const float> all = floats.view<float>();
      auto inner = std::size_t(strides_of(floats.sizes())[layer.reads.axes.input]);
      for (std::size_t i = 0; i < all.size(); ++i) {
        float& most = weights[i / inner % channels];
        most = std::max(most, std::fabs(all[i]));
      }
    }
    auto scales = std::make_shared<std::vector<float>>(channels, 1.0f);
    for (std::size_t c = 0; c < channels; ++c)
      if (reach[c] > 0 && weights[c] > 0)
        (*scales)[c] = std::clamp(
            float(std::pow(double(reach[c]), options_.strength) / std::pow(double(weights[c]), 1 - options_.strength)),
            1 / most_scale, most_scale);
    return Decision{scales, options_.strength};
  }

  Program& program_;
  Calibration& calibration_;
  const Recipe& recipe_;
  const ScalingOptions& options_;
  std::vector<bool> used_;
  std::map<std::string, Decision> decisions_;
  Scaled scaled_;
};

}  // namespace

Result<ScalingMethod> scaling_method(std::string_view name) {
  if (name == "awq") return ScalingMethod::awq;
  POM_REQUIRE(name == "smooth_quant", "scaling is awq or smooth_quant, not '{}'", name);
  return ScalingMethod::smooth_quant;
}

Result<Scaled> scale_inputs(Program& program, Calibration& calibration, const Recipe& recipe,
                            const ScalingOptions& options) {
  return Scaler(program, calibration, recipe, options).run();
}

}  // namespace pomona::compress
