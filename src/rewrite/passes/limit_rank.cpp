#include <fmt/format.h>

#include <algorithm>

#include "ir/builder.h"
#include "ops/axes.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"
#include "rewrite/passes/fewer_dims.h"
#include "rewrite/passes/passes.h"

namespace pomona::rewrite {
namespace {

// The dims of x, all but those of size 1 as `names` and `dims` have them, brought into the wanted order one by one:
// each step swaps two neighbouring stretches.
Value transposed_in_steps(Builder& g, Value x, Shape dims, Ints names, const Ints& wanted) {
  Value given = x;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    auto from = std::size_t(std::find(names.begin(), names.end(), wanted[i]) - names.begin());
    if (from == i) continue;
    Runs runs{i, from - i, 1, names.size() - from - 1};
    x = g.add(mil::transpose{.x = as_shape(g, x, merged(dims, runs), {given}), .perm = {0, 2, 1, 3}});
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
  return as_shape(g, turned, node.output().shape(), {x});
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
  return as_shape(g, y, node.output().shape(), {x});
}

Value smaller_reduction(const Node& node, Builder& g) {
  Value x = node.input(0);
  auto chosen = mil::chosen_axes(std::get<Ints>(node.attribute("axes")), x.rank());
  if (!chosen) return g.refuse(std::move(chosen).error());
  Runs runs = runs_of(x.rank(), [&](std::size_t a, std::size_t b) { return (*chosen)[a] == (*chosen)[b]; });
  std::vector<Attribute> attributes = node.attributes;
  Attribute& along = attributes[*node.op->attribute_index("axes")];
  if (runs.size() > most_dims) {
    if (is<mil::reduce_sum_square>(&node) || is<mil::reduce_log_sum>(&node)) return g.refuse(too_many(runs));
    // One axis after the other; each stays as a dim of one element.
    Shape dims = x.shape();
    along = Ints{1};
    attributes[*node.op->attribute_index("keep_dims")] = true;
    for (std::size_t i = 0; i < dims.size() && g.status(); ++i) {
      if (!(*chosen)[i]) continue;
      Values y = g.add_call(*node.op, attributes, {as_shape(g, x, around(dims, i), {node.input(0)})}, node.counts());
      x = y.empty() ? Value() : y[0];
      dims[i] = 1;
    }
    return as_shape(g, x, node.output().shape(), {node.input(0)});
  }
  Ints axes, flags((*chosen).begin(), (*chosen).end());
  flags = first_of(flags, runs);
  for (std::size_t i = 0; i < flags.size(); ++i)
    if (flags[i]) axes.push_back(std::int64_t(i));
  along = axes;
  Values y = g.add_call(*node.op, std::move(attributes), {as_shape(g, x, merged(x.shape(), runs))}, node.counts());
  return y.empty() ? Value() : as_shape(g, y[0], node.output().shape(), {x});
}

Value smaller_elementwise(const Node& node, Builder& g) {
  const Shape& full = node.output().shape();
  Values inputs = broadcast_operands(g, node.inputs(), full, 0, node.inputs());
  if (!g.status()) return {};
  Values y = g.add_call(*node.op, node.attributes, std::move(inputs), node.counts());
  return y.empty() ? Value() : as_shape(g, y[0], full, node.inputs());
}

Values smaller(const Node& node, Builder& g) {
  if (is<mil::reshape>(&node) && !all_known(node.output().shape()))
    return {g.add(mil::reshape{.x = before_layouts(node.input("x")), .shape = node.input("shape")})};
  if (is_layout(node) || is<mil::flatten2d>(&node)) return {as_shape(g, node.input(0), node.output().shape())};
  if (is<mil::shape>(&node)) return {shape_of(g, node.input("x"))};
  if (is<mil::transpose>(&node)) return {smaller_transpose(node, g)};
  if (is<mil::tile>(&node)) return {smaller_tile(node, g)};
  if (node.op->elementwise) return {smaller_elementwise(node, g)};
  if (node.op->name.starts_with("reduce_") && node.op->attribute_index("axes")) return {smaller_reduction(node, g)};
  if (auto results = with_axes_apart(node, g)) return *results;
  return {g.refuse(fail("its data have more than 5 dimensions, which Core ML cannot hold"))};
}

Status limit(Node& node) {
  bool large_input = false, large_output = false;
  for (Value input : node.inputs()) large_input |= is_large(input);
  for (std::size_t i = 0; i < node.output_count(); ++i) large_output |= is_large(node.output(i));
  if (node.op->structural || node.op->constexpr_op || (!large_input && !large_output)) return {};
  if (is_layout(node) && !large_input) return {};
  Builder g(*node.block(), &node);
  g.source = node.source;
  Values results = smaller(node, g);
  POM_TRY(Status(g.status()));
  for (std::size_t i = 0; i < results.size(); ++i) {
    take_name(node.output(i), results[i]);
    replace_uses(node.output(i), results[i]);
  }
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
