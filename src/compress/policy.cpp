#include "compress/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <unordered_map>

#include "base/half.h"
#include "base/interrupt.h"
#include "compress/bias_correction.h"
#include "compress/first_layers.h"
#include "ir/builder.h"
#include "ops/constexpr.h"
#include "ops/conv.h"
#include "ops/linear.h"

namespace pomona::compress {
namespace {

// Smaller constants are stored within the program.
constexpr std::size_t fewest_elements = 10;
// Jobs that will take longer are kept as they go on; a weight of so many elements tells.
constexpr double long_seconds = 20;
constexpr std::size_t telling_elements = 1 << 18;
// What a node takes in the file of the program, at the least.
constexpr std::size_t node_bytes = 300;
constexpr const char* first_layer_reason = "near the inputs, where errors grow most: 16 bits are kept";
constexpr const char* first_and_repeated_reason = "near the inputs, where errors grow most, and in several places";

bool feeds_constexpr(Value value) {
  return std::ranges::any_of(value.users(), [](const Node* user) { return user->op && user->op->constexpr_op; });
}

// coremltools' convention: [out, in, ...] everywhere but for transposed convolutions and the operands of matmul.
ChannelAxes axes_for(const Node& user, Value value) {
  std::size_t last = value.rank() - 1;
  if (is<mil::conv_transpose>(&user)) return {1, 0};
  if (!is<mil::matmul>(&user)) return {0, 1};
  bool second = user.input("y") == value;
  bool transposed = std::get<bool>(user.attribute(second ? "transpose_y" : "transpose_x"));
  return second == transposed ? ChannelAxes{last - 1, last} : ChannelAxes{last, last - 1};
}

Result<ChannelAxes> channel_axes(Value value) {
  ChannelAxes axes = axes_for(*value.users().front(), value);
  for (const Node* user : value.users())
    POM_REQUIRE(axes_for(*user, value) == axes, "{} and {} have their channels along different axes of it",
                value.users().front()->label(), user->label());
  return axes;
}

bool is_layer_weight(Value value) {
  return std::ranges::all_of(value.users(), [&](const Node* user) {
    return (is<mil::conv>(user) || is<mil::linear>(user)) && user->input("weight") == value;
  });
}

bool is_convolved(Value value) {
  return std::ranges::all_of(value.users(),
                             [&](const Node* user) { return is<mil::conv>(user) && user->input("weight") == value; });
}

Candidate candidate_of(Value value, const Tensor& tensor, const Summary& summary, Target opset,
                       Result<ChannelAxes> axes, std::shared_ptr<Shelf> shelf) {
  Candidate candidate{*value.literal(), tensor, summary, opset, std::move(axes), std::move(shelf), value.name()};
  candidate.structural = is_layer_weight(value);
  candidate.convolved = is_convolved(value);
  return candidate;
}

// fp32 as fp16, for weights that are to lose next to nothing.
Encoded as_halves(const Candidate& candidate) {
  auto measured = std::make_shared<Measured>();
  auto halves = [measured](std::span<const Tensor> in) -> Result<Tensors> {
    Tensor half = in[0].converted(DType::fp16), back = half.converted(DType::fp32);
    double error = 0;
    for (std::size_t i = 0; i < back.count(); ++i) {
      double off = double(in[0].view<float>()[i]) - double(back.view<float>()[i]);
      error += off * off;
    }
    measured->squared_error = error;
    return Tensors{half};
  };
  Encoded encoded;
  encoded.scheme = "fp16";
  encoded.measured = measured;
  auto parts = parts_of("fp16", {candidate.weight}, {{DType::fp16, candidate.weight.sizes()}}, halves, candidate.shelf);
  encoded.add(stage<mil::constexpr_cast>({{"source_val", parts[0]}}, {{"output_dtype", std::string("fp32")}}));
  encoded.rounded = true;
  return encoded;
}

// Why a constant is not even tried, or empty.
std::string reason_to_leave(Value value, std::int64_t threshold) {
  const auto& users = value.users();
  if (users.empty()) return "nothing uses it";
  if (std::ranges::any_of(users, [](const Node* user) { return !user->op; })) return "the model returns it";
  if (value.dtype() != DType::fp16 && value.dtype() != DType::fp32)
    return fmt::format("its elements are {}", name(value.dtype()));
  if (value.rank() < 2) return fmt::format("rank {}", value.rank());
  std::int64_t count = element_count(known_sizes(value.shape()));
  if (count <= threshold) return fmt::format("{} elements, and weight_threshold is {}", count, threshold);
  return {};
}

void collect(Block& block, std::vector<Node*>& constants, std::vector<Node*>& decoders) {
  for (const auto& node : block.nodes()) {
    for (auto& inner : node->blocks) collect(*inner, constants, decoders);
    if (node->op->constexpr_op) decoders.push_back(node.get());
    if (!node->op->structural) continue;
    const Weight& literal = node->literal;
    const Tensor* tensor = literal.in_memory();
    if ((tensor && (tensor->is_list() || tensor->is_dictionary())) || literal.dtype() == DType::string) continue;
    if (literal.count() >= fewest_elements && !feeds_constexpr(node->output())) constants.push_back(node.get());
  }
}

// The bytes a decoder reads, those of the decoders before it included.
std::uint64_t operand_bytes(const Node& decoder, std::set<std::string>& counted) {
  std::uint64_t bytes = 0;
  for (Value input : decoder.inputs()) {
    if (const Weight* weight = input.literal())
      bytes += counted.insert(weight->identity()).second ? weight->stored_size() : 0;
    else if (input.producer())
      bytes += operand_bytes(*input.producer(), counted);
  }
  return bytes;
}

class Compressor {
 public:
  Compressor(const Request& request, const CompressProgress& progress)
      : request_(request), progress_(progress), used_(request.used_names) {}

  Result<Report> run(Program& program) {
    POM_TRY(check_recipe(program, request_.recipe, request_.activations_done));
    std::vector<Found> all;
    std::size_t total = 0, done = 0;
    for (Function* function : in_order(program)) {
      Found& found = all.emplace_back(Found{function, {}, {}});
      collect(function->body, found.constants, found.decoders);
      total += found.constants.size();
      for (const Node* node : found.constants) total_elements_ += node->literal.count();
      POM_TRY(look_at(found.constants));
    }
    find_first_layers(program, all);
    for (Found& found : all) {
      for (const Node* decoder : found.decoders) note_decoder(*decoder, *found.function);
      for (Node* node : found.constants) {
        POM_TRY_IN(handle(*node, *found.function), "weight '{}' of function '{}'", node->output().name(),
                   found.function->name);
        if (progress_) progress_(++done, total);
      }
    }
    // Last, as old biases are among the constants that were looked at.
    for (const auto& [op, shift] : corrections_) POM_TRY_IN(correct_bias(*op, shift), "correcting the bias");
    for (std::size_t i = 0; i < used_.size(); ++i)
      if (!used_[i])
        report_.warnings.push_back(fmt::format("no weight has the name '{}'", request_.recipe.names[i].pattern));
    return std::move(report_);
  }

 private:
  struct Found {
    Function* function;
    std::vector<Node*> constants, decoders;
  };

  // What the function with data becomes serves the others, where they have the same weights.
  std::vector<Function*> in_order(Program& program) const {
    std::vector<Function*> functions;
    for (const auto& function : program.functions) functions.push_back(function.get());
    std::ranges::stable_partition(functions, [&](const Function* function) {
      return request_.calibration && &request_.calibration->function() == function;
    });
    return functions;
  }

  Status look_at(const std::vector<Node*>& constants) {
    if (!std::ranges::any_of(request_.recipe.schemes(), [](const auto& scheme) { return scheme->looks_at_all(); }))
      return {};
    for (const Node* node : constants) {
      auto choice = choose(request_.recipe, node->output(), used_);
      if (choice && choice->scheme && choice->scheme->looks_at_all() &&
          reason_to_leave(node->output(), choice->scheme->weight_threshold()).empty() &&
          seen_.insert(node->literal.identity()).second)
        choice->scheme->look_at(POM_TRY(node->literal.materialise()));
    }
    return {};
  }

  // A configuration that names a weight says all about it.
  void find_first_layers(Program& program, const std::vector<Found>& all) {
    if (!request_.keep_first_layers) return;
    auto part_for = [&](Value value) {
      auto choice = choose(request_.recipe, value, used_);
      bool tried = choice && choice->scheme && !choice->by_name && is_convolved(value) &&
                   reason_to_leave(value, choice->scheme->weight_threshold()).empty();
      return tried ? choice->scheme->first_layers() : 0;
    };
    std::uint64_t total = 0;
    std::set<std::string> seen;
    for (const Found& found : all) total += found.function->body.nodes().size() * node_bytes;
    for (const Found& found : all)
      for (const Node* node : found.constants)
        if (seen.insert(node->literal.identity()).second)
          total += reason_to_leave(node->output(), 0).empty() ? node->literal.count() : node->literal.stored_size();
    first_ = first_layers(in_order(program), total, part_for);
  }

  void note_decoder(const Node& node, const Function& function) {
    Value value = node.output(node.output_count() - 1);
    if (feeds_constexpr(value)) return;
    std::uint64_t bytes = operand_bytes(node, counted_);
    Sizes sizes = all_known(value.shape()) ? known_sizes(value.shape()) : Sizes();
    report_.lines.push_back({.function = function.name,
                             .name = value.name(),
                             .dtype = value.dtype(),
                             .sizes = std::move(sizes),
                             .note = fmt::format("already compressed ({})", node.op->name),
                             .bytes_before = bytes,
                             .bytes_after = bytes});
  }

  Status handle(Node& node, const Function& function) {
    POM_TRY(check_interrupt());
    Value value = node.output();
    WeightLine line{
        .function = function.name, .name = value.name(), .dtype = node.literal.dtype(), .sizes = node.literal.sizes()};
    bool again = !counted_.insert(node.literal.identity()).second;
    if (!again) line.bytes_before = node.literal.stored_size();
    auto choice = choose(request_.recipe, value, used_);
    line.note = reason_to_leave(value, choice && choice->scheme ? choice->scheme->weight_threshold() : 0);
    if (line.note.empty()) {
      POM_TRY(Status(choice ? Status() : Status(choice.error())));
      line.note = choice->reason;
      auto left = request_.left.find(value.name());
      if (line.note.empty() && request_.recipe.names.empty() && left != request_.left.end()) line.note = left->second;
      if (line.note.empty() && first_.contains(node.literal.identity()) && line.dtype == DType::fp16)
        line.note = first_layer_reason;
    }
    if (!line.note.empty()) {
      line.bytes_after = line.bytes_before;
      report_.lines.push_back(std::move(line));
      return {};
    }
    Attempt attempt = POM_TRY(attempt_for(node, function, *POM_TRY(scheme_for(value.name(), choice->scheme))));
    if (!attempt.shift.empty()) {
      std::string left = why_no_bias(value);
      if (left.empty()) corrections_.emplace_back(value.users().front(), attempt.shift);
      add_note(attempt.encoded, left.empty() ? "bias corrected" : left);
    }
    if (!attempt.encoded.stages.empty()) {
      POM_TRY(replace(node, attempt.encoded));
      line.error_before = attempt.encoded.error_before;
      line.scheme = attempt.encoded.scheme;
      line.measured = attempt.encoded.measured;
      line.sum_of_squares = attempt.sum_of_squares;
    }
    line.note = attempt.encoded.note;
    count_bytes(line, attempt.encoded, again);
    report_.lines.push_back(std::move(line));
    return {};
  }

  struct Attempt {
    Encoded encoded;  // without stages: `note` says why the weight is left
    double sum_of_squares = 0;
    std::vector<float> shift = {};  // of the outputs' means
  };

  static void add_note(Encoded& encoded, std::string_view text) {
    if (!text.empty()) encoded.note += (encoded.note.empty() ? "" : "; ") + std::string(text);
  }

  Result<std::shared_ptr<const Scheme>> scheme_for(const std::string& name,
                                                   const std::shared_ptr<const Scheme>& chosen) {
    auto scheme = POM_TRY(keeping(request_.already, name, chosen));
    if (scheme != chosen) made_.push_back(scheme);
    return scheme;
  }

  // Equal weights that are used alike are encoded alike, once.
  Result<Attempt> attempt_for(const Node& node, const Function& function, const Scheme& scheme) {
    Value value = node.output();
    Result<ChannelAxes> axes = channel_axes(value);
    bool structural = is_layer_weight(value);
    std::string key = fmt::format("{} {} {} {} {} {}", static_cast<const void*>(&scheme), int(function.opset),
                                  structural, is_convolved(value), node.literal.identity(),
                                  axes ? fmt::format("{} {}", axes->output, axes->input) : axes.error().what);
    auto [at, fresh] = attempts_.try_emplace(key);
    if (fresh) at->second = POM_TRY(attempt(value, std::move(axes), function.opset, scheme));
    return at->second;
  }

  Result<Attempt> attempt(Value value, Result<ChannelAxes> axes, Target opset, const Scheme& scheme) {
    Attempt result;
    const Weight& weight = *value.literal();
    Tensor tensor = POM_TRY(weight.materialise());
    Summary summary = summarise(tensor);
    result.sum_of_squares = summary.sum_of_squares;
    if (summary.not_finite) {
      result.encoded.note = fmt::format("its element {} is NaN or infinite", *summary.not_finite);
      return result;
    }
    Candidate candidate = candidate_of(value, tensor, summary, opset, std::move(axes), shelf_);
    auto first = first_.find(weight.identity());
    if (first != first_.end() && (first->second == DType::fp32 || summary.largest_magnitude <= largest_half)) {
      if (first->second == DType::fp16) result.encoded = as_halves(candidate);
      result.encoded.note = first->second == DType::fp16 ? first_layer_reason : first_and_repeated_reason;
      return result;
    }
    std::size_t number = attempts_.size();
    if (POM_TRY(take_done(number, candidate, scheme, result))) return result;
    const Statistics* statistics = nullptr;
    if (request_.calibration) statistics = POM_TRY_IN(request_.calibration->of(value), "while calibrating");
    if (statistics && candidate.axes)
      candidate.importance = importance_of(*statistics, *candidate.axes, weight.sizes());
    std::string note = POM_TRY(take_importance(candidate));
    if (statistics && request_.round) note += POM_TRY(prepare_rounding(candidate, scheme, *statistics));
    auto encoded = scheme.encode(candidate);
    if (!encoded) {
      result.encoded.note = encoded.error().what;
      return result;
    }
    result.encoded = *std::move(encoded);
    if (candidate.round && !result.encoded.rounded && !candidate.kept)
      POM_TRY(candidate.round(result.encoded, candidate));
    else if (request_.calibration && !statistics)
      add_note(result.encoded, "without data");
    add_note(result.encoded, note);
    if (candidate.kept) POM_TRY(measure_pruned(result.encoded, tensor, opset));
    if (request_.correct_bias && statistics && candidate.axes)
      result.shift =
          POM_TRY(mean_shift(tensor, POM_TRY(decode(result.encoded, opset)), *candidate.axes, statistics->means));
    POM_TRY(keep_done(number, weight.count(), result));
    return result;
  }

  Result<bool> take_done(std::size_t number, const Candidate& candidate, const Scheme& scheme, Attempt& result) {
    if (!request_.journal || !request_.journal->resumes()) return false;
    auto encoded = scheme.encode(candidate);
    if (!encoded) return false;
    result.encoded = *std::move(encoded);
    return request_.journal->take(number, result.encoded, result.shift);
  }

  // Work that will take long is kept as it is done. What is encoded when the package is written has taken no time yet:
  // the first large weight tells what it will.
  Status keep_done(std::size_t number, std::size_t count, Attempt& result) {
    if (!request_.journal) return {};
    done_elements_ += count;
    double before = request_.journal->seconds();
    bool lazy = !result.encoded.rounded;
    if (lazy && count >= telling_elements && seconds_per_element_ < 0) {
      for (const Stage& stage : result.encoded.stages)
        for (const auto& [field, part] : stage.parts)
          if (part.weight) POM_TRY(part.weight.materialise());
      seconds_per_element_ = (request_.journal->seconds() - before) / double(count);
    }
    bool is_long = lazy ? seconds_per_element_ * double(total_elements_) > long_seconds
                        : before / double(done_elements_) * double(total_elements_) > long_seconds;
    return is_long ? request_.journal->keep(number, result.encoded, result.shift) : Status();
  }

  // What the user's file says of it, in place of what calibration does.
  Result<std::string> take_importance(Candidate& candidate) const {
    if (request_.importance.empty()) return std::string();
    auto given = request_.importance.find(candidate.name);
    if (given == request_.importance.end()) return std::string("the importance file does not have it");
    std::size_t count = candidate.weight.count(), size = given->second.size();
    if (size == count) {
      candidate.importance = {std::make_shared<const std::vector<float>>(given->second), 1};
      return std::string();
    }
    if (!candidate.axes) return std::string("its importance is per input channel, and it has none");
    auto inputs = std::size_t(candidate.weight.sizes()[candidate.axes->input]);
    if (size != inputs) return fmt::format("its importance has {} numbers, and it has {} input channels", size, inputs);
    Statistics seen;
    bool columns_first = candidate.axes->input < candidate.axes->output;
    std::size_t outputs = std::size_t(candidate.weight.sizes()[candidate.axes->output]),
                repeats = columns_first ? 1 : std::max<std::size_t>(1, count / outputs / inputs);
    for (float each : given->second) seen.second_moments.insert(seen.second_moments.end(), repeats, each);
    candidate.importance = importance_of(seen, *candidate.axes, candidate.weight.sizes());
    return std::string();
  }

  // Zeros are chosen now, codes once they have been encoded.
  Result<std::string> prepare_rounding(Candidate& candidate, const Scheme& scheme, const Statistics& statistics) const {
    const Rounding& by = request_.rounding;
    candidate.round = [&statistics, &by](Encoded& encoded, const Candidate& of) {
      return round_with_data(encoded, of, statistics, by);
    };
    auto zeros = scheme.zeros(candidate);
    if (!zeros || !*zeros) return std::string();
    auto pruned = prune_with_data(candidate, statistics, by, **zeros);
    return pruned ? std::string() : "zeros chosen by magnitude: " + pruned.error().what;
  }

  // Zeros and what is left have changed together: what both cost is told.
  static Status measure_pruned(Encoded& encoded, const Tensor& before, Target opset) {
    Tensor was = before.converted(DType::fp32), is = POM_TRY(decode(encoded, opset)).converted(DType::fp32);
    auto measured = std::make_shared<Measured>();
    double error = 0;
    for (std::size_t i = 0; i < was.count(); ++i) {
      double off = double(was.view<float>()[i]) - double(is.view<float>()[i]);
      error += off * off;
    }
    measured->squared_error = error;
    encoded.measured = std::move(measured);
    encoded.error_before = 0;
    return {};
  }

  void count_bytes(WeightLine& line, const Encoded& encoded, bool again) {
    if (encoded.stages.empty()) line.bytes_after = line.bytes_before;
    for (const Stage& stage : encoded.stages)
      for (const auto& [field, part] : stage.parts)
        if (part.weight && counted_.insert(part.weight.identity()).second)
          line.bytes_after += part.weight.stored_size();
    if (again) line.note += fmt::format("{}the same bytes as another weight", line.note.empty() ? "" : "; ");
  }

  static Status replace(Node& node, const Encoded& encoded) {
    Value before = node.output(), after = POM_TRY(build(encoded, node));
    replace_uses(before, after);
    node.block()->erase(node);
    return {};
  }

  const Request& request_;
  const CompressProgress& progress_;
  std::shared_ptr<Shelf> shelf_ = std::make_shared<Shelf>();
  std::set<std::string> counted_, seen_;
  FirstLayers first_;
  std::unordered_map<std::string, Attempt> attempts_;
  std::vector<std::pair<Node*, std::vector<float>>> corrections_;
  std::vector<std::shared_ptr<const Scheme>> made_;  // for single weights
  double seconds_per_element_ = -1;
  std::size_t total_elements_ = 0, done_elements_ = 0;
  std::vector<bool> used_;
  Report report_;
};

}  // namespace

Status check_recipe(const Program& program, const Recipe& recipe, bool activations_done) {
  for (const auto& scheme : recipe.schemes())
    if (scheme->activations() && !activations_done)
      return fail("activations are quantised from data, and there are none")
          .advise("--calibrate with an .npz, a folder, pictures or a text");
  for (const auto& function : program.functions)
    for (const auto& scheme : recipe.schemes())
      POM_TRY_IN(scheme->check(function->opset), "function '{}'", function->name);
  return {};
}

std::vector<Node*> compressible_weights(Function& function, std::int64_t threshold) {
  std::vector<Node*> constants, decoders, weights;
  collect(function.body, constants, decoders);
  std::set<std::string> seen;
  for (Node* node : constants)
    if (reason_to_leave(node->output(), threshold).empty() && seen.insert(node->literal.identity()).second)
      weights.push_back(node);
  return weights;
}

Result<Encoded> encode_alone(const Node& node, const Weight& weight, const Scheme& scheme) {
  Target opset = node.block()->function().opset;
  Tensor tensor = POM_TRY(weight.materialise());
  Summary summary = summarise(tensor);
  POM_REQUIRE(!summary.not_finite, "its element {} is NaN or infinite", *summary.not_finite);
  POM_TRY(scheme.check(opset));
  Candidate candidate =
      candidate_of(node.output(), tensor, summary, opset, channel_axes(node.output()), std::make_shared<Shelf>());
  candidate.weight = weight;
  return scheme.encode(candidate);
}

double WeightLine::bits_per_weight() const {
  std::int64_t count = element_count(sizes);
  return count ? 8.0 * double(bytes_after) / double(count) : 0;
}

std::optional<double> WeightLine::relative_error() const {
  if (!measured || measured->squared_error < 0) return {};
  double error = measured->squared_error + error_before;
  return sum_of_squares > 0 ? std::sqrt(error / sum_of_squares) : 0;
}

std::optional<double> WeightLine::snr_decibel() const {
  auto relative = relative_error();
  if (!relative) return {};
  return *relative > 0 ? -20 * std::log10(*relative) : std::numeric_limits<double>::infinity();
}

Result<Report> compress(Program& program, const Request& request, const CompressProgress& progress) {
  return Compressor(request, progress).run(program);
}

}  // namespace pomona::compress
