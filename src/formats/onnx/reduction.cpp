#include "ops/reduction.h"

#include <algorithm>

#include "formats/onnx/lowering.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Reductions over axes, and cumulative ones.
namespace pomona::onnx {
namespace {

enum class Kind { l1, l2, log_sum, log_sum_exp, max, mean, min, prod, sum, sum_square };
// Operator sets from which axes are an input.
constexpr int axes_input_since(Kind kind) { return kind == Kind::sum ? 13 : 18; }

template <class Op>
Value reduced(Lowering& g, Value x, const Ints& axes, bool keep) {
  return g.add(Op{.x = x, .axes = axes, .keep_dims = keep});
}

Value reduced_floats(Lowering& g, Kind kind, Value x, const Ints& axes, bool keep) {
  switch (kind) {
    case Kind::l1:
      return reduced<mil::reduce_l1_norm>(g, x, axes, keep);
    case Kind::l2:
      return reduced<mil::reduce_l2_norm>(g, x, axes, keep);
    case Kind::log_sum:
      return reduced<mil::reduce_log_sum>(g, x, axes, keep);
    case Kind::log_sum_exp:
      return reduced<mil::reduce_log_sum_exp>(g, x, axes, keep);
    case Kind::max:
      return reduced<mil::reduce_max>(g, x, axes, keep);
    case Kind::mean:
      return reduced<mil::reduce_mean>(g, x, axes, keep);
    case Kind::min:
      return reduced<mil::reduce_min>(g, x, axes, keep);
    case Kind::prod:
      return reduced<mil::reduce_prod>(g, x, axes, keep);
    case Kind::sum:
      return reduced<mil::reduce_sum>(g, x, axes, keep);
    case Kind::sum_square:
      return reduced<mil::reduce_sum_square>(g, x, axes, keep);
  }
  return {};
}

bool exact_on_integers(Kind kind) {
  return kind == Kind::l1 || kind == Kind::max || kind == Kind::min || kind == Kind::prod || kind == Kind::sum ||
         kind == Kind::sum_square;
}

template <Kind K>
struct Reduce {
  ONNX_IN(data);
  ONNX_OPTIONAL(axes_input, .since = axes_input_since(K));
  ONNX_ATTR(axes, std::optional<Ints>, .until = axes_input_since(K));
  ONNX_ATTR(keepdims, bool) = true;
  ONNX_ATTR(noop_with_empty_axes, bool, .since = axes_input_since(K)) = false;
  Status lower(Lowering& g) const {
    Ints along = axes->value_or(Ints{});
    if (axes_input) along = POM_TRY(g.constant_ints(axes_input, "axes"));
    if (along.empty() && !noop_with_empty_axes)
      for (std::size_t i = 0; i < data.rank(); ++i) along.push_back(std::int64_t(i));
    for (std::int64_t& a : along) a = std::int64_t(POM_TRY(g.axis(a, data.rank())));
    std::sort(along.begin(), along.end());
    POM_REQUIRE(std::adjacent_find(along.begin(), along.end()) == along.end(), "axes name an axis twice");
    if (along.empty()) return lower_elementwise(g);
    Dim count = 1;
    for (std::int64_t a : along) count = count * data.shape()[std::size_t(a)];
    if (count == 0 && (K == Kind::max || K == Kind::min)) return lower_empty(g, along);
    if (data.dtype() == DType::boolean) {
      Value y = reduced_floats(g, K, g.cast(data, DType::int32), along, keepdims);
      return g.result(g.cast(y, DType::boolean));
    }
    if (data.dtype() == DType::int32 && !exact_on_integers(K)) {
      Value y = reduced_floats(g, K, g.cast(data, DType::fp32), along, keepdims);
      return g.result(g.cast(y, DType::int32));
    }
    return g.result(g.wrap(reduced_floats(g, K, data, along, keepdims), data.elem()));
  }
  // Over no axes, or of a scalar: every element by itself.
  Status lower_elementwise(Lowering& g) const {
    Value x = data;
    if (K == Kind::l1 || K == Kind::l2) return g.result(g.add(mil::abs{.x = x}));
    if (K == Kind::log_sum) return g.result(g.add(mil::log{.x = x, .epsilon = 0.0}));
    if (K == Kind::sum_square) return g.result(g.times(x, x));
    return g.result(x);
  }
  // The extremum of nothing: the dtype's own limit.
  Status lower_empty(Lowering& g, const Ints& along) const {
    Shape shape;
    for (std::size_t i = 0; i < data.rank(); ++i) {
      if (!std::count(along.begin(), along.end(), std::int64_t(i)))
        shape.push_back(data.shape()[i]);
      else if (keepdims)
        shape.push_back(1);
    }
    bool highest = K == Kind::min;
    double limit = HUGE_VAL;
    if (data.dtype() == DType::boolean) limit = 1;
    if (is_integer_elem(data.elem())) limit = highest_value(elem_info(data.elem()).stored);
    POM_REQUIRE(data.dtype() != DType::int32 || limit <= INT32_MAX, "the extremum of nothing does not fit into int32");
    double lowest = is_float(data.dtype())         ? -limit
                    : is_integer_elem(data.elem()) ? lowest_value(elem_info(data.elem()).stored)
                                                   : 0;
    return g.result(g.filled(shape, {data}, data.dtype(), highest ? limit : lowest));
  }
};

template <bool Max>
struct Extremum {
  ONNX_IN(data);
  ONNX_ATTR(axis, int) = 0;
  ONNX_ATTR(keepdims, bool) = true;
  ONNX_ATTR(select_last_index, bool, .since = 12) = false;
  Status lower(Lowering& g) const {
    int along = int(POM_TRY(g.axis(axis, data.rank())));
    Value x = data;
    if (select_last_index) x = g.add(mil::reverse{.x = x, .axes = Ints{along}});
    Value at = Max ? g.add(mil::reduce_argmax{.x = x, .axis = along, .keep_dims = *keepdims})
                   : g.add(mil::reduce_argmin{.x = x, .axis = along, .keep_dims = *keepdims});
    if (select_last_index) at = g.minus(g.minus(g.dim(data, std::size_t(along)), 1), at);
    return g.result(at, Elem::int64);
  }
};

struct CumSum {
  ONNX_IN(x);
  ONNX_IN(axis);
  ONNX_ATTR(exclusive, bool) = false;
  ONNX_ATTR(reverse, bool) = false;
  Status lower(Lowering& g) const {
    Ints along = POM_TRY(g.constant_ints(axis, "axis"));
    POM_REQUIRE(along.size() == 1, "axis has {} elements, not one", along.size());
    int a = int(POM_TRY(g.axis(along[0], x.rank())));
    Value sums = g.add(mil::cumsum{.x = x, .axis = a, .exclusive = *exclusive, .reverse = *reverse});
    return g.result(g.wrap(sums, x.elem()), x.elem());
  }
};

// MIL has no cumulative product. Doubling: after step k each element is the product of the 2^k before and at it.
struct CumProd {
  ONNX_IN(x);
  ONNX_IN(axis);
  ONNX_ATTR(exclusive, bool) = false;
  ONNX_ATTR(reverse, bool) = false;
  Status lower(Lowering& g) const {
    Ints along = POM_TRY(g.constant_ints(axis, "axis"));
    POM_REQUIRE(along.size() == 1, "axis has {} elements, not one", along.size());
    std::size_t a = POM_TRY(g.axis(along[0], x.rank()));
    POM_REQUIRE(x.shape()[a].known(), "the size along the axis must be known before the model runs");
    std::int64_t length = x.shape()[a].value();
    POM_REQUIRE(length <= INT32_MAX, "the axis has {} elements", length);
    Value y = x;
    if (reverse) y = g.add(mil::reverse{.x = y, .axes = Ints{std::int64_t(a)}});
    if (exclusive && length > 0) {
      Value one = g.plus(g.times(g.slice(y, a, 0, 1), 0), 1);
      y = length > 1 ? g.concat({one, g.slice(y, a, 0, length - 1)}, int(a)) : one;
    }
    for (std::int64_t step = 1; step < length; step *= 2) {
      Value later = g.times(g.slice(y, a, step, length), g.slice(y, a, 0, length - step));
      y = g.concat({g.slice(y, a, 0, step), later}, int(a));
    }
    if (reverse) y = g.add(mil::reverse{.x = y, .axes = Ints{std::int64_t(a)}});
    return g.result(g.wrap(y, x.elem()), x.elem());
  }
};

}  // namespace

Rules reduction_chapter() {
  return {
      rule<Extremum<true>>("ArgMax"),
      rule<Extremum<false>>("ArgMin"),
      rule<CumProd>("CumProd"),
      rule<CumSum>("CumSum"),
      rule<Reduce<Kind::l1>>("ReduceL1"),
      rule<Reduce<Kind::l2>>("ReduceL2"),
      rule<Reduce<Kind::log_sum>>("ReduceLogSum"),
      rule<Reduce<Kind::log_sum_exp>>("ReduceLogSumExp"),
      rule<Reduce<Kind::max>>("ReduceMax"),
      rule<Reduce<Kind::mean>>("ReduceMean"),
      rule<Reduce<Kind::min>>("ReduceMin"),
      rule<Reduce<Kind::prod>>("ReduceProd"),
      rule<Reduce<Kind::sum>>("ReduceSum"),
      rule<Reduce<Kind::sum_square>>("ReduceSumSquare"),
  };
}

}  // namespace pomona::onnx
