#include <algorithm>
#include <cmath>
#include <numbers>

#include "formats/onnx/lowering.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/random.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Operators that make tensors, or give them another element type.
namespace pomona::onnx {
namespace {

struct Constant {
  ONNX_TENSOR(value);
  ONNX_TENSOR(sparse_value, .since = 11);
  ONNX_ATTR(value_float, std::optional<float>, .since = 12);
  ONNX_ATTR(value_floats, std::optional<Floats>, .since = 12);
  ONNX_ATTR(value_int, std::optional<std::int64_t>, .since = 12);
  ONNX_ATTR(value_ints, std::optional<Ints>, .since = 12);
  ONNX_ATTR(value_string, std::optional<std::string>, .since = 12);
  ONNX_ATTR(value_strings, std::optional<Strings>, .since = 12);
  Status lower(Lowering& g) const {
    POM_REQUIRE(!sparse_value, "sparse constants are not supported");
    if (value) {
      Elem elem = POM_TRY(elem_of(*value.proto));
      Weight stored = POM_TRY(stored_weight(*value.proto, g.graphs().files()));
      return g.result(g.constant(POM_TRY(compute_weight(stored, elem))), elem);
    }
    if (value_float->has_value()) return g.result(g.scalar(DType::fp32, **value_float), Elem::float32);
    if (value_floats->has_value()) {
      const Floats& numbers = **value_floats;
      return g.result(g.constant(Tensor::from_numbers(DType::fp32, {std::int64_t(numbers.size())}, numbers)),
                      Elem::float32);
    }
    Ints integers;
    if (value_int->has_value()) integers = {**value_int};
    if (value_ints->has_value()) integers = **value_ints;
    if (value_int->has_value() || value_ints->has_value()) {
      Tensor wide(DType::int64, {std::int64_t(integers.size())});
      auto elements = wide.mutable_view<std::int64_t>();
      std::copy(integers.begin(), integers.end(), elements.begin());
      if (value_int->has_value()) wide = wide.reshaped({});
      return g.result(g.constant(POM_TRY(compute_weight(wide, Elem::int64))), Elem::int64);
    }
    return fail("string constants are not supported");
  }
};

struct ConstantOfShape {
  ONNX_IN(input);
  ONNX_TENSOR(value);
  Status lower(Lowering& g) const {
    POM_REQUIRE(input.rank() == 1, "the shape has rank {}, not 1", input.rank());
    Elem elem = Elem::float32;
    double number = 0;
    if (value) {
      elem = POM_TRY(elem_of(*value.proto));
      Weight stored = POM_TRY(stored_weight(*value.proto, g.graphs().files()));
      Tensor tensor = POM_TRY(POM_TRY(compute_weight(stored, elem)).materialise());
      POM_REQUIRE(tensor.count() == 1, "value has {} elements, not one", tensor.count());
      number = tensor.number(0);
    }
    DType dtype = elem_info(elem).compute;
    if (auto shape = input.contents()) {
      for (Dim d : *shape) POM_REQUIRE(!d.known() || d.value() >= 0, "the shape has the size {}", d.text());
      if (all_known(*shape)) return g.result(g.filled(*shape, {}, dtype, number), elem);
    }
    return g.result(g.add(mil::fill{.shape = input, .value = Scalar{dtype, number}}), elem);
  }
};

struct Range {
  ONNX_IN(start);
  ONNX_IN(limit);
  ONNX_IN(delta);
  ONNX_ATTR(stash_type, int, .since = 27) = 1;
  Status lower(Lowering& g) const {
    auto scalar = [&](const InputField& v) { return v.rank() == 0 ? *v : g.reshape(v, Shape{}); };
    auto a = start.number(), b = limit.number(), d = delta.number();
    if (d) POM_REQUIRE(*d != 0, "delta is 0");
    if (a && b && d && std::ceil((*b - *a) / *d) <= 0)
      return g.result(g.constant(Tensor(start.dtype(), {0})), start.elem());
    return g.result(g.add(mil::range_1d{.end = scalar(limit), .start = scalar(start), .step = scalar(delta)}),
                    start.elem());
  }
};

struct EyeLike {
  ONNX_IN(input);
  ONNX_ATTR(dtype, std::optional<int>);
  ONNX_ATTR(k, int) = 0;
  Status lower(Lowering& g) const {
    POM_REQUIRE(input.rank() == 2, "the input has rank {}, not 2", input.rank());
    const ElemInfo* elem = dtype->has_value() ? find_elem(**dtype) : &elem_info(input.elem());
    POM_REQUIRE(elem && elem->elem != Elem::string, "tensors of {} are not supported", elem_name(**dtype));
    auto range = [&](std::size_t axis) {
      return g.add(mil::range_1d{.end = g.dim(input, axis), .start = g.integer(0), .step = g.integer(1)});
    };
    Value difference = g.minus(g.expand_dims(range(1), {0}), g.expand_dims(range(0), {1}));
    Value here = g.add(mil::equal{.x = difference, .y = g.integer(k)});
    return g.result(g.cast(here, elem->compute), elem->elem);
  }
};

struct OneHot {
  ONNX_IN(indices);
  ONNX_IN(depth);
  ONNX_IN(values);
  ONNX_ATTR(axis, int) = -1;
  Status lower(Lowering& g) const {
    POM_REQUIRE(values.rank() == 1, "values has rank {}, not 1", values.rank());
    Value size = g.cast(g.reshape(depth, Shape{}), DType::int32);
    Value at = g.non_negative(g.cast(indices, DType::int32), size, Elem::int64);
    if (!at) return g.status().error();
    // By comparison, since on and off may be computed, and indices outside mean all off.
    std::size_t rank = indices.rank() + 1;
    std::size_t new_axis = POM_TRY(g.axis(axis, rank));
    Ints ones;
    for (std::size_t i = 0; i < rank; ++i)
      if (i != new_axis) ones.push_back(std::int64_t(i));
    Value places = g.add(mil::range_1d{.end = size, .start = g.integer(0), .step = g.integer(1)});
    Value hot = g.add(mil::equal{.x = g.expand_dims(at, {std::int64_t(new_axis)}), .y = g.expand_dims(places, ones)});
    Value off = g.squeeze(g.slice(values, 0, 0, 1), {0}), on = g.squeeze(g.slice(values, 0, 1, 2), {0});
    return g.result(g.select(hot, on, off), values.elem());
  }
};

// float to a narrow or unsigned integer, C style: cut towards zero, then modulo 2^bits.
Status cast_to(Lowering& g, const InputField& x, Elem to, bool saturate, const std::string& round_mode) {
  const ElemInfo& info = elem_info(to);
  POM_REQUIRE(to != Elem::string && x.dtype() != DType::string, "strings are not supported");
  if (x.elem() == Elem::float64 && info.compute == DType::fp32) return g.result(x, to);
  Value y = x;
  if (to == Elem::float8e8m0 && x.elem() != to) return g.result(g.rounded_to_power(x, round_mode), to);
  if (narrow_float(to) && x.elem() != to) return g.result(g.rounded_to(x, to, saturate), to);
  // A weight stored in a narrow integer converts in one step.
  if (const Weight* weight = y.literal(); weight && weight->step() && weight->step()->what == "to int32" &&
                                          is_narrow_integer(x.elem()) && info.compute == DType::fp32)
    return g.result(g.constant(Weight::cast(weight->step()->inputs[0], DType::fp32)), to);
  y = g.cast(y, info.compute);
  bool narrows = is_narrow_integer(to) && x.elem() != to && x.elem() != Elem::boolean;
  return g.result(narrows ? g.wrap(y, to) : y, to);
}

struct Cast {
  ONNX_IN(input, .sequence = true);
  ONNX_ATTR(to, int, .required = true);
  ONNX_ATTR(saturate, bool, .since = 19) = true;
  ONNX_ATTR(round_mode, std::string, .since = 24) = "up";
  Status lower(Lowering& g) const {
    const ElemInfo* elem = find_elem(to);
    POM_REQUIRE(elem, "tensors of {} are not supported", elem_name(to));
    POM_REQUIRE(!input.entry().items, "the input is a sequence, not a tensor");
    if (input.entry().is_text() && elem->elem == Elem::string) return g.give(input.entry());
    POM_REQUIRE(!input.entry().is_text(), "a classifier's label in words cannot be made a number");
    return cast_to(g, input, elem->elem, *saturate, *round_mode);
  }
};
struct CastLike {
  ONNX_IN(input);
  ONNX_IN(target_type);
  ONNX_ATTR(saturate, bool, .since = 19) = true;
  ONNX_ATTR(round_mode, std::string, .since = 24) = "up";
  Status lower(Lowering& g) const { return cast_to(g, input, target_type.elem(), *saturate, *round_mode); }
};

// The same bits under another type of their width, where both are integers: unsigned values of 32 bits and more are
// below 2^31 here, so nothing changes for them.
struct BitCast {
  ONNX_IN(input);
  ONNX_ATTR(to, int, .required = true);
  Status lower(Lowering& g) const {
    const ElemInfo* elem = find_elem(to);
    const ElemInfo& own = elem_info(input.elem());
    POM_REQUIRE(elem, "tensors of {} are not supported", elem_name(to));
    if (elem->elem == own.elem) return g.result(input, own.elem);
    if (own.elem == Elem::boolean && elem->elem == Elem::uint8)
      return g.result(g.cast(input, DType::int32), Elem::uint8);
    bool from_negative = own.is_signed && !elem->is_signed && own.bits >= 32;
    POM_REQUIRE(own.bits != 0 && elem->bits == own.bits && !from_negative, "the bits of {} cannot be read as {}",
                own.name, elem->name);
    return g.result(g.wrap(input, elem->elem), elem->elem);
  }
};

struct Dropout {
  ONNX_IN(data);
  ONNX_OPTIONAL(ratio_input, .since = 12);
  ONNX_OPTIONAL(training_mode, .since = 12);
  ONNX_ATTR(ratio, float, .until = 12) = 0.5f;
  ONNX_ATTR(is_test, bool, .until = 7) = false;
  ONNX_ATTR(seed, std::optional<int>, .since = 12);
  Status lower(Lowering& g) const {
    if (training_mode) {
      double on = POM_TRY(g.constant_number(training_mode, "training_mode"));
      double share = ratio_input ? POM_TRY(g.constant_number(ratio_input, "ratio")) : 0.5;
      POM_REQUIRE(on == 0 || share == 0, "training mode is not supported");
    }
    POM_TRY(g.result(data, data.elem()));
    if (!g.wants(1)) return {};
    Value mask = g.filled(data.shape(), {data}, DType::boolean, 1);
    return g.result(mask, Elem::boolean);
  }
};

// Windows of n samples, a - b cos(2 pi i / N) + c cos(4 pi i / N), with N = n when periodic, else n - 1.
struct WindowTerms {
  double a, b, c;
};
constexpr WindowTerms hann{0.5, 0.5, 0}, hamming{25.0 / 46, 21.0 / 46, 0}, blackman{0.42, 0.5, 0.08};
template <const WindowTerms& T>
struct Window {
  ONNX_IN(size);
  ONNX_ATTR(output_datatype, int) = 1;
  ONNX_ATTR(periodic, bool) = true;
  Status lower(Lowering& g) const {
    const ElemInfo* elem = find_elem(output_datatype);
    POM_REQUIRE(elem && is_float(elem->compute), "windows of {} are not supported", elem_name(output_datatype));
    Value count = g.cast(g.reshape(size, Shape{}), DType::fp32);
    Value places =
        g.add(mil::range_1d{.end = count, .start = g.scalar(DType::fp32, 0), .step = g.scalar(DType::fp32, 1)});
    Value length = periodic ? count : g.minus(count, 1);
    Value angle = g.over(g.times(places, 2 * std::numbers::pi), length);
    Value window = g.plus(g.times(g.add(mil::cos{.x = angle}), -T.b), T.a);
    if (T.c != 0) window = g.plus(window, g.times(g.add(mil::cos{.x = g.times(angle, 2)}), T.c));
    return g.result(g.cast(window, elem->compute), elem->elem);
  }
};

template <bool Normal>
Value random(Lowering& g, Value shape, DType dtype, double first, double second) {
  if (Normal)
    return g.add(mil::random_normal{.shape = shape, .mean = Scalar{dtype, first}, .stddev = Scalar{dtype, second}});
  return g.add(mil::random_uniform{.shape = shape, .low = Scalar{dtype, first}, .high = Scalar{dtype, second}});
}
Result<const ElemInfo*> random_elem(int number) {
  const ElemInfo* elem = find_elem(number);
  POM_REQUIRE(elem && is_float(elem->compute), "random tensors of {} are not supported", elem_name(number));
  return elem;
}

struct RandomNormal {
  ONNX_ATTR(dtype, int) = 1;
  ONNX_ATTR(mean, float) = 0.0f;
  ONNX_ATTR(scale, float) = 1.0f;
  ONNX_ATTR(seed, std::optional<float>);
  ONNX_ATTR(shape, Ints, .required = true);
  Status lower(Lowering& g) const {
    const ElemInfo* elem = POM_TRY(random_elem(dtype));
    return g.result(random<true>(g, g.ints(shape), elem->compute, *mean, *scale), elem->elem);
  }
};
struct RandomUniform {
  ONNX_ATTR(dtype, int) = 1;
  ONNX_ATTR(high, float) = 1.0f;
  ONNX_ATTR(low, float) = 0.0f;
  ONNX_ATTR(seed, std::optional<float>);
  ONNX_ATTR(shape, Ints, .required = true);
  Status lower(Lowering& g) const {
    const ElemInfo* elem = POM_TRY(random_elem(dtype));
    return g.result(random<false>(g, g.ints(shape), elem->compute, *low, *high), elem->elem);
  }
};
struct RandomNormalLike {
  ONNX_IN(input);
  ONNX_ATTR(dtype, std::optional<int>);
  ONNX_ATTR(mean, float) = 0.0f;
  ONNX_ATTR(scale, float) = 1.0f;
  ONNX_ATTR(seed, std::optional<float>);
  Status lower(Lowering& g) const {
    const ElemInfo* elem = POM_TRY(random_elem(dtype->value_or(int(input.elem()))));
    return g.result(random<true>(g, g.shape_of(input), elem->compute, *mean, *scale), elem->elem);
  }
};
struct RandomUniformLike {
  ONNX_IN(input);
  ONNX_ATTR(dtype, std::optional<int>);
  ONNX_ATTR(high, float) = 1.0f;
  ONNX_ATTR(low, float) = 0.0f;
  ONNX_ATTR(seed, std::optional<float>);
  Status lower(Lowering& g) const {
    const ElemInfo* elem = POM_TRY(random_elem(dtype->value_or(int(input.elem()))));
    return g.result(random<false>(g, g.shape_of(input), elem->compute, *low, *high), elem->elem);
  }
};
struct Bernoulli {
  ONNX_IN(input);
  ONNX_ATTR(dtype, std::optional<int>);
  ONNX_ATTR(seed, std::optional<float>);
  Status lower(Lowering& g) const {
    const ElemInfo* elem = find_elem(dtype->value_or(int(input.elem())));
    POM_REQUIRE(elem && elem->elem != Elem::string, "random tensors of {} are not supported",
                elem_name(dtype->value_or(0)));
    Value draw = random<false>(g, g.shape_of(input), input.dtype(), 0, 1);
    return g.result(g.cast(g.add(mil::less{.x = draw, .y = input}), elem->compute), elem->elem);
  }
};

}  // namespace

Rules generator_chapter() {
  return {
      rule<Bernoulli>("Bernoulli"),
      rule<BitCast>("BitCast"),
      rule<Window<blackman>>("BlackmanWindow"),
      rule<Cast>("Cast", 6),
      rule<CastLike>("CastLike"),
      rule<Constant>("Constant"),
      rule<ConstantOfShape>("ConstantOfShape"),
      rule<Dropout>("Dropout", 6),
      rule<EyeLike>("EyeLike"),
      rule<Window<hamming>>("HammingWindow"),
      rule<Window<hann>>("HannWindow"),
      rule<OneHot>("OneHot"),
      rule<RandomNormal>("RandomNormal"),
      rule<RandomNormalLike>("RandomNormalLike"),
      rule<RandomUniform>("RandomUniform"),
      rule<RandomUniformLike>("RandomUniformLike"),
      rule<Range>("Range"),
  };
}

}  // namespace pomona::onnx
