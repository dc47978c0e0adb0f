#include <fmt/format.h>

#include <algorithm>

#include "ir/builder.h"
#include "ops/axes.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"
#include "rewrite/passes/passes.h"
#include "rewrite/rule.h"

namespace pomona::rewrite {
namespace {

constexpr std::size_t most_dims = 5;

// Dims of an op's data in runs that may be treated as one dim: the length of each run.
using Runs = std::vector<std::size_t>;
template <class Together>
Runs runs_of(std::size_t rank, Together together) {
  Runs runs;
  for (std::size_t i = 0; i < rank; ++i)
    if (i > 0 && together(i - 1, i))
      ++runs.back();
    else
      runs.push_back(1);
  return runs;
}
Shape merged(const Shape& shape, const Runs& runs) {
  Shape result;
  std::size_t next = 0;
  for (std::size_t length : runs) {
    Dim product = 1;
    for (std::size_t k = 0; k < length; ++k) product = product * shape[next++];
    result.push_back(product);
  }
  return result;
}
// Of each run, one entry.
Ints first_of(const Ints& values, const Runs& runs) {
  Ints result;
  std::size_t next = 0;
  for (std::size_t length : runs) {
    result.push_back(values[next]);
    next += length;
  }
  return result;
}

bool is_large(Value value) { return value.type().kind == Type::Kind::tensor && value.rank() > most_dims; }

bool is_layout(const Node& node) {
  return is<mil::reshape>(&node) || is<mil::expand_dims>(&node) || is<mil::squeeze>(&node);
}

// A value under another shape; constants at once. Large shapes between here and where the data come from are left out.
Value as_shape(Builder& g, Value value, const Shape& shape) {
  if (!value) return value;
  while (value.producer() && is_layout(*value.producer()) && is_large(value)) value = value.producer()->input(0);
  if (value.shape() == shape) return value;
  Ints sizes;
  for (Dim d : shape) sizes.push_back(d.known() ? d.value() : -1);
  if (std::count(sizes.begin(), sizes.end(), -1) > 1)
    return g.refuse(fail("more than one of the dimensions {} is not known", to_string(shape)));
  if (std::count(sizes.begin(), sizes.end(), 0)) return g.refuse(fail("the shape {} holds nothing", to_string(shape)));
  Value result = g.add(mil::reshape{.x = value, .shape = g.ints(sizes)});
  return value.literal() ? folded(g, result) : result;
}

Error too_many(const Runs& runs) {
  return fail("its data have {} dimensions that cannot be treated as one; Core ML holds 5", runs.size());
}

// The dims of x, all but those of size 1 as `names` and `dims` have them, brought into the wanted order one by one:
// each step swaps two neighbouring stretches.
Value transposed_in_steps(Builder& g, Value x, Shape dims, Ints names, const Ints& wanted) {
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    auto from = std::size_t(std::find(names.begin(), names.end(), wanted[i]) - names.begin());
    if (from == i) continue;
    Runs runs{i, from - i, 1, names.size() - from - 1};
    x = g.add(mil::transpose{.x = as_shape(g, x, merged(dims, runs)), .perm = {0, 2, 1, 3}});
    auto first = std::ptrdiff_t(i), found = std::ptrdiff_t(from);
    std::rotate(names.begin() + first, names.begin() + found, names.begin() + found + 1);
    std::rotate(dims.begin() + first, dims.begin() + found, dims.begin() + found + 1);
  }
  return x;
}

Value smaller_transpose(const Node& node, Builder& g) {
  Value x = node.input(0);
  Ints perm = std::get<Ints>(node.attribute("perm"));
  for (auto& p : perm) p = std::int64_t(normal_axis(p, perm.size()).value_or(0));
  // Input dims that are next to each other in the result as well, and dims of size 1, which may be anywhere.
  Ints kept;
  for (std::int64_t p : perm)
    if (!(x.shape()[std::size_t(p)] == 1)) kept.push_back(p);
  Ints ascending = kept;
  std::sort(ascending.begin(), ascending.end());
  auto together = [&](std::size_t a, std::size_t b) {
    auto at = std::find(kept.begin(), kept.end(), ascending[a]);
    return at + 1 != kept.end() && *(at + 1) == ascending[b];
  };
  Runs runs = runs_of(ascending.size(), together);
  Shape dims;
  for (std::int64_t d : ascending) dims.push_back(x.shape()[std::size_t(d)]);
  Ints heads = first_of(ascending, runs), small;
  for (std::int64_t p : kept)
    if (auto at = std::find(heads.begin(), heads.end(), p); at != heads.end()) small.push_back(at - heads.begin());
  Value flat = as_shape(g, x, merged(dims, runs));
  Value turned = std::is_sorted(small.begin(), small.end()) ? flat
                 : small.size() <= most_dims                ? g.add(mil::transpose{.x = flat, .perm = small})
                                                            : transposed_in_steps(g, x, dims, ascending, kept);
  return as_shape(g, turned, node.output().shape());
}

Value smaller_tile(const Node& node, Builder& g) {
  Value x = node.input(0);
  auto reps = node.input("reps").integers();
  if (!reps || reps->size() != x.rank())
    return g.refuse(fail("its data have {} dimensions; Core ML holds 5", x.rank()));
  // [a, 1] repeated [1, n] stays two dims; whole stretches that are not repeated are one.
  Runs runs = runs_of(x.rank(), [&](std::size_t a, std::size_t b) { return (*reps)[a] == 1 && (*reps)[b] == 1; });
  if (runs.size() > most_dims) return g.refuse(too_many(runs));
  Value y = g.add(mil::tile{.x = as_shape(g, x, merged(x.shape(), runs)), .reps = g.ints(first_of(*reps, runs))});
  return as_shape(g, y, node.output().shape());
}

Value smaller_reduction(const Node& node, Builder& g) {
  Value x = node.input(0);
  auto chosen = mil::chosen_axes(std::get<Ints>(node.attribute("axes")), x.rank());
  if (!chosen) return g.refuse(std::move(chosen).error());
  Runs runs = runs_of(x.rank(), [&](std::size_t a, std::size_t b) { return (*chosen)[a] == (*chosen)[b]; });
  if (runs.size() > most_dims) return g.refuse(too_many(runs));
  Ints axes, flags((*chosen).begin(), (*chosen).end());
  flags = first_of(flags, runs);
  for (std::size_t i = 0; i < flags.size(); ++i)
    if (flags[i]) axes.push_back(std::int64_t(i));
  std::vector<Attribute> attributes = node.attributes;
  attributes[*node.op->attribute_index("axes")] = axes;
  Values y = g.add_call(*node.op, std::move(attributes), {as_shape(g, x, merged(x.shape(), runs))}, node.counts());
  return y.empty() ? Value() : as_shape(g, y[0], node.output().shape());
}

Value smaller_elementwise(const Node& node, Builder& g) {
  std::size_t rank = node.output().rank();
  // All operands with as many dims; two dims are together when every operand has both in full, or both as 1.
  std::vector<Shape> shapes;
  for (Value input : node.inputs()) {
    Shape shape = input.shape();
    shape.insert(shape.begin(), rank - shape.size(), 1);
    shapes.push_back(shape);
  }
  const Shape& full = node.output().shape();
  auto is_full = [&](const Shape& shape, std::size_t i) { return shape[i] == full[i]; };
  Runs runs = runs_of(rank, [&](std::size_t a, std::size_t b) {
    return std::all_of(shapes.begin(), shapes.end(), [&](const Shape& shape) {
      return (is_full(shape, a) && is_full(shape, b)) || (shape[a] == 1 && shape[b] == 1);
    });
  });
  if (runs.size() > most_dims) return g.refuse(too_many(runs));
  Values inputs;
  for (std::size_t i = 0; i < shapes.size(); ++i)
    inputs.push_back(node.inputs()[i].rank() == 0 ? node.inputs()[i]
                                                  : as_shape(g, node.inputs()[i], merged(shapes[i], runs)));
  if (!g.status()) return {};
  Values y = g.add_call(*node.op, node.attributes, std::move(inputs), node.counts());
  return y.empty() ? Value() : as_shape(g, y[0], full);
}

Status limit(Node& node) {
  bool large_input = false, large_output = false;
  for (Value input : node.inputs()) large_input |= is_large(input);
  for (std::size_t i = 0; i < node.output_count(); ++i) large_output |= is_large(node.output(i));
  if (node.op->structural || node.op->constexpr_op || (!large_input && !large_output)) return {};
  if (is_layout(node) && !large_input) return {};
  Builder g(*node.block(), &node);
  g.source = node.source;
  Value result = is_layout(node)             ? as_shape(g, node.input(0), node.output().shape())
                 : is<mil::transpose>(&node) ? smaller_transpose(node, g)
                 : is<mil::tile>(&node)      ? smaller_tile(node, g)
                 : node.op->elementwise      ? smaller_elementwise(node, g)
                 : node.op->name.starts_with("reduce_") && node.op->attribute_index("axes")
                     ? smaller_reduction(node, g)
                     : g.refuse(fail("its data have more than 5 dimensions, which Core ML cannot hold"));
  POM_TRY(Status(g.status()));
  take_name(node.output(), result);
  replace_uses(node.output(), result);
  return {};
}

Status limit_in(Block& block) {
  // A node's replacement is made of ops that need no other, apart from layout ops with a large result.
  for (auto at = block.nodes().begin(); at != block.nodes().end(); ++at) {
    for (auto& inner : (*at)->blocks) POM_TRY(limit_in(*inner));
    POM_TRY_IN(limit(**at), "{}", (*at)->label());
  }
  return {};
}

// What is still large is used by nothing that could take less.
Status check(const Block& block) {
  for (const auto& node : block.nodes()) {
    for (const auto& inner : node->blocks) POM_TRY(check(*inner));
    if (node->op->structural || node->op->constexpr_op) continue;
    for (std::size_t i = 0; i < node->output_count(); ++i)
      POM_REQUIRE(!is_large(node->output(i)), "{} gives a tensor of rank {}; Core ML holds 5", node->label(),
                  node->output(i).rank());
  }
  return {};
}

}  // namespace

Status limit_rank(Program& program) {
  for (auto& function : program.functions) POM_TRY_IN(limit_in(function->body), "function '{}'", function->name);
  remove_dead(program);
  for (auto& function : program.functions) POM_TRY_IN(check(function->body), "function '{}'", function->name);
  return {};
}

}  // namespace pomona::rewrite
