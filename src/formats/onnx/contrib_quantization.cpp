#include "formats/onnx/compose.h"
#include "formats/onnx/packed_weight.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Quantised operators of the domain com.microsoft.
namespace pomona::onnx {
namespace {

constexpr Text domain = "com.microsoft";
constexpr int always = 1 << 30;

Status give(Lowering& g, const Entry& entry) { return g.result(entry.value, entry.elem); }

Value flat(Lowering& g, Value v) { return v && v.rank() == 1 && v.shape()[0] == 1 ? g.reshape(v, Shape{}) : v; }

Result<Entry> dequantized(Lowering& g, const Entry& x, const Entry& scale, const Entry& zero, int axis = 1) {
  Entry s{flat(g, scale.value), scale.elem}, z{flat(g, zero.value), zero.elem, !zero.value};
  return apply(g, "DequantizeLinear", {x, s, z}, {whole("axis", axis)});
}
Result<Entry> quantized(Lowering& g, const Entry& y, const Entry& scale, const Entry& zero, Elem elem) {
  Entry s{flat(g, scale.value), scale.elem}, z{flat(g, zero.value), zero.elem, !zero.value};
  AttributeProtos attributes;
  if (!zero.value) attributes.push_back(whole("output_dtype", int(elem)));
  return apply(g, "QuantizeLinear", {y, s, z}, attributes);
}

enum class Pair { add, mul };
template <Pair P>
struct QLinearPair {
  ONNX_IN(A);
  ONNX_IN(A_scale);
  ONNX_OPTIONAL(A_zero_point);
  ONNX_IN(B);
  ONNX_IN(B_scale);
  ONNX_OPTIONAL(B_zero_point);
  ONNX_IN(C_scale);
  ONNX_OPTIONAL(C_zero_point);
  Status lower(Lowering& g) const {
    Entry a = POM_TRY(dequantized(g, entry_of(A), entry_of(A_scale), entry_of(A_zero_point)));
    Entry b = POM_TRY(dequantized(g, entry_of(B), entry_of(B_scale), entry_of(B_zero_point)));
    Entry c = POM_TRY(apply(g, P == Pair::add ? "Add" : "Mul", {a, b}));
    return give(g, POM_TRY(quantized(g, c, entry_of(C_scale), entry_of(C_zero_point), A.elem())));
  }
};

struct QLinearSigmoid {
  ONNX_IN(X);
  ONNX_IN(X_scale);
  ONNX_OPTIONAL(X_zero_point);
  ONNX_IN(Y_scale);
  ONNX_OPTIONAL(Y_zero_point);
  Status lower(Lowering& g) const {
    Entry x = POM_TRY(dequantized(g, entry_of(X), entry_of(X_scale), entry_of(X_zero_point)));
    Entry y = POM_TRY(apply(g, "Sigmoid", {x}));
    return give(g, POM_TRY(quantized(g, y, entry_of(Y_scale), entry_of(Y_zero_point), X.elem())));
  }
};
struct QLinearLeakyRelu {
  ONNX_IN(X);
  ONNX_IN(X_scale);
  ONNX_OPTIONAL(X_zero_point);
  ONNX_IN(Y_scale);
  ONNX_OPTIONAL(Y_zero_point);
  ONNX_ATTR(alpha, float) = 0.01f;
  Status lower(Lowering& g) const {
    Entry x = POM_TRY(dequantized(g, entry_of(X), entry_of(X_scale), entry_of(X_zero_point)));
    Entry y = POM_TRY(apply(g, "LeakyRelu", {x}, {real("alpha", *alpha)}));
    return give(g, POM_TRY(quantized(g, y, entry_of(Y_scale), entry_of(Y_zero_point), X.elem())));
  }
};
struct QLinearSoftmax {
  ONNX_IN(X);
  ONNX_IN(X_scale);
  ONNX_OPTIONAL(x_zero_point);
  ONNX_IN(y_scale);
  ONNX_IN(y_zero_point);
  ONNX_ATTR(axis, int) = -1;
  ONNX_ATTR(opset, int, .required = true);
  Status lower(Lowering& g) const {
    POM_REQUIRE(*opset >= 13 || *axis == -1 || *axis + 1 == int(X.rank()),
                "softmax over several axes, as before operator set 13, is not supported");
    Entry x = POM_TRY(dequantized(g, entry_of(X), entry_of(X_scale), entry_of(x_zero_point)));
    Entry y = POM_TRY(apply(g, "Softmax", {x}, {whole("axis", *axis)}));
    return give(g, POM_TRY(quantized(g, y, entry_of(y_scale), entry_of(y_zero_point), X.elem())));
  }
};
struct QLinearGlobalAveragePool {
  ONNX_IN(X);
  ONNX_IN(x_scale);
  ONNX_IN(x_zero_point);
  ONNX_IN(y_scale);
  ONNX_IN(y_zero_point);
  ONNX_ATTR(channels_last, bool) = false;
  Status lower(Lowering& g) const {
    Entry x = POM_TRY(dequantized(g, entry_of(X), entry_of(x_scale), entry_of(x_zero_point)));
    Ints axes;
    for (std::size_t i = 0; i < X.rank(); ++i)
      if (i != 0 && i != (channels_last ? X.rank() - 1 : 1)) axes.push_back(std::int64_t(i));
    x.value = g.add(mil::reduce_mean{.x = x.value, .axes = axes, .keep_dims = true});
    return give(g, POM_TRY(quantized(g, x, entry_of(y_scale), entry_of(y_zero_point), X.elem())));
  }
};
struct QLinearAveragePool {
  ONNX_IN(X);
  ONNX_IN(x_scale);
  ONNX_OPTIONAL(x_zero_point);
  ONNX_IN(y_scale);
  ONNX_OPTIONAL(y_zero_point);
  ONNX_ATTR(auto_pad, std::string) = "NOTSET";
  ONNX_ATTR(ceil_mode, bool) = false;
  ONNX_ATTR(channels_last, bool) = false;
  ONNX_ATTR(count_include_pad, bool) = false;
  ONNX_ATTR(kernel_shape, Ints, .required = true);
  ONNX_ATTR(pads, Ints);
  ONNX_ATTR(strides, Ints);
  Status lower(Lowering& g) const {
    POM_REQUIRE(!channels_last, "channels_last = 1 is not supported");
    Entry x = POM_TRY(dequantized(g, entry_of(X), entry_of(x_scale), entry_of(x_zero_point)));
    AttributeProtos attributes{wholes("kernel_shape", *kernel_shape), text("auto_pad", *auto_pad),
                               whole("ceil_mode", *ceil_mode), whole("count_include_pad", *count_include_pad)};
    if (!pads->empty()) attributes.push_back(wholes("pads", *pads));
    if (!strides->empty()) attributes.push_back(wholes("strides", *strides));
    Entry y = POM_TRY(apply(g, "AveragePool", {x}, attributes));
    return give(g, POM_TRY(quantized(g, y, entry_of(y_scale), entry_of(y_zero_point), X.elem())));
  }
};
struct QLinearReduceMean {
  ONNX_IN(data);
  ONNX_IN(data_scale);
  ONNX_OPTIONAL(data_zero_point);
  ONNX_IN(reduced_scale);
  ONNX_OPTIONAL(reduced_zero_point);
  ONNX_ATTR(axes, Ints, .required = true);
  ONNX_ATTR(keepdims, bool, .required = true);
  Status lower(Lowering& g) const {
    Entry x = POM_TRY(dequantized(g, entry_of(data), entry_of(data_scale), entry_of(data_zero_point)));
    x.value = g.add(mil::reduce_mean{.x = x.value, .axes = *axes, .keep_dims = *keepdims});
    return give(g, POM_TRY(quantized(g, x, entry_of(reduced_scale), entry_of(reduced_zero_point), data.elem())));
  }
};
struct QLinearConcat {
  ONNX_IN(Y_scale);
  ONNX_IN(Y_zero_point);
  ONNX_VARIADIC(inputs);
  ONNX_ATTR(axis, int, .required = true);
  Status lower(Lowering& g) const {
    POM_REQUIRE(!inputs.entries.empty() && inputs.size() % 3 == 0, "there are {} inputs, not three for each tensor",
                inputs.size());
    Entries parts;
    for (std::size_t i = 0; i < inputs.size(); i += 3)
      parts.push_back(POM_TRY(dequantized(g, inputs.entries[i], inputs.entries[i + 1], inputs.entries[i + 2])));
    Entry all = POM_TRY(apply(g, "Concat", parts, {whole("axis", *axis)}));
    return give(g, POM_TRY(quantized(g, all, entry_of(Y_scale), entry_of(Y_zero_point), Y_zero_point.elem())));
  }
};
struct QLinearWhere {
  ONNX_IN(condition);
  ONNX_IN(X);
  ONNX_IN(x_scale);
  ONNX_IN(x_zero_point);
  ONNX_IN(Y);
  ONNX_IN(y_scale);
  ONNX_IN(y_zero_point);
  ONNX_IN(z_scale);
  ONNX_IN(z_zero_point);
  Status lower(Lowering& g) const {
    Entry x = POM_TRY(dequantized(g, entry_of(X), entry_of(x_scale), entry_of(x_zero_point)));
    Entry y = POM_TRY(dequantized(g, entry_of(Y), entry_of(y_scale), entry_of(y_zero_point)));
    Entry z = POM_TRY(apply(g, "Where", {entry_of(condition), x, y}));
    return give(g, POM_TRY(quantized(g, z, entry_of(z_scale), entry_of(z_zero_point), X.elem())));
  }
};

// Integers as they are, or quantised again.
struct QGemm {
  ONNX_IN(A);
  ONNX_IN(a_scale);
  ONNX_IN(a_zero_point);
  ONNX_IN(B);
  ONNX_IN(b_scale);
  ONNX_IN(b_zero_point);
  ONNX_OPTIONAL(C);
  ONNX_OPTIONAL(y_scale);
  ONNX_OPTIONAL(y_zero_point);
  ONNX_ATTR(alpha, float) = 1.0f;
  ONNX_ATTR(transA, bool) = false;
  ONNX_ATTR(transB, bool) = false;
  Status lower(Lowering& g) const {
    auto turned = [&](const InputField& x, bool turn) { return Entry{turn ? g.transpose(x, {1, 0}) : *x, x.elem()}; };
    Entry y = POM_TRY(apply(g, "MatMulInteger",
                            {turned(A, transA), turned(B, transB), entry_of(a_zero_point), entry_of(b_zero_point)}));
    Value sum = C ? g.plus(y.value, C) : y.value;
    Value factor = g.times(g.times(flat(g, a_scale), flat(g, b_scale)), double(*alpha));
    Entry real_sum{g.times(g.cast(sum, DType::fp32), factor), Elem::float32};
    if (!y_scale) return give(g, real_sum);
    return give(g, POM_TRY(quantized(g, real_sum, entry_of(y_scale), entry_of(y_zero_point), A.elem())));
  }
};

struct MatMulIntegerToFloat {
  ONNX_IN(A);
  ONNX_IN(B);
  ONNX_IN(a_scale);
  ONNX_IN(b_scale);
  ONNX_OPTIONAL(a_zero_point);
  ONNX_OPTIONAL(b_zero_point);
  ONNX_OPTIONAL(bias);
  Status lower(Lowering& g) const {
    Entry y =
        POM_TRY(apply(g, "MatMulInteger", {entry_of(A), entry_of(B), entry_of(a_zero_point), entry_of(b_zero_point)}));
    Value real_y = g.times(g.cast(y.value, DType::fp32),
                           g.times(flat(g, g.cast(a_scale, DType::fp32)), flat(g, g.cast(b_scale, DType::fp32))));
    if (bias) real_y = g.plus(real_y, g.cast(bias, DType::fp32));
    return g.result(g.cast(real_y, a_scale.dtype()), a_scale.elem());
  }
};

struct DynamicQuantizeMatMul {
  ONNX_IN(A);
  ONNX_IN(B);
  ONNX_IN(b_scale);
  ONNX_OPTIONAL(b_zero_point);
  ONNX_OPTIONAL(bias);
  Status lower(Lowering& g) const {
    Entries q = POM_TRY(apply_all(g, "DynamicQuantizeLinear", {entry_of(A)}, {}, 3));
    Entry y = POM_TRY(apply(g, "MatMulInteger", {q[0], entry_of(B), q[2], entry_of(b_zero_point)}));
    Value real_y = g.times(g.cast(y.value, DType::fp32), g.times(q[1].value, flat(g, b_scale)));
    return g.result(bias ? g.plus(real_y, bias) : real_y, A.elem());
  }
};

// A linear layer whose weight has `bits` bits per element and a scale for each block of a row.
struct MatMulNBits {
  ONNX_IN(A);
  ONNX_IN(B);
  ONNX_IN(scales);
  ONNX_OPTIONAL(zero_points);
  ONNX_OPTIONAL(g_idx);
  ONNX_OPTIONAL(bias);
  ONNX_ATTR(K, int, .required = true);
  ONNX_ATTR(N, int, .required = true);
  ONNX_ATTR(accuracy_level, int) = 0;
  ONNX_ATTR(bits, int) = 4;
  ONNX_ATTR(block_size, int, .required = true);
  ONNX_ATTR(weight_prepacked, int) = 0;
  Status lower(Lowering& g) const {
    POM_REQUIRE(!g_idx && *weight_prepacked == 0, "reordered and prepacked weights are not supported");
    POM_REQUIRE(*bits == 2 || *bits == 4 || *bits == 8, "weights of {} bits are not supported", *bits);
    POM_REQUIRE(*K > 0 && *N > 0 && *block_size >= 16, "K is {}, N is {}, block_size is {}", *K, *N, *block_size);
    std::int64_t blocks = (std::int64_t(*K) + *block_size - 1) / *block_size;
    PackedWeight packed;
    packed.bits = *bits;
    packed.rows = *N;
    packed.columns = blocks * *block_size;
    packed.blocks = blocks;
    packed.data = POM_TRY(bytes_of(g, B, "B"));
    packed.scales = POM_TRY(constant_of(g, scales, "scales"));
    bool packed_zeros = zero_points && !is_float(zero_points.dtype());
    if (packed_zeros) packed.zeros = POM_TRY(bytes_of(g, zero_points, "zero_points"));
    if (zero_points && !packed_zeros) packed.real_zeros = POM_TRY(constant_of(g, zero_points, "zero_points"));
    Value weight = POM_TRY(unpacked_weight(g, packed));
    if (packed.columns != *K) weight = g.slice(weight, 1, 0, *K);
    Value y = g.add(mil::matmul{.x = A, .y = g.cast(weight, A.dtype()), .transpose_y = true});
    return g.result(bias ? g.plus(y, bias) : y, A.elem());
  }
};

// Rows of a quantised table.
struct GatherBlockQuantized {
  ONNX_IN(data);
  ONNX_IN(indices);
  ONNX_IN(scales);
  ONNX_OPTIONAL(zero_points);
  ONNX_ATTR(bits, int) = 4;
  ONNX_ATTR(block_size, int) = 128;
  ONNX_ATTR(gather_axis, int) = 0;
  ONNX_ATTR(quantize_axis, int) = 1;
  Status lower(Lowering& g) const {
    Entry table = entry_of(data), zeros = entry_of(zero_points);
    if (data.elem() == Elem::uint8) {
      POM_REQUIRE(*bits == 4 || *bits == 8, "tables of {} bits are not supported", *bits);
      if (*bits == 4) {
        table = {POM_TRY(nibbles(g, data)), Elem::uint4};
        if (zero_points) zeros = {POM_TRY(nibbles(g, zero_points)), Elem::uint4};
      }
      if (!zeros.value) {
        Value middle = g.plus(g.cast(g.times(scales, 0), DType::int32), g.integer(1 << (*bits - 1)));
        zeros = {middle, table.elem};
      }
      std::size_t axis = POM_TRY(g.axis(*quantize_axis, data.rank()));
      if (zeros.value && zeros.value.shape()[axis] != scales.shape()[axis])
        zeros.value = g.slice(zeros.value, axis, 0, scales.shape()[axis].value());
    }
    Entry real_table = POM_TRY(apply(g, "DequantizeLinear", {table, entry_of(scales), zeros},
                                     {whole("axis", *quantize_axis), whole("block_size", *block_size)}));
    return give(g, POM_TRY(apply(g, "Gather", {real_table, entry_of(indices)}, {whole("axis", *gather_axis)})));
  }
  // Two elements in a byte, the low one first.
  static Result<Value> nibbles(Lowering& g, Value packed) {
    POM_REQUIRE(packed && all_known(packed.shape()) && packed.rank() >= 1, "the table's sizes are not known");
    Value high = g.add(mil::floor_div{.x = packed, .y = g.integer(16)});
    Value low = g.minus(packed, g.times(high, g.integer(16)));
    Shape shape = packed.shape();
    shape.back() = shape.back() * 2;
    Value both = g.add(mil::stack{.values = Values{low, high}, .axis = int(packed.rank())});
    return g.reshape(both, shape);
  }
};

}  // namespace

Rules contrib_quantization_chapter() {
  return {
      rule<DynamicQuantizeMatMul>("DynamicQuantizeMatMul", 1, always, domain),
      rule<GatherBlockQuantized>("GatherBlockQuantized", 1, always, domain),
      rule<MatMulIntegerToFloat>("MatMulIntegerToFloat", 1, always, domain),
      rule<MatMulNBits>("MatMulNBits", 1, always, domain),
      rule<QGemm>("QGemm", 1, always, domain),
      rule<QLinearPair<Pair::add>>("QLinearAdd", 1, always, domain),
      rule<QLinearAveragePool>("QLinearAveragePool", 1, always, domain),
      rule<QLinearConcat>("QLinearConcat", 1, always, domain),
      rule<QLinearGlobalAveragePool>("QLinearGlobalAveragePool", 1, always, domain),
      rule<QLinearLeakyRelu>("QLinearLeakyRelu", 1, always, domain),
      rule<QLinearPair<Pair::mul>>("QLinearMul", 1, always, domain),
      rule<QLinearReduceMean>("QLinearReduceMean", 1, always, domain),
      rule<QLinearSigmoid>("QLinearSigmoid", 1, always, domain),
      rule<QLinearSoftmax>("QLinearSoftmax", 1, always, domain),
      rule<QLinearWhere>("QLinearWhere", 1, always, domain),
  };
}

}  // namespace pomona::onnx
