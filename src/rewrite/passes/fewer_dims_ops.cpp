// Ops that work along axes, on data of fewer dims.
#include <fmt/format.h>

#include <algorithm>

#include "ops/activation.h"
#include "ops/axes.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/quantization.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"
#include "rewrite/passes/fewer_dims.h"

namespace pomona::rewrite {
namespace {

std::size_t axis_of(const Node& node, std::size_t rank) {
  return normal_axis(std::get<std::int64_t>(node.attribute("axis")), rank).value_or(0);
}

Values call(const Node& node, Builder& g, Values inputs, std::string_view field, Attribute value) {
  std::vector<Attribute> attributes = node.attributes;
  attributes[*node.op->attribute_index(field)] = std::move(value);
  return g.add_call(*node.op, std::move(attributes), std::move(inputs), node.counts());
}

Values restored(const Node& node, Builder& g, Values results) {
  for (std::size_t i = 0; i < results.size(); ++i)
    results[i] = as_shape(g, results[i], node.output(i).shape(), node.inputs());
  return results;
}

// One tensor along one axis: what else the op takes has no dims to do with it.
Values along_axis(const Node& node, Builder& g) {
  Values inputs = node.inputs();
  inputs[0] = as_shape(g, inputs[0], around(inputs[0].shape(), axis_of(node, inputs[0].rank())));
  return restored(node, g, call(node, g, std::move(inputs), "axis", std::int64_t(1)));
}

// Tensors of one rank, whose sizes differ along the axis only.
Values side_by_side(const Node& node, Builder& g) {
  Values inputs = node.inputs();
  std::size_t axis = axis_of(node, inputs[0].rank());
  for (Value& input : inputs) input = as_shape(g, input, around(input.shape(), axis));
  return restored(node, g, call(node, g, std::move(inputs), "axis", std::int64_t(1)));
}

Values smaller_stack(const Node& node, Builder& g) {
  Values inputs = node.inputs();
  Shape apart = node.output().shape();
  std::size_t axis = axis_of(node, apart.size());
  apart[axis] = 1;
  for (Value& input : inputs) input = as_shape(g, input, around(apart, axis));
  return restored(node, g, {g.add(mil::concat{.values = inputs, .axis = 1})});
}

Values smaller_gather(const Node& node, Builder& g) {
  Value x = node.input("x"), indices = node.input("indices");
  if (std::get<std::int64_t>(node.attribute("batch_dims")) != 0) return {g.refuse(fail("it has batch dimensions"))};
  Values inputs = node.inputs();
  inputs[0] = as_shape(g, x, around(x.shape(), axis_of(node, x.rank())));
  if (indices.rank() > 1) inputs[1] = as_shape(g, indices, {element_count(indices.shape())});
  return restored(node, g, call(node, g, std::move(inputs), "axis", std::int64_t(1)));
}

// Elements chosen by their places along the first dims; what lies behind these is one dim.
Values by_places(const Node& node, Builder& g) {
  Values inputs = node.inputs();
  const Shape& places = inputs[1].shape();
  const Shape& data = inputs[0].shape();
  if (auto at = node.op->attribute_index("batch_dims"); at && std::get<std::int64_t>(node.attributes[*at]) != 0)
    return {g.refuse(fail("it has batch dimensions"))};
  if (!places.back().known() || std::size_t(places.back().value()) >= most_dims)
    return {g.refuse(fail("its indices name {} dimensions; Core ML holds 5", places.back().text()))};
  auto own = std::ptrdiff_t(places.back().value());
  Shape flat(data.begin(), data.begin() + own);
  Dim rest = element_count(Shape(data.begin() + own, data.end()));
  Dim count = element_count(Shape(places.begin(), places.end() - 1));
  flat.push_back(rest);
  inputs[0] = as_shape(g, inputs[0], flat);
  inputs[1] = as_shape(g, inputs[1], {count, places.back()});
  if (inputs.size() > 2) inputs[2] = as_shape(g, inputs[2], {count, rest}, node.inputs());
  return restored(node, g, g.add_call(*node.op, node.attributes, std::move(inputs), node.counts()));
}

// Element i of a vector that a slice takes, in the middle of three.
Value in_the_middle(Builder& g, Value bounds, std::size_t i) {
  if (auto known = bounds.integers()) return g.ints({0, (*known)[i], 0});
  Value own = g.add(mil::gather{.x = bounds, .indices = g.ints({std::int64_t(i)}), .axis = 0});
  return g.add(mil::concat{.values = Values{g.ints({0}), own, g.ints({0})}, .axis = 0});
}

Values smaller_slice(const Node& node, Builder& g) {
  Value x = node.input("x"), begin = node.input("begin"), end = node.input("end");
  auto entry = [&](std::string_view field, std::size_t i, std::int64_t absent) {
    const auto* values = std::get_if<Ints>(&node.attribute(field));
    return values && i < values->size() ? (*values)[i] : absent;
  };
  auto begins = begin.contents(), ends = end.contents();
  Shape dims = x.shape(), all = dims;
  std::size_t next = 0;  // in dims; `i` counts axes of the node's x
  for (std::size_t i = 0; i < all.size() && g.status(); ++i, ++next) {
    bool from_start = entry("begin_mask", i, 0) || (begins && (*begins)[i] == 0);
    bool to_end = entry("end_mask", i, 0) || (ends && (*ends)[i] == all[i]);
    std::int64_t stride = entry("stride", i, 1), squeezed = entry("squeeze_mask", i, 0);
    if (from_start && to_end && stride == 1 && !squeezed) continue;
    Value rows = as_shape(g, x, around(dims, next), node.inputs());
    x = g.add(mil::slice_by_index{.x = rows,
                                  .begin = in_the_middle(g, begin, i),
                                  .end = in_the_middle(g, end, i),
                                  .stride = Ints{1, stride, 1},
                                  .begin_mask = Ints{1, entry("begin_mask", i, 0), 1},
                                  .end_mask = Ints{1, entry("end_mask", i, 0), 1},
                                  .squeeze_mask = Ints{0, squeezed, 0}});
    if (!x) return {};
    if (!squeezed) dims[next] = x.shape()[1];
    if (squeezed) dims.erase(dims.begin() + std::ptrdiff_t(next--));
  }
  return restored(node, g, {x});
}

Values smaller_pad(const Node& node, Builder& g) {
  Value x = node.input("x");
  auto sizes = node.input("pad").integers();
  if (!sizes) return {g.refuse(fail("its data have {} dimensions; Core ML holds 5", x.rank()))};
  Shape dims = x.shape();
  std::size_t first = x.rank() - sizes->size() / 2;
  for (std::size_t i = 0; i < sizes->size() / 2 && g.status(); ++i) {
    Ints own{(*sizes)[2 * i], (*sizes)[2 * i + 1], 0, 0};
    if (own[0] == 0 && own[1] == 0) continue;
    Values inputs = node.inputs();
    inputs[0] = as_shape(g, x, around(dims, first + i), node.inputs());
    inputs[1] = g.ints(own);
    Values padded = g.add_call(*node.op, node.attributes, std::move(inputs), node.counts());
    if (padded.empty()) return {};
    x = padded[0];
    dims[first + i] = x.shape()[1];
  }
  return restored(node, g, {x});
}

Values smaller_reverse(const Node& node, Builder& g) {
  Value x = node.input("x");
  auto chosen = mil::chosen_axes(std::get<Ints>(node.attribute("axes")), x.rank());
  if (!chosen) return {g.refuse(std::move(chosen).error())};
  for (std::size_t i = 0; i < chosen->size(); ++i)
    if ((*chosen)[i])
      x = g.add(mil::reverse{.x = as_shape(g, x, around(node.input("x").shape(), i), node.inputs()), .axes = {1}});
  return restored(node, g, {x});
}

Values smaller_layer_norm(const Node& node, Builder& g) {
  Values inputs = node.inputs();
  auto chosen = mil::chosen_axes(std::get<Ints>(node.attribute("axes")), inputs[0].rank());
  if (!chosen) return {g.refuse(std::move(chosen).error())};
  Runs runs = runs_of(inputs[0].rank(), [&](std::size_t a, std::size_t b) { return (*chosen)[a] == (*chosen)[b]; });
  if (runs.size() > most_dims) return {g.refuse(too_many(runs))};
  Runs own;
  Ints axes;
  std::size_t next = 0;
  for (std::size_t i = 0; i < runs.size(); next += runs[i++])
    if ((*chosen)[next]) {
      axes.push_back(std::int64_t(i));
      own.push_back(runs[i]);
    }
  inputs[0] = as_shape(g, inputs[0], merged(inputs[0].shape(), runs));
  for (std::size_t i = 1; i < inputs.size(); ++i)
    if (inputs[i].rank() > 0) inputs[i] = as_shape(g, inputs[i], merged(inputs[i].shape(), own));
  return restored(node, g, call(node, g, std::move(inputs), "axes", axes));
}

// Codes and numbers: scales and zero points are one of each, or one for each place along the axis.
Values smaller_coding(const Node& node, Builder& g) {
  Values inputs = node.inputs();
  const auto* axis = std::get_if<std::int64_t>(&node.attribute("axis"));
  Shape shape = inputs[0].shape();
  inputs[0] = as_shape(g, inputs[0], around(shape, axis ? normal_axis(*axis, shape.size()).value_or(0) : 0));
  if (axis) return restored(node, g, call(node, g, std::move(inputs), "axis", std::int64_t(1)));
  return restored(node, g, g.add_call(*node.op, node.attributes, std::move(inputs), node.counts()));
}

Values smaller_linear(const Node& node, Builder& g) {
  Values inputs = node.inputs();
  Shape shape = inputs[0].shape();
  inputs[0] = as_shape(g, inputs[0], merged(shape, {shape.size() - 1, 1}));
  return restored(node, g, g.add_call(*node.op, node.attributes, std::move(inputs), node.counts()));
}

Values smaller_product(const Node& node, Builder& g) { return {smaller_matmul(node, g)}; }

}  // namespace

Values broadcast_operands(Builder& g, Values operands, const Shape& full, std::size_t own, const Values& knowing) {
  std::size_t rank = full.size(), shared = rank - own;
  std::vector<Shape> shapes;
  for (Value v : operands) {
    Shape shape = v.shape();
    shape.insert(shape.begin(), rank - shape.size(), 1);
    shapes.push_back(shape);
  }
  // Two dims are together when every operand has both in full, or both as 1.
  auto runs_now = [&] {
    return runs_of(rank, [&](std::size_t a, std::size_t b) {
      return b < shared && std::all_of(
                               shapes.begin(), shapes.end(),
                               [&](const Shape& shape) {
                                 return (shape[a] == full[a] && shape[b] == full[b]) ||
                                        (shape[a] == 1 && shape[b] == 1);
                               });
    });
  };
  auto is_mixed = [&](const Shape& shape) {
    bool some = false, every = true;
    for (std::size_t i = 0; i < shared; ++i)
      if (!(full[i] == 1)) (shape[i] == full[i] ? some : every) = shape[i] == full[i];
    return some && !every;
  };
  Runs runs = runs_now();
  for (std::size_t i = 0; runs.size() > most_dims && i < shapes.size(); ++i) {
    if (!is_mixed(shapes[i])) continue;
    Shape wide = shapes[i];
    std::copy(full.begin(), full.begin() + std::ptrdiff_t(shared), wide.begin());
    Value apart = as_shape(g, operands[i], shapes[i], knowing);
    operands[i] = apart ? repeated(g, apart, wide, knowing) : apart;
    if (!operands[i]) return {};
    shapes[i] = wide;
    runs = runs_now();
  }
  if (runs.size() > most_dims) return {g.refuse(too_many(runs))};
  for (std::size_t i = 0; i < operands.size(); ++i)
    if (operands[i].rank() > 0) operands[i] = as_shape(g, operands[i], merged(shapes[i], runs), knowing);
  return operands;
}

Value smaller_matmul(const Node& node, Builder& g) {
  Values inputs = node.inputs();
  if (inputs[0].rank() < 2 || inputs[1].rank() < 2) return g.refuse(fail("a vector is multiplied by many matrices"));
  inputs = broadcast_operands(g, inputs, node.output().shape(), 2, node.inputs());
  if (!g.status()) return {};
  Values y = g.add_call(*node.op, node.attributes, std::move(inputs), node.counts());
  return y.empty() ? Value() : as_shape(g, y[0], node.output().shape(), node.inputs());
}

std::optional<Values> with_axes_apart(const Node& node, Builder& g) {
  using Form = Values (*)(const Node&, Builder&);
  static const std::pair<const OpDef*, Form> forms[] = {
      {&def<mil::softmax>(), along_axis},
      {&def<mil::cumsum>(), along_axis},
      {&def<mil::reduce_argmax>(), along_axis},
      {&def<mil::reduce_argmin>(), along_axis},
      {&def<mil::topk>(), along_axis},
      {&def<mil::argsort>(), along_axis},
      {&def<mil::split>(), along_axis},
      {&def<mil::concat>(), side_by_side},
      {&def<mil::stack>(), smaller_stack},
      {&def<mil::gather>(), smaller_gather},
      {&def<mil::gather_nd>(), by_places},
      {&def<mil::scatter_nd>(), by_places},
      {&def<mil::slice_by_index>(), smaller_slice},
      {&def<mil::pad>(), smaller_pad},
      {&def<mil::reverse>(), smaller_reverse},
      {&def<mil::layer_norm>(), smaller_layer_norm},
      {&def<mil::linear>(), smaller_linear},
      {&def<mil::quantize>(), smaller_coding},
      {&def<mil::dequantize>(), smaller_coding},
      {&def<mil::matmul>(), smaller_product},
  };
  for (const auto& [op, form] : forms)
    if (node.is(*op)) return form(node, g);
  return {};
}

}  // namespace pomona::rewrite
