#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "base/half.h"
#include "ir/builder.h"
#include "ir/call.h"
#include "ir/walk.h"
#include "ops/elementwise_unary.h"
#include "rewrite/passes/passes.h"

namespace pomona::rewrite {
namespace {

constexpr double as_good_as_infinite = 1e38;              // what exporters write for "minus infinity"
constexpr std::size_t looked_through_elements = 1 << 20;  // larger constants are not scanned for their magnitude
constexpr std::size_t looked_through_weight = 4096;   // nor are weights of layers beyond this, which are never masks
constexpr std::size_t small_constant_elements = 400;  // up to here, values that would vanish are kept above 0
constexpr std::int64_t long_sum = 16384;              // elements whose sum easily passes fp16's range

enum class Magnitude { fits, saturates, too_large };

Result<Magnitude> magnitude(const Weight& weight) {
  Tensor tensor = POM_TRY(weight.materialise());
  Magnitude found = Magnitude::fits;
  constexpr std::size_t chunk = 1024;
  double numbers[chunk];
  for (std::size_t at = 0; at < tensor.count(); at += chunk) {
    std::span<double> part(numbers, std::min(chunk, tensor.count() - at));
    tensor.read_numbers(at, part);
    for (double number : part) {
      double size = std::fabs(number);
      if (!(size > largest_half) || std::isinf(size)) continue;
      if (size < as_good_as_infinite) return Magnitude::too_large;
      found = Magnitude::saturates;
    }
  }
  return found;
}

// Finite numbers stay finite; with keep_small, what is not 0 does not become 0.
Tensor rounded(const Tensor& tensor, bool keep_small) {
  Tensor half = tensor.converted(DType::fp16);
  std::span<std::uint16_t> bits = half.mutable_view<std::uint16_t>();
  for (std::size_t i = 0; i < bits.size(); ++i) {
    std::uint16_t size = bits[i] & 0x7fff;
    if (size == 0x7c00 && std::isfinite(tensor.number(i)))
      half.set_number(i, std::copysign(largest_half, tensor.number(i)));
    else if (keep_small && size == 0 && tensor.number(i) != 0)
      half.set_number(i, std::copysign(smallest_half, tensor.number(i)));
  }
  return half;
}

Weight to_half(const Weight& weight) {
  bool keep_small = weight.count() < small_constant_elements;
  return Weight::derived(
      {keep_small ? "small constants in fp16" : "constants in fp16",
       DType::fp16,
       weight.sizes(),
       {weight},
       [keep_small](std::span<const Tensor> in) -> Result<Tensor> {
         // Constants that were looked through beforehand fit; the large ones show what they hold only now.
         Tensor half = in[0].converted(DType::fp16);
         std::span<const std::uint16_t> bits = half.view<std::uint16_t>();
         for (std::size_t i = 0; i < bits.size(); ++i) {
           double number = (bits[i] & 0x7fff) == 0x7c00 ? in[0].number(i) : 0;
           if (std::isfinite(number) && std::fabs(number) > largest_half && std::fabs(number) < as_good_as_infinite)
             return fail("a weight {} holds {}, which is beyond fp16", to_string(in[0].sizes()), number)
                 .advise("--precision mixed, or fp32");
         }
         return rounded(in[0], keep_small);
       }});
}

// Whether the node adds up so many elements that a sum beyond fp16's range must be expected.
bool adds_up_many(const Node& node) {
  static const std::unordered_set<std::string_view> sums{"reduce_sum",     "reduce_sum_square", "reduce_l1_norm",
                                                         "reduce_l2_norm", "reduce_log_sum",    "cumsum"};
  if (!sums.count(node.op->name)) return false;
  const Shape& shape = node.input(0).shape();
  Ints axes;
  if (node.op->attribute_index("axes"))
    axes = std::get<Ints>(node.attribute("axes"));
  else
    axes = {std::get<std::int64_t>(node.attribute("axis"))};
  Dim count = 1;
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (axes.empty() ||
        std::any_of(axes.begin(), axes.end(), [&](std::int64_t axis) { return normal_axis(axis, shape.size()) == i; }))
      count = count * shape[i];
  return count.known() && count.value() >= long_sum;
}

bool is_single(Value value) { return value.type().kind == Type::Kind::tensor && value.dtype() == DType::fp32; }
bool is_half(Value value) { return value.type().kind == Type::Kind::tensor && value.dtype() == DType::fp16; }

// Through these, numbers on their way to becoming integers keep being such numbers.
bool carries_indices(const Node& node) {
  if (!node.op) return false;
  static const std::unordered_set<std::string_view> layout{
      "reshape",        "expand_dims", "squeeze",  "transpose", "concat", "stack", "tile",
      "slice_by_index", "identity",    "range_1d", "fill",      "cumsum", "pad"};
  return node.op->elementwise || layout.count(node.op->name);
}

// Integers in floating form, or what is left of them when a zero point is taken away.
bool holds_integers(Value value) {
  static const std::unordered_set<std::string_view> layout{"reshape", "transpose", "slice_by_index", "squeeze",
                                                           "expand_dims"};
  const Node* node = value.producer();
  while (node && node->op && layout.count(node->op->name)) node = (value = node->input(0)).producer();
  if (!node || !node->op) return false;
  if (node->op->name == "cast") return is_integer(node->input(0).dtype());
  if (const Weight* weight = value.literal()) return weight->step() && weight->step()->what.starts_with("cast");
  return false;
}
bool adds_products(const Node& node) {
  static const std::unordered_set<std::string_view> names{"conv", "matmul", "linear", "conv_transpose"};
  return node.op && names.count(node.op->name);
}
// Sums of products of integers, which fp16 holds up to 2048 only: quantised layers, not layers before a label.
bool multiplies_integers(const Node& node) { return adds_products(node) && holds_integers(node.input(0)); }

// Ops between a layer and the logarithm of what becomes of its results: powers, magnitudes, probabilities.
bool makes_small_numbers(const Node& node) {
  static const std::unordered_set<std::string_view> names{
      "square",      "mul",        "pow",        "sqrt",       "abs",         "add",
      "sub",         "real_div",   "clip",       "maximum",    "relu",        "exp",
      "softmax",     "sigmoid",    "reshape",    "transpose",  "squeeze",     "concat",
      "expand_dims", "reduce_sum", "reduce_max", "reduce_min", "reduce_mean", "reduce_sum_square"};
  return node.op && names.count(node.op->name);
}

// Of trees, support vectors and the like: they compare with thresholds and count votes, and are small.
bool is_classical(const Node& node) { return node.source.find("ai.onnx.ml::") != std::string::npos; }

bool squares(const Node& node) {
  static const std::unordered_set<std::string_view> names{"square", "reduce_sum_square", "reduce_l2_norm"};
  return names.count(node.op->name) || (node.op->name == "mul" && node.inputs()[0] == node.inputs()[1]);
}
bool filters_linearly(const Node& node) {
  static const std::unordered_set<std::string_view> names{
      "conv",    "linear",         "matmul",        "add",         "sub",    "mul",
      "reshape", "transpose",      "squeeze",       "expand_dims", "concat", "stack",
      "pad",     "slice_by_index", "slice_by_size", "split"};
  return names.count(node.op->name);
}

class HalfPass {
 public:
  HalfPass(Function& function, const HalfOptions& options) : function_(function), options_(options) {}

  Result<std::vector<std::string>> run() {
    if (options_.stay_single) stay_single_ = POM_TRY(options_.stay_single(function_));
    each_node(function_.body, [&](const Node& node) {
      find_index_arithmetic(node);
      find_integer_sum(node);
      find_scaled_integer(node);
      find_coded_mask(node);
      find_logarithm(node);
      find_rounding(node);
      find_edge(node);
    });
    POM_TRY(convert(function_.body));
    std::vector<std::string> sentences;
    for (const auto& [what, count] : changed_)
      sentences.push_back(
          fmt::format("{}{}: the nearest that fp16 has", what, count > 1 ? fmt::format(" ({} ops)", count) : ""));
    return sentences;
  }

 private:
  void find_index_arithmetic(const Node& node) {
    if (node.op->name == "cast" && is_single(node.input(0)) && is_integer(node.output().dtype())) mark(node.input(0));
  }
  void mark(Value value) {
    Values pending{value};
    while (!pending.empty()) {
      Node* node = pending.back().producer();
      pending.pop_back();
      if (!node || !(carries_indices(*node) || multiplies_integers(*node)) || !index_arithmetic_.insert(node).second)
        continue;
      for (Value input : node->inputs())
        if (is_single(input)) pending.push_back(input);
    }
  }

  // Sums of products of integers are larger than fp16 holds until a scale makes them small, and the scales' own
  // products are smaller than it holds.
  void find_integer_sum(const Node& node) {
    if (node.op->name != "cast" || !is_integer(node.input(0).dtype()) || !is_single(node.output())) return;
    if (!is_integer_sum(node.input(0), sum_steps)) return;
    index_arithmetic_.insert(&node);
    mark_scaling(node.output(), sum_steps);
  }
  static constexpr int sum_steps = 6;
  static bool is_integer_sum(Value value, int steps) {
    static const std::unordered_set<std::string_view> passing{"add", "sub", "cast", "reshape", "transpose"};
    const Node* node = value.producer();
    if (!node || !node->op || steps == 0) return false;
    if (adds_products(*node)) return is_integer(value.dtype()) || multiplies_integers(*node);
    if (!passing.count(node->op->name)) return false;
    const Values& inputs = node->inputs();
    return std::any_of(inputs.begin(), inputs.end(), [&](Value v) { return is_integer_sum(v, steps - 1); });
  }
  void mark_scaling(Value sum, int steps) {
    for (const Node* user : sum.users()) {
      if (!user->op || !user->op->elementwise || !is_single(user->output())) continue;
      index_arithmetic_.insert(user);
      if (user->op->name != "mul" && user->op->name != "real_div") {
        if (steps > 0) mark_scaling(user->output(), steps - 1);
        continue;
      }
      for (Value factor : user->inputs())
        if (const Node* from = factor.producer(); from && from->op && from->op->name == "mul")
          index_arithmetic_.insert(from);
    }
  }

  // An integer times its scale, where fp16 does not hold the one or the other: only what they make is small.
  void find_scaled_integer(const Node& node) {
    if (node.op->name != "mul" || !is_single(node.output())) return;
    for (std::size_t i = 0; i < 2; ++i) {
      const Node* from = node.inputs()[i].producer();
      const Weight* scale = node.inputs()[1 - i].literal();
      if (!from || !from->op || from->op->name != "cast" || !is_integer(from->input(0).dtype()) || !scale) continue;
      if (scale->count() > looked_through_weight) continue;
      auto tiny = holds_tiny_numbers(*scale);
      if (!(tiny && *tiny) && !is_clipped_beyond_half(from->input(0))) continue;
      index_arithmetic_.insert(&node);
      index_arithmetic_.insert(from);
    }
  }
  static bool is_clipped_beyond_half(Value value) {
    static const std::unordered_set<std::string_view> passing{"sub", "cast", "reshape", "transpose", "expand_dims"};
    const Node* node = value.producer();
    while (node && node->op && passing.count(node->op->name)) node = node->input(0).producer();
    return node && node->op && node->op->name == "clip" && std::get<double>(node->attribute("beta")) > largest_half;
  }

  // "Minus infinity" in codes: its scale is beyond fp16, and what it masks is told from the rest in fp32 only.
  void find_coded_mask(const Node& node) {
    if (node.op->name != "quantize" && node.op->name != "dequantize") return;
    Value scale = node.input("scale");
    const Weight* weight = scale ? scale.literal() : nullptr;
    if (!weight || weight->count() != 1 || !(std::fabs(scale.number().value_or(0)) > largest_half)) return;
    constexpr int steps = 4;
    mark_around(node, steps, true);
    mark_around(node, steps, false);
  }
  void mark_around(const Node& node, int steps, bool before) {
    std::vector<const Node*> next;
    for (Value input : node.inputs())
      if (before && input.producer() && is_single(input)) next.push_back(input.producer());
    for (std::size_t i = 0; i < node.output_count() && !before; ++i)
      next.insert(next.end(), node.output(i).users().begin(), node.output(i).users().end());
    for (const Node* other : next) {
      if (!other->op || other->op->structural || !(carries_indices(*other) || other->op->name == "softmax")) continue;
      index_arithmetic_.insert(other);
      if (steps > 1) mark_around(*other, steps - 1, before);
    }
  }

  // Below 2^-14 fp16 has fewer digits and below 2^-25 none, which is where a logarithm looks closest: it and the few
  // ops that lead to it stay single. When these square something, it is a spectrum, and what filters the signal before
  // is part of it, too.
  void find_logarithm(const Node& node) {
    if (node.op->name == "log" && is_single(node.input(0))) mark_small_numbers(node);
  }
  void mark_small_numbers(const Node& logarithm) {
    constexpr int steps_back = 8;
    struct Step {
      const Node* node;
      bool filters;  // behind a square
      int left;
    };
    std::vector<Step> pending{{&logarithm, false, steps_back}};
    while (!pending.empty()) {
      Step step = pending.back();
      pending.pop_back();
      if (!logarithms_.insert(step.node).second) continue;
      bool filters = step.filters || squares(*step.node);
      if (!filters && step.left == 0) continue;
      for (Value input : step.node->inputs()) {
        const Node* from = input.producer();
        if (from && is_single(input) && (filters ? filters_linearly(*from) : makes_small_numbers(*from)))
          pending.push_back({from, filters, step.left - 1});
      }
    }
  }

  // A power of two below a number, 2^floor(log2 x), is how numbers are rounded to a format of their own. Its range is
  // that of fp32, and so is everything's that follows until the number is whole again.
  void find_rounding(const Node& node) {
    constexpr int steps_on = 14;
    if (node.op->name != "exp2" || !is_single(node.output())) return;
    const Node* from = node.input(0).producer();
    if (from && from->op && from->op->name == "minimum") from = from->input(0).producer();
    if (from && from->op && from->op->name == "floor") mark_onward(node, steps_on);
  }
  void mark_onward(const Node& node, int steps) {
    if (steps == 0 || !node.op || !(node.op->elementwise || node.op->name == "select")) return;
    roundings_.insert(&node);
    for (Value input : node.inputs())
      if (const Node* from = input.producer(); from && from->op && from->op->elementwise) roundings_.insert(from);
    for (const Node* user : node.output().users())
      if (!roundings_.count(user)) mark_onward(*user, steps - 1);
  }

  // A function's inputs have all their digits, and these tell close numbers apart: in fp16 10000 and 10001 are one
  // number, whose softmax is another one. Nothing but layers at the very edge is meant.
  bool is_function_input(Value value) const {
    return !value.producer() && !value.literal() && is_single(value) && value.block() == &function_.body;
  }
  void find_edge(const Node& node) {
    static const std::unordered_set<std::string_view> tell_apart{
        "softmax", "tan", "reduce_log_sum_exp", "argsort", "topk", "reduce_argmax", "reduce_argmin"};
    const Values& inputs = node.inputs();
    if (inputs.empty() || !is_function_input(inputs[0])) return;
    const Node* other = inputs.size() > 1 ? inputs[1].producer() : nullptr;
    if (node.op->name == "sub" && other && other->op && other->op->name == "reduce_max" &&
        other->input(0) == inputs[0]) {
      edges_.insert(&node);
      edges_.insert(other);
    }
    if (tell_apart.count(node.op->name)) edges_.insert(&node);
    // An input times another one that is its scale: nobody knows where that leads.
    if (node.op->name == "mul" && inputs[1].rank() == 0 && !inputs[1].literal() &&
        (is_function_input(inputs[1]) || (other && !other->inputs().empty() && is_function_input(other->input(0)))))
      edges_.insert(&node);
  }

  Result<bool> stays_single(const Node& node) {
    if (!node.blocks.empty() || node.op->structural || node.op->constexpr_op || node.op->side_effects) return true;
    if (is_classical(node)) return true;
    if (index_arithmetic_.count(&node) || logarithms_.count(&node) || adds_up_many(node)) return true;
    // Products leave any range soon, and corners of boxes in pixels are told apart to a fraction.
    if (roundings_.count(&node) || edges_.count(&node) || node.op->name == "reduce_prod" ||
        node.op->name == "non_maximum_suppression")
      return true;
    if (node.op->name == "cast" && !is_float(node.output().dtype())) return true;
    if (POM_TRY(has_tiny_scale(node))) return true;
    if (stay_single_.count(&node)) return true;
    for (std::size_t i = 0; i < node.op->inputs.size(); ++i) {
      const InputRule& rule = OpDef::rule(node.op->inputs[i]);
      for (Value input : node.inputs_of(i)) {
        if (input.type().kind != Type::Kind::tensor) return true;
        bool was_single = is_half(input) && was_single_.count(&input.info());
        if (!is_single(input) && !was_single) continue;
        if (rule.var.id != '*' && !rule.var.domain.accepts(DType::fp16, function_.opset)) return true;
        if (POM_TRY(is_too_large(input, most_looked_through(rule.constant)))) return true;
      }
    }
    return false;
  }

  // Of `quantize` and `dequantize`: a scale that fp16 would hold with fewer digits, or not at all.
  static Result<bool> has_tiny_scale(const Node& node) {
    if (node.op->name != "quantize" && node.op->name != "dequantize") return false;
    auto field = node.op->input_index("scale");
    if (!field || node.inputs_of(*field).empty()) return false;
    const Weight* weight = node.inputs_of(*field)[0].literal();
    return weight ? holds_tiny_numbers(*weight) : Result<bool>(false);
  }
  static Result<bool> holds_tiny_numbers(const Weight& weight) {
    Tensor tensor = POM_TRY(weight.materialise());
    for (std::size_t i = 0; i < tensor.count(); ++i)
      if (double size = std::fabs(tensor.number(i)); size != 0 && (size < smallest_normal_half || size > largest_half))
        return true;
    return false;
  }
  // A weight that is decoded when the model is loaded is decoded to fp16 at once, if its scales allow it.
  Value decoded_to_half(Node& node) {
    if (node.op->name != "constexpr_blockwise_shift_scale" && node.op->name != "constexpr_affine_dequantize") return {};
    auto field = node.op->input_index("scale");
    Value scale = node.inputs_of(*field)[0];
    const Weight* weight = scale.literal();
    if (!weight || !is_single(scale)) return {};
    auto tiny = holds_tiny_numbers(*weight);
    if (!tiny || *tiny) return {};
    Builder g(*node.block(), &node);
    Values inputs = node.inputs();
    for (Value& input : inputs)
      if (input == scale) input = g.constant(to_half(*weight));
    std::vector<Attribute> attributes = node.attributes;
    std::vector<std::uint32_t> counts(node.counts().begin(), node.counts().end());
    Values made = g.add_call(*node.op, std::move(attributes), std::move(inputs), std::move(counts));
    return made.empty() ? Value() : made[0];
  }

  // Whoever chooses by measuring has asked for every weight to be looked at.
  std::size_t most_looked_through(bool weight_of_layer) const {
    if (options_.stay_single) return std::numeric_limits<std::size_t>::max();
    return weight_of_layer ? looked_through_weight : looked_through_elements;
  }
  Result<bool> is_too_large(Value input, std::size_t most) {
    const Weight* weight = input.literal();
    if (!weight || weight->count() > most) return false;
    auto known = magnitudes_.find(&input.info());
    if (known == magnitudes_.end()) known = magnitudes_.emplace(&input.info(), POM_TRY(magnitude(*weight))).first;
    return known->second == Magnitude::too_large;
  }

  Status convert(Block& block) {
    std::vector<DType> wanted;
    for (Value result : block.results()) wanted.push_back(result.dtype());
    for (auto at = block.nodes().begin(); at != block.nodes().end(); ++at) {
      Node& node = **at;
      for (auto& inner : node.blocks) POM_TRY(convert(*inner));
      if (node.op->structural) continue;
      if (node.op->constexpr_op) {
        POM_TRY_IN(halve_decoder(node), "{}", node.label());
        continue;
      }
      if (POM_TRY_IN(stays_single(node), "{}", node.label())) {
        use_inputs(node, DType::fp32);
        continue;
      }
      use_inputs(node, DType::fp16);
      halve_attributes(node);
      POM_TRY(infer_again(node));
    }
    Values results = block.results();
    for (Value& result : results) {
      if (wanted[std::size_t(&result - results.data())] != DType::fp32 || !is_half(result)) continue;
      // The name belongs to what the function returns.
      std::string own = result.name();
      Value half = result;
      result = converted(half, DType::fp32, block, nullptr);
      if (&block != &function_.body) continue;
      half.set_name(own + "_in_fp16");
      result.set_name(own);
    }
    block.set_results(results);
    return {};
  }

  // Weights are decoded to fp16 where their scales or tables may be fp16; what only decodes fp16 to fp32 goes.
  Status halve_decoder(Node& node) {
    if (serves_single_only(node)) return {};
    if (node.op->name == "constexpr_cast") {
      other_[&node.output().info()] = node.input(0);
      return {};
    }
    for (std::size_t i = 0; i < node.op->inputs.size(); ++i) {
      const InputRule& rule = OpDef::rule(node.op->inputs[i]);
      for (Value input : node.inputs_of(i))
        if (is_single(input) && !rule.var.domain.accepts(DType::fp16, function_.opset)) return {};
    }
    use_inputs(node, DType::fp16);
    return infer_again(node);
  }

  bool serves_single_only(const Node& node) const {
    if (node.output_count() != 1 || node.output().users().empty()) return false;
    const auto& users = node.output().users();
    return std::all_of(users.begin(), users.end(), [&](const Node* user) { return index_arithmetic_.count(user) > 0; });
  }

  // Gives the node its floating inputs in the wanted precision.
  void use_inputs(Node& node, DType wanted) {
    for (std::size_t i = 0; i < node.inputs().size(); ++i) {
      Value input = node.inputs()[i];
      bool other = wanted == DType::fp16 ? is_single(input) : is_half(input) && was_single_.count(&input.info());
      if (other) node.set_input(i, converted(input, wanted, *node.block(), &node));
    }
    if (wanted == DType::fp16)
      for (std::size_t i = 0; i < node.output_count(); ++i)
        if (is_single(node.output(i))) was_single_.insert(&node.output(i).info());
  }

  // The value in the other precision, placed right behind where the value is made, so that it serves every user.
  Value converted(Value value, DType wanted, Block& block, Node* user) {
    auto known = other_.find(&value.info());
    if (known != other_.end()) return known->second;
    Value result;
    std::string wanted_name = value.name().empty() ? "" : value.name() + "_to_" + std::string(name(wanted));
    Node* producer = value.producer();
    Block& home = value.block() ? *value.block() : block;
    Builder g(home, producer || !home.nodes().empty() ? home.behind(value) : user);
    if (const Weight* weight = value.literal(); weight && wanted == DType::fp16) {
      result = g.constant(to_half(*weight), wanted_name);
    } else if (Value decoded = producer && wanted == DType::fp16 ? decoded_to_half(*producer) : Value()) {
      result = decoded;
      if (!wanted_name.empty()) result.set_name(wanted_name);
    } else {
      result = g.add(mil::cast{.x = value, .dtype = std::string(name(wanted))}, wanted_name);
    }
    other_[&value.info()] = result;
    other_[&result.info()] = value;
    if (wanted == DType::fp16) was_single_.insert(&result.info());
    return result;
  }

  static bool is_written_in_half(const Node& node, std::size_t attribute) {
    std::vector<Weight> written = literals_of(node, attribute);
    return !written.empty() && written[0].dtype() == DType::fp16;
  }
  // Attributes that hold floats are rounded as they will be stored; scalars with a dtype become fp16.
  void halve_attributes(Node& node) {
    const OpDef& op = *node.op;
    if (op.name == "cast" && node.attribute("dtype") == Attribute(std::string("fp32")))
      node.set_attribute("dtype", std::string("fp16"));
    for (std::size_t i = 0; i < op.attributes.size(); ++i) {
      Attribute& attribute = node.attributes[i];
      if (auto* pair = std::get_if<Floats>(&attribute);
          pair && pair->size() == 2 && (*pair)[0] == double(DType::fp32)) {
        *pair = {double(DType::fp16), to_half_number((*pair)[1], op, i)};
      } else if (auto* number = std::get_if<double>(&attribute); number && is_written_in_half(node, i)) {
        *number = to_half_number(*number, op, i);
      }
    }
  }
  // Rounding is what fp16 is for; a number beyond its range, or one that would vanish, becomes another number.
  double to_half_number(double number, const OpDef& op, std::size_t attribute) {
    double half = rounded(Tensor::scalar(DType::fp64, number), true).number(0);
    bool beyond = std::isfinite(number) && std::fabs(number) > largest_half && half != number;
    if (beyond || (number != 0 && std::fabs(number) < smallest_half / 2))
      ++changed_[fmt::format("{} of {} is {:.3g} instead of {:.3g}", op.attributes[attribute]->name, op.name, half,
                             number)];
    return half;
  }

  Function& function_;
  const HalfOptions& options_;
  std::map<std::string, std::size_t> changed_;  // in words, how often
  std::unordered_set<const Node*> index_arithmetic_, logarithms_, roundings_, edges_, stay_single_;
  std::unordered_map<const ValueInfo*, Magnitude> magnitudes_;
  std::unordered_map<const ValueInfo*, Value> other_;
  std::unordered_set<const ValueInfo*> was_single_;
};

}  // namespace

Result<std::vector<std::string>> use_half(Program& program, const HalfOptions& options) {
  std::vector<std::string> sentences;
  for (auto& function : program.functions) {
    auto found = POM_TRY_IN(HalfPass(*function, options).run(), "function '{}'", function->name);
    sentences.insert(sentences.end(), found.begin(), found.end());
  }
  return sentences;
}

}  // namespace pomona::rewrite
