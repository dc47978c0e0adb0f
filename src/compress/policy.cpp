#include "compress/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <unordered_map>

#include "base/interrupt.h"
#include "ir/builder.h"
#include "ops/conv.h"
#include "ops/linear.h"

namespace pomona::compress {
namespace {

// Smaller constants are stored within the program.
constexpr std::size_t fewest_elements = 10;

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
    for (const auto& scheme : request_.recipe.schemes())
      if (scheme->activations() && !request_.activations_done)
        return fail("activations are quantised from data, and there are none")
            .advise("compress the package with --calibrate");
    for (const auto& function : program.functions)
      for (const auto& scheme : request_.recipe.schemes())
        POM_TRY_IN(scheme->check(function->opset), "function '{}'", function->name);
    struct Found {
      Function* function;
      std::vector<Node*> constants, decoders;
    };
    std::vector<Found> all;
    std::size_t total = 0, done = 0;
    for (const auto& function : program.functions) {
      Found& found = all.emplace_back(Found{function.get(), {}, {}});
      collect(function->body, found.constants, found.decoders);
      total += found.constants.size();
      POM_TRY(look_at(found.constants));
    }
    for (Found& found : all) {
      for (const Node* decoder : found.decoders) note_decoder(*decoder, *found.function);
      for (Node* node : found.constants) {
        POM_TRY_IN(handle(*node, *found.function), "weight '{}' of function '{}'", node->output().name(),
                   found.function->name);
        if (progress_) progress_(++done, total);
      }
    }
    for (std::size_t i = 0; i < used_.size(); ++i)
      if (!used_[i])
        report_.warnings.push_back(fmt::format("no weight has the name '{}'", request_.recipe.names[i].pattern));
    return std::move(report_);
  }

 private:
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
    }
    if (!line.note.empty()) {
      line.bytes_after = line.bytes_before;
      report_.lines.push_back(std::move(line));
      return {};
    }
    Attempt attempt = POM_TRY(attempt_for(node, function, *choice->scheme));
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
  };

  // Equal weights that are used alike are encoded alike, once.
  Result<Attempt> attempt_for(const Node& node, const Function& function, const Scheme& scheme) {
    Value value = node.output();
    Result<ChannelAxes> axes = channel_axes(value);
    bool structural = is_layer_weight(value);
    std::string key = fmt::format("{} {} {} {} {}", static_cast<const void*>(&scheme), int(function.opset), structural,
                                  node.literal.identity(),
                                  axes ? fmt::format("{} {}", axes->output, axes->input) : axes.error().what);
    auto [at, fresh] = attempts_.try_emplace(key);
    if (fresh) at->second = POM_TRY(attempt(value, std::move(axes), function.opset, scheme, structural));
    return at->second;
  }

  Result<Attempt> attempt(Value value, Result<ChannelAxes> axes, Target opset, const Scheme& scheme, bool structural) {
    Attempt result;
    const Weight& weight = *value.literal();
    Tensor tensor = POM_TRY(weight.materialise());
    Summary summary = summarise(tensor);
    result.sum_of_squares = summary.sum_of_squares;
    if (summary.not_finite) {
      result.encoded.note = fmt::format("its element {} is NaN or infinite", *summary.not_finite);
      return result;
    }
    Candidate candidate{weight, tensor, summary, opset, std::move(axes), shelf_, value.name(), structural, false, {}};
    const Statistics* statistics = nullptr;
    if (request_.calibration) statistics = POM_TRY_IN(request_.calibration->of(value), "while calibrating");
    if (statistics && candidate.axes)
      candidate.importance = importance_of(*statistics, *candidate.axes, weight.sizes());
    auto encoded = scheme.encode(candidate);
    if (!encoded) {
      result.encoded.note = encoded.error().what;
      return result;
    }
    result.encoded = *std::move(encoded);
    if (statistics && request_.round)
      POM_TRY(round_with_data(result.encoded, candidate, *statistics, request_.rounding));
    else if (request_.calibration && !statistics)
      result.encoded.note += result.encoded.note.empty() ? "without data" : "; without data";
    return result;
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
  std::unordered_map<std::string, Attempt> attempts_;
  std::vector<bool> used_;
  Report report_;
};

}  // namespace

std::vector<Node*> compressible_weights(Function& function, std::int64_t threshold) {
  std::vector<Node*> constants, decoders, weights;
  collect(function.body, constants, decoders);
  std::set<std::string> seen;
  for (Node* node : constants)
    if (reason_to_leave(node->output(), threshold).empty() && seen.insert(node->literal.identity()).second)
      weights.push_back(node);
  return weights;
}

Result<Encoded> encode_alone(const Node& node, const Scheme& scheme) {
  Value value = node.output();
  Tensor tensor = POM_TRY(node.literal.materialise());
  Summary summary = summarise(tensor);
  POM_REQUIRE(!summary.not_finite, "its element {} is NaN or infinite", *summary.not_finite);
  POM_TRY(scheme.check(node.block()->function().opset));
  return scheme.encode({node.literal,
                        tensor,
                        summary,
                        node.block()->function().opset,
                        channel_axes(value),
                        std::make_shared<Shelf>(),
                        value.name(),
                        is_layer_weight(value),
                        false,
                        {}});
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
