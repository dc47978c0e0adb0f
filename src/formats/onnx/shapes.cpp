#include <algorithm>

#include "formats/onnx/lowering.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// The part of Lowering that deals with shapes.
namespace pomona::onnx {

Value Lowering::shape_of(Value x) {
  if (!x) return {};
  return add(mil::shape{.x = x});
}

Value Lowering::dim(Value x, std::size_t axis) {
  if (!x) return {};
  if (axis >= x.rank()) return builder_.refuse(fail("a tensor of rank {} has no dim {}", x.rank(), axis));
  if (x.shape()[axis].known()) return integer(x.shape()[axis].value());
  return add(mil::gather{.x = shape_of(x), .indices = integer(std::int64_t(axis)), .axis = 0});
}

Value Lowering::concat(const Values& values, int axis) {
  if (!status()) return {};
  if (values.size() == 1 && values[0].rank() > 0) return values[0];
  return add(mil::concat{.values = values, .axis = axis});
}

Value Lowering::shape_value(const Shape& shape, const Values& sources, bool may_infer_one) {
  if (all_known(shape)) return ints(known_sizes(shape));
  if (may_infer_one && std::count_if(shape.begin(), shape.end(), [](Dim d) { return !d.known(); }) == 1) {
    Ints sizes;
    for (Dim d : shape) sizes.push_back(d.known() ? d.value() : -1);
    return ints(sizes);
  }
  Values parts;
  Ints run;
  auto flush = [&] {
    if (!run.empty()) parts.push_back(ints(run));
    run.clear();
  };
  for (Dim d : shape) {
    if (d.known()) {
      run.push_back(d.value());
      continue;
    }
    Value part;
    for (Value source : sources)
      for (std::size_t i = 0; i < source.rank() && !part; ++i)
        if (source.shape()[i] == d) part = expand_dims(dim(source, i), {0});
    if (!part && may_infer_one) {
      may_infer_one = false;
      run.push_back(-1);
      continue;
    }
    if (!part) return builder_.refuse(fail("a result's size {} cannot be computed when the model runs", d.text()));
    flush();
    parts.push_back(part);
  }
  flush();
  return concat(parts, 0);
}

Value Lowering::reshape(Value x, const Shape& shape) {
  if (!x) return {};
  if (x.shape() == shape) return x;
  if (std::find(shape.begin(), shape.end(), Dim(0)) != shape.end()) {
    // 0 has another meaning in MIL; an empty tensor has no elements to keep.
    if (!all_known(shape))
      return builder_.refuse(fail("a tensor without elements takes the shape {}", to_string(shape)));
    return constant(Tensor(x.dtype(), known_sizes(shape)));
  }
  return add(mil::reshape{.x = x, .shape = shape_value(shape, {x}, true)});
}

Value Lowering::reshape(Value x, Value shape) {
  if (!x || !shape) return {};
  auto contents = shape.contents();
  if (!contents) return add(mil::reshape{.x = x, .shape = shape});
  if (*contents == x.shape()) return x;
  std::size_t unknown = 0, inferred = 0;
  for (Dim d : *contents) {
    unknown += !d.known();
    inferred += d == -1;
  }
  if (inferred == 1) {
    // Where the other dims show it, the left-over size is known as well.
    Dim rest = 1;
    for (Dim d : *contents)
      if (!(d == -1)) rest = rest * d;
    if (!(rest == 0))
      if (auto left = exact_div(element_count(x.shape()), rest)) {
        Shape full = *contents;
        std::replace(full.begin(), full.end(), Dim(-1), *left);
        if (all_known(full) || unknown == 0) return reshape(x, full);
      }
  }
  if (unknown == 0 && inferred == 0) return reshape(x, *contents);
  if (unknown == 1 && inferred == 0) return reshape(x, *contents);
  return add(mil::reshape{.x = x, .shape = shape});
}

Value Lowering::transpose(Value x, const Ints& perm) {
  if (!x) return {};
  bool same = true;
  for (std::size_t i = 0; i < perm.size(); ++i) same = same && perm[i] == std::int64_t(i);
  return same ? x : add(mil::transpose{.x = x, .perm = perm});
}
Value Lowering::expand_dims(Value x, const Ints& axes) {
  return !x || axes.empty() ? x : add(mil::expand_dims{.x = x, .axes = axes});
}
Value Lowering::squeeze(Value x, const Ints& axes) {
  return !x || axes.empty() ? x : add(mil::squeeze{.x = x, .axes = axes});
}
Value Lowering::per_channel(Value x, std::size_t rank) {
  if (!x || rank < 2) return x;
  Shape shape(rank, 1);
  shape[1] = element_count(x.shape());
  return reshape(x, shape);
}
Value Lowering::with_rank(Value x, std::size_t rank) {
  Ints axes;
  for (std::size_t i = x ? x.rank() : rank; i < rank; ++i) axes.push_back(std::int64_t(axes.size()));
  return expand_dims(x, axes);
}

Value Lowering::slice(Value x, std::size_t axis, std::int64_t begin, std::int64_t end, std::int64_t step) {
  if (!x) return {};
  if (axis >= x.rank()) return builder_.refuse(fail("a tensor of rank {} has no dim {}", x.rank(), axis));
  Ints from(x.rank(), 0), to(x.rank(), 0), stride(x.rank(), 1), open(x.rank(), 1), closed(x.rank(), 1);
  from[axis] = begin;
  to[axis] = end;
  stride[axis] = step;
  open[axis] = closed[axis] = 0;
  return add(mil::slice_by_index{
      .x = x, .begin = ints(from), .end = ints(to), .stride = stride, .begin_mask = open, .end_mask = closed});
}

Value Lowering::broadcast_to(Value x, const Shape& shape, const Values& sources) {
  if (!x) return {};
  std::size_t rank = std::max(shape.size(), x.rank());
  x = with_rank(x, rank);
  if (!x) return {};
  Shape wanted(rank - shape.size(), 1);
  wanted.insert(wanted.end(), shape.begin(), shape.end());
  Values parts;
  Ints run;
  bool any = false;
  for (std::size_t i = 0; i < rank; ++i) {
    Dim have = x.shape()[i], want = wanted[i];
    if (have == want || want == 1) {
      run.push_back(1);
    } else if (have == 1 && want.known()) {
      run.push_back(want.value());
      any = true;
    } else if (have == 1) {
      if (!run.empty()) parts.push_back(ints(run));
      run.clear();
      parts.push_back(shape_value({want}, sources));
      any = true;
    } else {
      return builder_.refuse(fail("a tensor {} does not broadcast to {}", to_string(x.shape()), to_string(shape)));
    }
  }
  if (!any) return x;
  if (!run.empty()) parts.push_back(ints(run));
  if (std::find(wanted.begin(), wanted.end(), Dim(0)) != wanted.end() && all_known(wanted))
    return constant(Tensor(x.dtype(), known_sizes(wanted)));
  return add(mil::tile{.x = x, .reps = concat(parts, 0)});
}

Value Lowering::broadcast_to(Value x, Value shape) {
  if (!x || !shape) return {};
  if (shape.rank() != 1) return builder_.refuse(fail("a shape has rank {}, not 1", shape.rank()));
  auto contents = shape.contents();
  std::size_t length = shape.shape()[0].known() ? std::size_t(shape.shape()[0].value()) : 0;
  if (!contents && !shape.shape()[0].known())
    return builder_.refuse(fail("the rank of the result is not known before the model runs"));
  if (contents && all_known(*contents)) {
    bool simple = true;
    Shape wanted = *contents;
    std::size_t offset = std::max(x.rank(), wanted.size()) - x.rank();
    std::size_t lead = std::max(x.rank(), wanted.size()) - wanted.size();
    for (std::size_t i = 0; i < wanted.size(); ++i)
      if (lead + i >= offset && !(wanted[i] == 1) && !x.shape()[lead + i - offset].known() &&
          !(x.shape()[lead + i - offset] == wanted[i]))
        simple = false;
    if (simple) return broadcast_to(x, wanted, {});
  }
  std::size_t rank = std::max(length, x.rank());
  x = with_rank(x, rank);
  if (length < rank) shape = concat({ints(Ints(rank - length, 1)), shape}, 0);
  if (!x || !shape) return {};
  // A dim of 1 repeats as often as wanted; any other equals the wanted one, or that one is 1.
  Value ratio = add(mil::floor_div{.x = shape, .y = shape_of(x)});
  return add(mil::tile{.x = x, .reps = add(mil::maximum{.x = ratio, .y = integer(1)})});
}

Value Lowering::filled(const Shape& shape, const Values& sources, DType dtype, double value) {
  if (all_known(shape)) {
    Sizes sizes = known_sizes(shape);
    if (std::find(sizes.begin(), sizes.end(), 0) != sizes.end()) return constant(Tensor(dtype, sizes));
  }
  return add(mil::fill{.shape = shape_value(shape, sources), .value = Scalar{dtype, value}});
}

Value Lowering::through_numbers(Value x, const std::function<Value(Value)>& operation) {
  if (!x) return {};
  if (x.dtype() != DType::boolean) return operation(x);
  return cast(operation(cast(x, DType::int32)), DType::boolean);
}

Value Lowering::non_negative(Value indices, Value size, Elem elem) {
  if (!indices) return {};
  if (is_unsigned_integer(elem) || elem == Elem::boolean) return indices;
  if (auto known = indices.integers();
      known && std::all_of(known->begin(), known->end(), [](auto i) { return i >= 0; }))
    return indices;
  Value negative = add(mil::less{.x = indices, .y = integer(0)});
  return select(negative, plus(indices, size), indices);
}

}  // namespace pomona::onnx
