// Tensors of many dims under shapes of fewer, where dims that stay together are one: what limit_rank makes ops with.
//
//   Runs runs = runs_around({axis}, x.rank());                 // what is before the axis, it, what is behind it
//   Value flat = as_shape(g, x, merged(x.shape(), runs));      // rank 3 at most
//   return as_shape(g, g.add(mil::softmax{.x = flat, .axis = 1}), x.shape(), {x});
#pragma once
#include "ir/builder.h"

namespace pomona::rewrite {

constexpr std::size_t most_dims = 5;

// Dims in runs that may be treated as one dim: the length of each run.
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
Shape merged(const Shape& shape, const Runs& runs);
// Of each run, one entry.
Ints first_of(const Ints& values, const Runs& runs);
Error too_many(const Runs& runs);

// A shape with one axis apart: what is before it, it, what is behind it, always three dims.
Shape around(const Shape& shape, std::size_t axis);

bool is_large(Value value);
bool is_layout(const Node& node);
// The same data, before they got a large shape.
Value before_layouts(Value value);

// A value under another shape; constants at once. Large shapes between here and where the data come from are left out.
// Sizes that are known only when the model runs are taken from the value's own ones, and from those of `knowing`.
Value as_shape(Builder& g, Value value, const Shape& shape, const Values& knowing = {});

// The sizes of a large value, when the model runs.
Value shape_of(Builder& g, Value value);

// A value of as many dims as `full`, repeated along dims where it has one element and `full` has more.
Value repeated(Builder& g, Value value, const Shape& full, const Values& knowing);

// The results of a node that works along axes, places or matrices, computed on fewer dims, in the shapes they have;
// nothing for an op without such a form.
std::optional<Values> with_axes_apart(const Node& node, Builder& g);
// The same of a matrix product; its batches are like operands of an elementwise op.
Value smaller_matmul(const Node& node, Builder& g);

// Operands of one rank that broadcast to `full`, but for the last `own` dims of each, which stay: with dims merged, and
// repeated where there would be too many otherwise.
Values broadcast_operands(Builder& g, Values operands, const Shape& full, std::size_t own, const Values& knowing);

}  // namespace pomona::rewrite
