// The Neural Engine's rules are records in silicon/, each with its source; here are the forms that get around them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/image.h"
#include "ops/linear.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"
#include "rewrite/passes/attention_steps.h"
#include "rewrite/passes/engine_windows.h"
#include "rewrite/passes/passes.h"
#include "rewrite/rule.h"

namespace pomona::rewrite {
namespace {

// The score of what a mask closes: -inf spoils the engine's softmax.
constexpr double closed = -40000;

Value write_attention_out(const Node& node, Builder& g, const EngineLimits&) {
  if (!is<mil::scaled_dot_product_attention>(&node) || !node.input("query").shape().back().known()) return {};
  return attention_in_steps(node, g, closed);
}

// Elements [begin, end) of a constant's or value's axis.
Value part_of(Builder& g, Value x, std::size_t axis, std::int64_t begin, std::int64_t end) {
  Ints begins(x.rank(), 0), ends;
  for (Dim size : x.shape()) ends.push_back(size.value());
  begins[axis] = begin;
  ends[axis] = end;
  Value part = g.add(mil::slice_by_index{.x = x, .begin = g.ints(begins), .end = g.ints(ends)});
  return x.literal() ? folded(g, part) : part;
}

// A layer whose results are more than an axis may have: one after another, joined at the end.
Value linear_by_results(const Node& node, Builder& g, const EngineLimits& limits) {
  Value weight = node.input("weight"), bias = node.input("bias");
  std::int64_t size = weight.shape()[0].value(), parts = (size + limits.axis - 1) / limits.axis;
  std::int64_t length = (size + parts - 1) / parts;
  Values all;
  for (std::int64_t begin = 0; begin < size; begin += length) {
    std::int64_t end = std::min(begin + length, size);
    mil::linear op{.x = node.input("x"), .weight = part_of(g, weight, 0, begin, end)};
    if (bias) op.bias = part_of(g, bias, 0, begin, end);
    all.push_back(g.add(op));
  }
  return g.add(mil::concat{.values = all, .axis = int(node.output().rank()) - 1});
}

// A layer whose inputs are too many: a sum over parts of them.
Value linear_by_depth(const Node& node, Builder& g, const EngineLimits& limits) {
  Value x = node.input("x"), weight = node.input("weight"), bias = node.input("bias"), sum;
  if (!all_known(x.shape())) return {};
  std::int64_t size = weight.shape()[1].value(), parts = (size + limits.depth - 1) / limits.depth;
  std::int64_t length = (size + parts - 1) / parts;
  for (std::int64_t begin = 0; begin < size; begin += length) {
    std::int64_t end = std::min(begin + length, size);
    mil::linear op{.x = part_of(g, x, x.rank() - 1, begin, end), .weight = part_of(g, weight, 1, begin, end)};
    if (bias && !sum) op.bias = bias;
    Value one = g.add(op);
    sum = sum ? g.add(mil::add{.x = sum, .y = one}) : one;
  }
  return sum;
}

bool has_constant_weights(const Node& node) {
  Value bias = node.input("bias");
  return node.input("weight").literal() && (!bias || bias.literal());
}

Value split_results(const Node& node, Builder& g, const EngineLimits& limits) {
  bool wide =
      is<mil::linear>(&node) && has_constant_weights(node) && node.input("weight").shape()[0].value() > limits.axis;
  return wide ? linear_by_results(node, g, limits) : Value();
}

Value split_depth(const Node& node, Builder& g, const EngineLimits& limits) {
  bool deep =
      is<mil::linear>(&node) && has_constant_weights(node) && node.input("weight").shape()[1].value() > limits.depth;
  return deep ? linear_by_depth(node, g, limits) : Value();
}

// Indices of 16 bits, which the engine has. From iOS17 on none counts from the end, so the unsigned ones lose nothing.
Value narrow_indices(const Node& node, Builder& g, const EngineLimits&) {
  bool along = is<mil::gather_along_axis>(&node);
  if ((!is<mil::gather>(&node) && !along) || g.opset() < iOS17) return {};
  Value x = node.input("x"), indices = node.input("indices");
  if (!is_float(x.dtype()) || indices.dtype() != DType::int32 || indices.literal()) return {};
  auto axis = normal_axis(std::get<std::int64_t>(node.attribute("axis")), x.rank());
  if (!axis || !x.shape()[*axis].known() || x.shape()[*axis].value() > 65535) return {};
  bool wide = x.shape()[*axis].value() > 32767;
  Value narrow = g.add(mil::cast{.x = indices, .dtype = std::string(wide ? "uint16" : "int16")});
  if (along) {
    auto op = view<mil::gather_along_axis>(node);
    return g.add(mil::gather_along_axis{.x = x, .indices = narrow, .axis = *op.axis});
  }
  auto op = view<mil::gather>(node);
  return g.add(mil::gather{.x = x, .indices = narrow, .axis = *op.axis, .batch_dims = *op.batch_dims});
}

// Running sums over the last axis as a product with ones on one side of a diagonal.
Value sum_by_product(const Node& node, Builder& g, const EngineLimits&) {
  constexpr std::int64_t longest = 1024;
  if (!is<mil::cumsum>(&node)) return {};
  auto op = view<mil::cumsum>(node);
  Value x = node.input("x");
  auto axis = normal_axis(*op.axis, x.rank());
  if (!is_float(x.dtype()) || !axis || x.rank() < 2 || !x.shape()[*axis].known()) return {};
  std::int64_t n = x.shape()[*axis].value();
  bool last = *axis + 1 == x.rank(), before_last = *axis + 2 == x.rank();
  if (n > longest || (!last && !before_last)) return {};
  std::vector<double> ones(std::size_t(n * n), 0);
  for (std::int64_t from = 0; from < n; ++from)
    for (std::int64_t to = 0; to < n; ++to) {
      bool counts = *op.reverse ? from >= to : from <= to;
      if (counts && !(*op.exclusive && from == to)) ones[std::size_t(last ? from * n + to : to * n + from)] = 1;
    }
  Value triangle = g.constant(Tensor::from_numbers(x.dtype(), {n, n}, ones));
  return last ? g.add(mil::matmul{.x = x, .y = triangle}) : g.add(mil::matmul{.x = triangle, .y = x});
}

// Steps of 2 in place of 4, 8, ...
Value upsample_in_steps(const Node& node, Builder& g, const EngineLimits&) {
  if (!is<mil::upsample_nearest_neighbor>(&node)) return {};
  auto op = view<mil::upsample_nearest_neighbor>(node);
  double height = *op.scale_factor_height, width = *op.scale_factor_width;
  auto power = [](double scale) { return scale >= 1 && std::exp2(std::round(std::log2(scale))) == scale; };
  if (!power(height) || !power(width) || (height <= 2 && width <= 2)) return {};
  Value x = node.input("x");
  while (height > 1 || width > 1) {
    double down = std::min(height, 2.0), across = std::min(width, 2.0);
    x = g.add(mil::upsample_nearest_neighbor{.x = x, .scale_factor_height = down, .scale_factor_width = across});
    height /= down;
    width /= across;
  }
  return x;
}

// Whether a softmax reads the value, behind what only moves, joins or adds up scores.
bool leads_to_softmax(Value value, int steps = 6) {
  for (const Node* user : value.users()) {
    if (is<mil::softmax>(user)) return true;
    bool passes = is<mil::add>(user) || is<mil::mul>(user) || is<mil::select>(user) || is<mil::cast>(user) ||
                  is<mil::reshape>(user) || is<mil::expand_dims>(user) || is<mil::tile>(user) ||
                  is<mil::transpose>(user) || is<mil::slice_by_index>(user);
    if (passes && steps > 0 && leads_to_softmax(user->output(), steps - 1)) return true;
  }
  return false;
}

// Masks are what is added to scores or chosen in their place; or one number that zeros and ones are multiplied by.
Value open_mask(const Node& node, Builder& g, const EngineLimits&) {
  bool scales = is<mil::mul>(&node);
  if (!scales && !is<mil::add>(&node) && !is<mil::select>(&node)) return {};
  std::int64_t largest = scales ? 1 : 1 << 24;
  for (std::size_t i = 0; i < node.inputs().size(); ++i) {
    const Weight* literal = node.inputs()[i].literal();
    if (!literal || !is_float(literal->dtype()) || element_count(literal->sizes()) > largest) continue;
    auto tensor = literal->materialise();
    if (!tensor) continue;
    std::vector<double> numbers = tensor->numbers();
    if (std::none_of(numbers.begin(), numbers.end(), [](double v) { return v <= -largest_half; })) continue;
    if (!leads_to_softmax(node.output())) return {};
    for (double& v : numbers)
      if (v <= -largest_half) v = closed;
    Value mended = g.constant(Tensor::from_numbers(tensor->dtype(), tensor->sizes(), numbers));
    Values inputs = node.inputs();
    inputs[i] = mended;
    Values outputs = g.add_call(*node.op, node.attributes, inputs, node.counts());
    return outputs.empty() ? Value() : outputs[0];
  }
  return {};
}

struct Form {
  std::string_view what;  // for the user: "3 poolings in steps"
  Value (*make)(const Node& node, Builder& g, const EngineLimits& limits);
};
// In this order: what one makes, a later one may take further.
constexpr Form forms[] = {
    {"poolings with other strides or windows", pool_in_steps},
    {"convolutions with a stride's elements as channels", fold_strides},
    {"convolutions with their kernel in pieces", split_kernel},
    {"attentions written out", write_attention_out},
    {"masks with -40000 for what is closed", open_mask},
    {"layers with their results in parts", split_results},
    {"layers with their inputs in parts", split_depth},
    {"look-ups with 16-bit indices", narrow_indices},
    {"running sums as products", sum_by_product},
    {"upsamplings in steps of 2", upsample_in_steps},
};

Result<std::size_t> apply_form(Block& block, const Form& form, const EngineLimits& limits) {
  std::size_t count = 0;
  for (auto at = block.nodes().begin(); at != block.nodes().end();) {
    Node& node = **at++;
    for (auto& inner : node.blocks) count += POM_TRY(apply_form(*inner, form, limits));
    if (node.literal || !node.op || node.output_count() != 1) continue;
    Builder g(block, &node);
    g.source = node.source;
    Value made = form.make(node, g, limits);
    POM_TRY_IN(Status(g.status()), "{}", node.label());
    // Dead nodes are what is left where this fails.
    if (!made || made.type() != node.output().type() || !take_name(node.output(), made)) continue;
    replace_uses(node.output(), made);
    block.erase(node);
    ++count;
  }
  return count;
}

}  // namespace

Result<std::vector<std::string>> suit_engine(Program& program, const EngineLimits& limits) {
  std::vector<std::string> said;
  for (const Form& form : forms) {
    std::size_t count = 0;
    for (auto& function : program.functions) count += POM_TRY(apply_form(function->body, form, limits));
    if (count) said.push_back(fmt::format("for the Neural Engine: {} {}", count, form.what));
  }
  return said;
}

}  // namespace pomona::rewrite
