#include "rewrite/passes/fewer_dims.h"

#include <fmt/format.h>

#include <algorithm>

#include "ops/elementwise_binary.h"
#include "ops/gather_scatter.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"
#include "rewrite/rule.h"

namespace pomona::rewrite {
namespace {

// A size that is known when the model runs: an element of a value that holds sizes, or a dim of another value.
struct RunningSize {
  Dim size;
  Value of;
  std::size_t index = 0;
  bool is_element = false;
};

void collect_sizes(Value value, std::vector<RunningSize>& sizes) {
  for (;; value = value.producer()->input(0)) {
    if (!is_large(value))
      for (std::size_t i = 0; i < value.rank(); ++i)
        if (!value.shape()[i].known()) sizes.push_back({value.shape()[i], value, i, false});
    if (!value.producer() || !is_layout(*value.producer())) return;
    if (!is<mil::reshape>(value.producer())) continue;
    Value holder = value.producer()->input("shape");
    auto contents = holder.contents();
    for (std::size_t i = 0; contents && i < contents->size(); ++i)
      if (!(*contents)[i].known()) sizes.push_back({(*contents)[i], holder, i, true});
  }
}

// The size as a vector of one element; an empty handle when it is no product of known ones.
Value running_size(Builder& g, Dim wanted, const std::vector<RunningSize>& sizes) {
  if (wanted.known()) return g.ints({wanted.value()});
  const RunningSize* factor = nullptr;
  Dim rest;
  for (const RunningSize& s : sizes) {
    auto left = exact_div(wanted, s.size);
    if (!left || (factor && !left->known())) continue;
    factor = &s;
    rest = *left;
    if (rest.known()) break;
  }
  if (!factor) return {};
  Value others = rest == 1 ? Value() : running_size(g, rest, sizes);
  if (!others && !(rest == 1)) return {};
  Value holder = factor->is_element ? factor->of : g.add(mil::shape{.x = factor->of});
  Value size = g.add(mil::gather{.x = holder, .indices = g.ints({std::int64_t(factor->index)}), .axis = 0});
  return others ? g.add(mil::mul{.x = size, .y = others}) : size;
}

// The target of a reshape; at most one size is left for it to find out.
Value target_shape(Builder& g, const Shape& shape, const std::vector<RunningSize>& sizes) {
  Ints known;
  for (Dim d : shape) known.push_back(d.known() ? d.value() : -1);
  if (std::count(known.begin(), known.end(), -1) <= 1) return g.ints(known);
  Values parts;
  bool left_open = false;
  for (Dim d : shape) {
    Value part = running_size(g, d, sizes);
    if (!part && left_open) return g.refuse(fail("more than one of the dimensions {} is not known", to_string(shape)));
    if (!part) part = g.ints({-1});
    left_open |= part.literal() && !d.known();
    parts.push_back(part);
  }
  return g.add(mil::concat{.values = parts, .axis = 0});
}

}  // namespace

Value shape_of(Builder& g, Value value) {
  std::vector<RunningSize> sizes;
  collect_sizes(value, sizes);
  Values parts;
  for (Dim d : value.shape()) {
    parts.push_back(running_size(g, d, sizes));
    if (!parts.back()) return g.refuse(fail("the size {} cannot be computed when the model runs", d.text()));
  }
  return g.add(mil::concat{.values = parts, .axis = 0});
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

Ints first_of(const Ints& values, const Runs& runs) {
  Ints result;
  std::size_t next = 0;
  for (std::size_t length : runs) {
    result.push_back(values[next]);
    next += length;
  }
  return result;
}

Error too_many(const Runs& runs) {
  return fail("its data have {} dimensions that cannot be treated as one; Core ML holds 5", runs.size());
}

Shape around(const Shape& shape, std::size_t axis) {
  auto place = shape.begin() + std::ptrdiff_t(axis);
  return {element_count(Shape(shape.begin(), place)), *place, element_count(Shape(place + 1, shape.end()))};
}

bool is_large(Value value) { return value.type().kind == Type::Kind::tensor && value.rank() > most_dims; }

bool is_layout(const Node& node) {
  return is<mil::reshape>(&node) || is<mil::expand_dims>(&node) || is<mil::squeeze>(&node);
}

Value before_layouts(Value value) {
  while (is_large(value) && value.producer() && is_layout(*value.producer())) value = value.producer()->input(0);
  return value;
}

Value as_shape(Builder& g, Value value, const Shape& shape, const Values& knowing) {
  if (!value) return value;
  std::vector<RunningSize> sizes;
  if (!all_known(shape)) {
    collect_sizes(value, sizes);
    for (Value other : knowing)
      if (other) collect_sizes(other, sizes);
  }
  value = before_layouts(value);
  if (value.shape() == shape) return value;
  if (std::count(shape.begin(), shape.end(), Dim(0)))
    return g.refuse(fail("the shape {} holds nothing", to_string(shape)));
  Value target = target_shape(g, shape, sizes);
  if (!target) return {};
  Value result = g.add(mil::reshape{.x = value, .shape = target});
  return value.literal() ? folded(g, result) : result;
}

Value repeated(Builder& g, Value value, const Shape& full, const Values& knowing) {
  Shape shape = value.shape();
  std::vector<RunningSize> sizes;
  for (Value other : knowing) collect_sizes(other, sizes);
  for (std::size_t begin = 0; begin < full.size() && value;) {
    std::size_t end = begin;
    Dim times = 1;
    for (; end < full.size() && shape[end] == 1 && !(full[end] == 1); ++end) times = times * full[end];
    if (end == begin) {
      ++begin;
      continue;
    }
    Shape before(shape.begin(), shape.begin() + std::ptrdiff_t(begin));
    Shape behind(shape.begin() + std::ptrdiff_t(end), shape.end());
    Value size = running_size(g, times, sizes);
    if (!size) return g.refuse(fail("the size {} cannot be computed when the model runs", times.text()));
    Value reps = times.known() ? g.ints({1, times.value(), 1})
                               : g.add(mil::concat{.values = Values{g.ints({1}), size, g.ints({1})}, .axis = 0});
    Value rows = as_shape(g, value, {element_count(before), 1, element_count(behind)}, knowing);
    value = g.add(mil::tile{.x = rows, .reps = reps});
    for (; begin < end; ++begin) shape[begin] = full[begin];
  }
  return value;
}

}  // namespace pomona::rewrite
