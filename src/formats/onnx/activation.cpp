#include "ops/activation.h"

#include "formats/onnx/lowering.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Activations, softmax and its kin.
namespace pomona::onnx {
namespace {

template <class Op>
struct Plain {
  ONNX_IN(X);
  Status lower(Lowering& g) const { return g.result(g.add(Op{.x = X})); }
};

struct Relu {
  ONNX_IN(X);
  Status lower(Lowering& g) const {
    if (is_float(X.dtype())) return g.result(g.add(mil::relu{.x = X}));
    return g.result(g.add(mil::maximum{.x = X, .y = g.integer(0)}));
  }
};
struct LeakyRelu {
  ONNX_IN(X);
  ONNX_ATTR(alpha, float) = 0.01f;
  Status lower(Lowering& g) const { return g.result(g.add(mil::leaky_relu{.x = X, .alpha = *alpha})); }
};
struct Elu {
  ONNX_IN(X);
  ONNX_ATTR(alpha, float) = 1.0f;
  Status lower(Lowering& g) const { return g.result(g.add(mil::elu{.x = X, .alpha = *alpha})); }
};
// gamma * (x where x > 0, else alpha*(e^x - 1))
struct Selu {
  ONNX_IN(X);
  ONNX_ATTR(alpha, float) = 1.67326319217681884765625f;
  ONNX_ATTR(gamma, float) = 1.05070102214813232421875f;
  Status lower(Lowering& g) const {
    return g.result(g.times(g.add(mil::elu{.x = X, .alpha = *alpha}), double(*gamma)));
  }
};
// max(0, x) + min(0, alpha*(e^(x/alpha) - 1)) = alpha * elu(x/alpha) for alpha > 0
struct Celu {
  ONNX_IN(X);
  ONNX_ATTR(alpha, float) = 1.0f;
  Status lower(Lowering& g) const {
    POM_REQUIRE(*alpha != 0, "alpha is 0");
    Value scaled = g.minus(g.add(mil::exp{.x = g.over(X, double(*alpha))}), 1);
    Value low = g.add(mil::minimum{.x = g.times(scaled, double(*alpha)), .y = g.number(X, 0)});
    return g.result(g.plus(g.add(mil::relu{.x = X}), low));
  }
};
struct HardSigmoid {
  ONNX_IN(X);
  ONNX_ATTR(alpha, float) = 0.2f;
  ONNX_ATTR(beta, float) = 0.5f;
  Status lower(Lowering& g) const { return g.result(g.add(mil::sigmoid_hard{.x = X, .alpha = *alpha, .beta = *beta})); }
};
struct HardSwish {
  ONNX_IN(X);
  Status lower(Lowering& g) const {
    return g.result(g.times(X, g.add(mil::sigmoid_hard{.x = X, .alpha = 1.0 / 6, .beta = 0.5})));
  }
};
struct Mish {
  ONNX_IN(X);
  Status lower(Lowering& g) const { return g.result(g.times(X, g.add(mil::tanh{.x = g.add(mil::softplus{.x = X})}))); }
};
struct Gelu {
  ONNX_IN(X);
  ONNX_ATTR(approximate, std::string) = "none";
  Status lower(Lowering& g) const {
    POM_REQUIRE(*approximate == "none" || *approximate == "tanh", "approximate is '{}'", *approximate);
    return g.result(g.add(mil::gelu{.x = X, .mode = *approximate == "tanh" ? "TANH_APPROXIMATION" : "EXACT"}));
  }
};
struct Swish {
  ONNX_IN(X);
  ONNX_ATTR(alpha, float) = 1.0f;
  Status lower(Lowering& g) const {
    if (*alpha == 1) return g.result(g.add(mil::silu{.x = X}));
    return g.result(g.times(X, g.add(mil::sigmoid{.x = g.times(X, double(*alpha))})));
  }
};
// A * sigmoid(alpha*A) * B
struct SwiGLU {
  ONNX_IN(A);
  ONNX_IN(B);
  ONNX_ATTR(alpha, float) = 1.0f;
  Status lower(Lowering& g) const {
    Value swish = g.times(A, g.add(mil::sigmoid{.x = g.times(A, double(*alpha))}));
    return g.result(g.times(swish, B));
  }
};
struct PRelu {
  ONNX_IN(X);
  ONNX_IN(slope);
  Status lower(Lowering& g) const {
    Value alpha = g.opset() < 7 && slope.rank() == 1 && X.rank() > 2 && !(slope.shape()[0] == 1)
                      ? g.per_channel(slope, X.rank())
                      : *slope;
    Value negative = g.times(g.add(mil::minimum{.x = X, .y = g.number(X, 0)}), alpha);
    return g.result(g.plus(g.add(mil::maximum{.x = X, .y = g.number(X, 0)}), negative));
  }
};
// x where x > alpha, else 0; MIL's keeps x = alpha as well
struct ThresholdedRelu {
  ONNX_IN(X);
  ONNX_ATTR(alpha, float) = 1.0f;
  Status lower(Lowering& g) const {
    Value above = g.add(mil::greater{.x = X, .y = g.number(X, *alpha)});
    return g.result(g.select(above, X, g.times(X, 0)));
  }
};
// x - bias where x > lambd, x + bias where x < -lambd, else 0
struct Shrink {
  ONNX_IN(input);
  ONNX_ATTR(bias, float) = 0.0f;
  ONNX_ATTR(lambd, float) = 0.5f;
  Status lower(Lowering& g) const {
    Value above = g.add(mil::greater{.x = input, .y = g.number(input, *lambd)});
    Value below = g.add(mil::less{.x = input, .y = g.number(input, -*lambd)});
    Value zero = g.times(input, 0);
    Value low = g.select(below, g.plus(input, double(*bias)), zero);
    return g.result(g.select(above, g.minus(input, double(*bias)), low));
  }
};

// Until operator set 12, softmax and its kin worked on the matrix [dims before axis, dims from axis on].
Value as_rows(Lowering& g, Value x, std::size_t axis) {
  Dim rest = 1;
  for (std::size_t i = axis; i < x.rank(); ++i) rest = rest * x.shape()[i];
  Dim rows = 1;
  for (std::size_t i = 0; i < axis; ++i) rows = rows * x.shape()[i];
  return g.reshape(x, Shape{rows, rest});
}

Value log_softmax(Lowering& g, Value x, int axis) {
  Value centred = g.minus(x, g.add(mil::reduce_max{.x = x, .axes = Ints{axis}, .keep_dims = true}));
  Value sum = g.add(mil::reduce_log_sum_exp{.x = centred, .axes = Ints{axis}, .keep_dims = true});
  return g.minus(centred, sum);
}
// 1 at the first maximum
Value hardmax(Lowering& g, Value x, int axis) {
  Value best = g.add(mil::reduce_argmax{.x = x, .axis = axis, .keep_dims = false});
  if (!best) return {};
  return g.add(mil::one_hot{.indices = best,
                            .one_hot_vector_size = g.dim(x, std::size_t(axis)),
                            .axis = axis,
                            .on_value = Scalar{x.dtype(), 1},
                            .off_value = Scalar{x.dtype(), 0}});
}
Value softmax(Lowering& g, Value x, int axis) { return g.add(mil::softmax{.x = x, .axis = axis}); }

template <Value (*F)(Lowering&, Value, int)>
struct SoftmaxLike {
  ONNX_IN(input);
  ONNX_ATTR(axis, std::optional<int>);
  Status lower(Lowering& g) const {
    bool by_rows = g.opset() < 13;
    std::size_t along = POM_TRY(g.axis(axis->value_or(by_rows ? 1 : -1), input.rank()));
    if (!by_rows || along + 1 == input.rank()) return g.result(F(g, input, int(along)));
    Value y = F(g, as_rows(g, input, along), 1);
    return g.result(g.add(mil::reshape{.x = y, .shape = g.shape_value(input.shape(), {input}, true)}));
  }
};

}  // namespace

Rules activation_chapter() {
  return {
      rule<Celu>("Celu"),
      rule<Elu>("Elu", 6),
      rule<Gelu>("Gelu"),
      rule<HardSigmoid>("HardSigmoid", 6),
      rule<HardSwish>("HardSwish"),
      rule<SoftmaxLike<hardmax>>("Hardmax"),
      rule<LeakyRelu>("LeakyRelu", 6),
      rule<SoftmaxLike<log_softmax>>("LogSoftmax"),
      rule<Mish>("Mish"),
      rule<PRelu>("PRelu", 6),
      rule<Relu>("Relu", 6),
      rule<Selu>("Selu", 6),
      rule<Shrink>("Shrink"),
      rule<Plain<mil::sigmoid>>("Sigmoid", 6),
      rule<SoftmaxLike<softmax>>("Softmax"),
      rule<Plain<mil::softplus>>("Softplus"),
      rule<Plain<mil::softsign>>("Softsign"),
      rule<SwiGLU>("SwiGLU"),
      rule<Swish>("Swish"),
      rule<ThresholdedRelu>("ThresholdedRelu"),
  };
}

}  // namespace pomona::onnx
