#include "ops/quantization.h"

#include <algorithm>
#include <cmath>

#include "formats/onnx/packed_weight.h"
#include "formats/onnx/window.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/linear.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Quantised arithmetic, put together from floats and 32-bit integers so that it is exact.
namespace pomona::onnx {
namespace {

// A scale or zero point lined up with x: one number, one per index of `axis`, or one per block along it.
Result<Value> aligned(Lowering& g, Value parameter, Value x, std::int64_t axis, std::int64_t block) {
  if (!parameter || !x) return parameter;
  if (block > 0) {
    std::size_t a = POM_TRY(g.axis(axis, x.rank()));
    POM_REQUIRE(parameter.rank() == x.rank() && all_known(parameter.shape()) && x.shape()[a].known(),
                "blocks need scales of the input's rank and known sizes");
    std::int64_t blocks = parameter.shape()[a].value(), size = x.shape()[a].value();
    POM_REQUIRE(block < (1 << 24) && blocks * block >= size && (blocks - 1) * block < size,
                "{} blocks of {} do not cover {} elements", blocks, block, size);
    Shape wide = parameter.shape();
    wide.insert(wide.begin() + std::ptrdiff_t(a) + 1, 1);
    Ints reps(wide.size(), 1);
    reps[a + 1] = block;
    Shape full = parameter.shape();
    full[a] = blocks * block;
    Value repeated = g.reshape(g.add(mil::tile{.x = g.reshape(parameter, wide), .reps = g.ints(reps)}), full);
    return blocks * block == size ? repeated : g.slice(repeated, a, 0, size);
  }
  if (parameter.rank() == 0 || (parameter.rank() == 1 && parameter.shape()[0] == 1))
    return g.reshape(parameter, Shape{});
  POM_REQUIRE(parameter.rank() == 1, "a scale or zero point has rank {}", parameter.rank());
  std::size_t a = POM_TRY(g.axis(axis, x.rank()));
  Shape line(x.rank(), 1);
  line[a] = parameter.shape()[0];
  return g.reshape(parameter, line);
}

// round(x / scale) + zero point, cut off at the ends of the element type.
Value quantized(Lowering& g, Value x, Value scale, Value zero, Elem elem) {
  if (!x || !scale) return {};  // refused already
  Value y = g.add(mil::round{.x = g.over(x, scale)});
  if (zero) y = g.plus(y, g.cast(zero, x.dtype()));
  if (!y) return {};
  const ElemInfo& type = elem_info(elem);
  double range = double(1u << type.bits), lowest = type.is_signed ? -range / 2 : 0;
  y = g.add(mil::maximum{.x = y, .y = g.number(y, lowest)});
  return g.cast(g.add(mil::minimum{.x = y, .y = g.number(y, lowest + range - 1)}), DType::int32);
}

// What `quantize` and `dequantize` want: 8-bit integers, and constant parameters, one or one per index of an axis.
struct EightBits {
  Value scale, zero;
  std::optional<int> axis;
};
std::optional<EightBits> eight_bits(Lowering& g, Value x, Elem elem, Value scale, Value zero, std::int64_t axis,
                                    std::int64_t block) {
  if ((elem != Elem::int8 && elem != Elem::uint8) || block > 0 || g.target() < Target::iOS17 || x.rank() == 0)
    return {};
  const Weight* factor = g.as_constant(scale).literal();
  const Weight* middle = zero ? g.as_constant(zero).literal() : nullptr;
  if (!factor || (zero && !middle) || factor->sizes().size() > 1) return {};
  EightBits all;
  auto along = normal_axis(axis, x.rank());
  if (factor->count() != 1) {
    if (!along || !(x.shape()[*along] == Dim(std::int64_t(factor->count())))) return {};
    all.axis = int(*along);
  }
  auto shaped = [&](const Weight& w) {
    Value v = g.constant(w);
    return all.axis ? v : g.reshape(v, Shape{});
  };
  all.scale = shaped(Weight::cast(*factor, DType::fp32));
  if (middle) {
    if (middle->count() != factor->count()) return {};
    auto tensor = Weight::cast(*middle, elem_info(elem).stored).materialise();
    if (!tensor) return {};
    all.zero = g.constant(all.axis ? *tensor : tensor->reshaped({}));
  }
  return all;
}

struct QuantizeLinear {
  ONNX_IN(x);
  ONNX_IN(y_scale);
  ONNX_OPTIONAL(y_zero_point);
  ONNX_ATTR(axis, int, .since = 13) = 1;
  ONNX_ATTR(block_size, int, .since = 21) = 0;
  ONNX_ATTR(output_dtype, int, .since = 21) = 0;
  ONNX_ATTR(precision, int, .since = 23) = 0;
  ONNX_ATTR(saturate, bool, .since = 19) = true;
  Status lower(Lowering& g) const {
    Elem elem = y_zero_point ? y_zero_point.elem() : Elem::uint8;
    if (!y_zero_point && *output_dtype != 0) {
      const ElemInfo* named = find_elem(output_dtype);
      POM_REQUIRE(named, "output_dtype {} is not supported", elem_name(output_dtype));
      elem = named->elem;
    }
    bool narrow = narrow_float(elem) != nullptr;
    POM_REQUIRE(narrow || is_narrow_integer(elem), "quantising to {} is not supported", elem_info(elem).name);
    if (auto known = eight_bits(g, x, elem, y_scale, y_zero_point, *axis, *block_size)) {
      mil::quantize op{.input = g.cast(x, DType::fp32),
                       .zero_point = known->zero,
                       .scale = known->scale,
                       .output_dtype = elem == Elem::int8 ? "int8" : "uint8"};
      op.axis.value = known->axis;
      return g.result(g.cast(g.add(op), DType::int32), elem);
    }
    // fp16 cannot hold the sums; fp32 can.
    Value wide = g.cast(x, DType::fp32), scale = g.cast(y_scale, DType::fp32);
    scale = POM_TRY(aligned(g, scale, wide, *axis, *block_size));
    if (narrow) return g.result(g.rounded_to(g.over(wide, scale), elem, *saturate), elem);
    Value zero = y_zero_point ? POM_TRY(aligned(g, y_zero_point, wide, *axis, *block_size)) : Value();
    return g.result(quantized(g, wide, scale, zero, elem), elem);
  }
};

struct DequantizeLinear {
  ONNX_IN(x);
  ONNX_IN(x_scale);
  ONNX_OPTIONAL(x_zero_point);
  ONNX_ATTR(axis, int, .since = 13) = 1;
  ONNX_ATTR(block_size, int, .since = 21) = 0;
  ONNX_ATTR(output_dtype, int, .since = 23) = 0;
  Status lower(Lowering& g) const {
    bool narrow = narrow_float(x.elem()) || x.elem() == Elem::float8e8m0;
    POM_REQUIRE(narrow || x.dtype() == DType::int32, "dequantising {} is not supported", elem_info(x.elem()).name);
    const ElemInfo* out = *output_dtype ? find_elem(output_dtype) : &elem_info(x_scale.elem());
    POM_REQUIRE(out && is_float(out->compute), "output_dtype {} is not supported", elem_name(output_dtype));
    if (auto weight = quantized_weight(g, x, x.elem(), x_scale, x_zero_point, *axis, *block_size))
      return g.result(g.cast(*weight, out->compute), out->elem);
    if (auto known = from_bytes(g)) return g.result(g.cast(*known, out->compute), out->elem);
    Value q = x, scale = POM_TRY(aligned(g, g.cast(x_scale, DType::fp32), x, *axis, *block_size));
    if (x_zero_point && !narrow) {
      Value zero = POM_TRY(aligned(g, x_zero_point, x, *axis, *block_size));
      auto number = zero ? zero.number() : std::nullopt;
      if (!number || *number != 0) q = g.minus(q, zero);
    }
    return g.result(g.cast(g.times(g.cast(q, DType::fp32), scale), out->compute), out->elem);
  }
  // What `quantize` has made, through the cast behind it.
  std::optional<Value> from_bytes(Lowering& g) const {
    Node* cast = x.producer();
    if (!cast || cast->op != &def<mil::cast>()) return {};
    Value bytes = cast->input(0);
    if (bytes.dtype() != elem_info(x.elem()).stored || !bytes.producer() ||
        bytes.producer()->op != &def<mil::quantize>())
      return {};
    auto known = eight_bits(g, x, x.elem(), x_scale, x_zero_point, *axis, *block_size);
    if (!known) return {};
    mil::dequantize op{.input = bytes, .zero_point = known->zero, .scale = known->scale};
    op.axis.value = known->axis;
    return g.add(op);
  }
};

struct DynamicQuantizeLinear {
  ONNX_IN(x);
  Status lower(Lowering& g) const {
    Ints axes;
    for (std::size_t i = 0; i < x.rank(); ++i) axes.push_back(std::int64_t(i));
    Value zero = g.number(x, 0);
    Value high = axes.empty() ? *x : g.add(mil::reduce_max{.x = x, .axes = axes, .keep_dims = false});
    Value low = axes.empty() ? *x : g.add(mil::reduce_min{.x = x, .axes = axes, .keep_dims = false});
    high = g.add(mil::maximum{.x = high, .y = zero});
    low = g.add(mil::minimum{.x = low, .y = zero});
    Value scale = g.over(g.minus(high, low), 255);
    // Nothing but zeros: any scale will do.
    scale = g.select(g.add(mil::equal{.x = scale, .y = zero}), g.number(x, 1), scale);
    Value point = quantized(g, g.minus(zero, low), scale, {}, Elem::uint8);
    POM_TRY(g.result(quantized(g, x, scale, point, Elem::uint8), Elem::uint8));
    POM_TRY(g.result(scale, Elem::float32));
    return g.result(point, Elem::uint8);
  }
};

// The zero point taken away: one for all, one per row of A (rows) or one per column of B.
Result<Value> centred(Lowering& g, Value x, Value zero, bool rows) {
  if (!zero || !x) return x;
  if (zero.rank() == 1 && !(zero.shape()[0] == 1) && rows) zero = g.expand_dims(zero, {1});
  if (zero && zero.rank() == 1 && zero.shape()[0] == 1) zero = g.reshape(zero, Shape{});
  return g.minus(x, zero);
}

// fp32 holds integers up to here.
constexpr std::int64_t largest_exact_sum = 1 << 24;

// A constant matrix of 8-bit integers, its zero points taken away, as the constexpr op that decodes it to fp32; empty
// when it is none.
std::optional<Value> integer_weight(Lowering& g, Value w, Elem elem, Value zero, std::size_t axis) {
  std::size_t count = zero && zero.rank() == 1 && zero.shape()[0].known() ? std::size_t(zero.shape()[0].value()) : 1;
  Tensor ones(DType::fp32, count == 1 ? Sizes{} : Sizes{std::int64_t(count)});
  for (float& one : ones.mutable_view<float>()) one = 1;
  if (count == 1 && zero) zero = g.reshape(zero, Shape{});
  return quantized_weight(g, w, elem, g.constant(ones), zero, std::int64_t(axis), 0);
}

// How many rows of a [depth, columns] matrix of integers can be multiplied by others of magnitude `most` and added up
// before a sum leaves what fp32 holds. Errors: the matrix cannot be computed.
Result<std::int64_t> exact_depth(Lowering& g, Value b, Value zero, std::int64_t most) {
  Tensor tensor = POM_TRY(POM_TRY(constant_of(g, b, "B")).materialise());
  std::optional<Tensor> zeros;
  if (zero) zeros = POM_TRY(POM_TRY(constant_of(g, zero, "the zero point of B")).materialise());
  auto depth = std::size_t(tensor.sizes()[0]), columns = std::size_t(tensor.sizes()[1]);
  std::vector<double> sums(columns), middles(columns), row(columns);
  for (std::size_t i = 0; i < columns && zeros; ++i) middles[i] = zeros->number(zeros->count() == 1 ? 0 : i);
  double largest = 0;
  for (std::size_t k = 0; k < depth; ++k) {
    tensor.read_numbers(k * columns, row);
    for (std::size_t i = 0; i < columns; ++i) {
      double size = std::fabs(row[i] - middles[i]);
      sums[i] += size;
      largest = std::max(largest, size);
    }
  }
  double sum = columns ? *std::max_element(sums.begin(), sums.end()) : 0;
  if (sum * double(most) < double(largest_exact_sum)) return std::int64_t(depth);
  return std::max<std::int64_t>(1, std::int64_t(double(largest_exact_sum) / (double(most) * largest)));
}

// A x B for an 8-bit constant B: B keeps its 8 bits, and fp32 adds up no more products than stay exact, int32 the rest.
// Empty where B is not such a constant.
Result<std::optional<Value>> product_with_weight(Lowering& g, const InputField& A, Value a, const InputField& B,
                                                 Value b_zero) {
  if (!a || B.rank() != 2 || !all_known(B.shape())) return std::optional<Value>();
  if (b_zero && !g.as_constant(b_zero).literal()) return std::optional<Value>();
  auto whole = integer_weight(g, B, B.elem(), b_zero, 1);
  if (!whole) return std::optional<Value>();
  std::int64_t depth = B.shape()[0].value(), most = A.elem() == Elem::int8 && a == Value(A) ? 128 : 255,
               piece = POM_TRY(exact_depth(g, B, b_zero, most));
  Value sum;
  for (std::int64_t at = 0; at < depth; at += piece) {
    std::int64_t end = std::min(at + piece, depth);
    bool all = at == 0 && end == depth;
    Value left = g.cast(all ? a : g.slice(a, a.rank() - 1, at, end), DType::fp32);
    std::optional<Value> right = all ? whole : integer_weight(g, g.slice(B, 0, at, end), B.elem(), b_zero, 1);
    if (!right) right = g.cast(POM_TRY(centred(g, g.slice(B, 0, at, end), b_zero, false)), DType::fp32);
    Value part = g.cast(g.add(mil::matmul{.x = left, .y = *right}), DType::int32);
    sum = sum ? g.plus(sum, part) : part;
  }
  return std::optional<Value>(sum);
}

struct MatMulInteger {
  ONNX_IN(A);
  ONNX_IN(B);
  ONNX_OPTIONAL(a_zero_point);
  ONNX_OPTIONAL(b_zero_point);
  Status lower(Lowering& g) const {
    Value a = POM_TRY(centred(g, A, a_zero_point, true));
    if (auto product = POM_TRY(product_with_weight(g, A, a, B, b_zero_point))) return g.result(*product, Elem::int32);
    Value b = POM_TRY(centred(g, B, b_zero_point, false));
    return g.result(g.add(mil::matmul{.x = a, .y = b}), Elem::int32);
  }
};

struct QLinearMatMul {
  ONNX_IN(a);
  ONNX_IN(a_scale);
  ONNX_IN(a_zero_point);
  ONNX_IN(b);
  ONNX_IN(b_scale);
  ONNX_IN(b_zero_point);
  ONNX_IN(y_scale);
  ONNX_IN(y_zero_point);
  Status lower(Lowering& g) const {
    Value x = POM_TRY(centred(g, a, a_zero_point, true));
    auto known = POM_TRY(product_with_weight(g, a, x, b, b_zero_point));
    Value y = known ? Value() : POM_TRY(centred(g, b, b_zero_point, false));
    auto scale_of = [&](Value scale, bool rows) {
      Value wide = g.cast(scale, DType::fp32);
      return wide && wide.rank() == 1 && rows && !(wide.shape()[0] == 1) ? g.expand_dims(wide, {1}) : wide;
    };
    Value product = g.cast(known ? *known : g.add(mil::matmul{.x = x, .y = y}), DType::fp32);
    Value factor = g.over(g.times(scale_of(a_scale, true), scale_of(b_scale, false)), scale_of(y_scale, true));
    Value result = quantized(g, g.times(product, factor), g.scalar(DType::fp32, 1), y_zero_point, y_zero_point.elem());
    if (result && x && result.rank() > std::max(x.rank(), b.rank())) result = g.squeeze(result, {0});
    return g.result(result, y_zero_point.elem());
  }
};

// Sums of products of 8-bit integers, in fp32: exact up to 2^24, and rounded as fp32 is beyond.
struct IntegerConvolution {
  Value x, x_zero, w, w_zero;
  Elem w_elem;
  Result<Value> add(Lowering& g, const WindowAttributes& attributes, int groups) const {
    POM_REQUIRE(x.rank() >= 3 && w.rank() == x.rank(), "the input has rank {}, the weight {}", x.rank(), w.rank());
    Value input = x_zero ? g.minus(x, g.reshape(x_zero, Shape{})) : x;
    Value zero = w_zero;
    if (zero && zero.rank() == 1 && !(zero.shape()[0] == 1)) {
      Shape line(w.rank(), 1);
      line[0] = zero.shape()[0];
      zero = g.reshape(zero, line);
    } else if (zero) {
      zero = g.reshape(zero, Shape{});
    }
    std::optional<Value> kept = integer_weight(g, w, w_elem, w_zero, 0);
    Value weight = kept ? *kept : g.as_constant(g.cast(zero ? g.minus(w, zero) : w, DType::fp32));
    WindowAttributes full = attributes;
    full.kernel.clear();
    for (std::size_t i = 2; i < w.rank(); ++i) full.kernel.push_back(w.shape()[i].known() ? w.shape()[i].value() : 0);
    Window window = POM_TRY(window_of(x, full));
    return g.add(mil::conv{.x = g.cast(input, DType::fp32),
                           .weight = weight,
                           .strides = window.strides,
                           .pad_type = window.padded() || window.pad_type != "custom" ? window.pad_type : "valid",
                           .pad = window.interleaved(),
                           .dilations = window.dilations,
                           .groups = groups});
  }
};

struct ConvInteger {
  ONNX_IN(x);
  ONNX_IN(w);
  ONNX_OPTIONAL(x_zero_point);
  ONNX_OPTIONAL(w_zero_point);
  ONNX_ATTR(auto_pad, std::string) = "NOTSET";
  ONNX_ATTR(dilations, Ints);
  ONNX_ATTR(group, int) = 1;
  ONNX_ATTR(kernel_shape, Ints);
  ONNX_ATTR(pads, Ints);
  ONNX_ATTR(strides, Ints);
  Status lower(Lowering& g) const {
    Value y = POM_TRY((IntegerConvolution{x, *x_zero_point, w, *w_zero_point, w.elem()}.add(
        g, {.strides = strides, .pads = pads, .dilations = dilations, .auto_pad = auto_pad}, group)));
    return g.result(g.cast(y, DType::int32), Elem::int32);
  }
};

struct QLinearConv {
  ONNX_IN(x);
  ONNX_IN(x_scale);
  ONNX_IN(x_zero_point);
  ONNX_IN(w);
  ONNX_IN(w_scale);
  ONNX_IN(w_zero_point);
  ONNX_IN(y_scale);
  ONNX_IN(y_zero_point);
  ONNX_OPTIONAL(B);
  ONNX_ATTR(auto_pad, std::string) = "NOTSET";
  ONNX_ATTR(dilations, Ints);
  ONNX_ATTR(group, int) = 1;
  ONNX_ATTR(kernel_shape, Ints);
  ONNX_ATTR(pads, Ints);
  ONNX_ATTR(strides, Ints);
  Status lower(Lowering& g) const {
    Value y = POM_TRY((IntegerConvolution{x, *x_zero_point, w, *w_zero_point, w.elem()}.add(
        g, {.strides = strides, .pads = pads, .dilations = dilations, .auto_pad = auto_pad}, group)));
    if (!y) return g.status();
    if (B) y = g.plus(y, g.cast(POM_TRY(aligned(g, B, y, 1, 0)), DType::fp32));
    Value factor = g.over(g.times(g.reshape(x_scale, Shape{}), POM_TRY(aligned(g, w_scale, y, 1, 0))),
                          g.reshape(y_scale, Shape{}));
    Value zero = g.reshape(y_zero_point, Shape{});
    return g.result(quantized(g, g.times(y, factor), g.scalar(DType::fp32, 1), zero, y_zero_point.elem()),
                    y_zero_point.elem());
  }
};

}  // namespace

Rules quantization_chapter() {
  return {
      rule<ConvInteger>("ConvInteger"),
      rule<DequantizeLinear>("DequantizeLinear"),
      rule<DynamicQuantizeLinear>("DynamicQuantizeLinear"),
      rule<MatMulInteger>("MatMulInteger"),
      rule<QLinearConv>("QLinearConv"),
      rule<QLinearMatMul>("QLinearMatMul"),
      rule<QuantizeLinear>("QuantizeLinear"),
  };
}

}  // namespace pomona::onnx
