#include "formats/onnx/compose.h"
#include "formats/onnx/elimination.h"
#include "ops/activation.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/linear.h"
#include "ops/reduction.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Fused operators of the domain com.microsoft, which ONNX Runtime's optimiser writes: layers with what surrounds them.
namespace pomona::onnx {
namespace {

constexpr Text domain = "com.microsoft";

Status give(Lowering& g, const Entry& entry) { return g.result(entry.value, entry.elem); }

Result<Entry> layer_norm(Lowering& g, const Entry& x, const Entry& gamma, const Entry& beta, double epsilon) {
  return apply(g, "LayerNormalization", {x, gamma, beta}, {whole("axis", -1), real("epsilon", epsilon)});
}
Result<Entry> rms_norm(Lowering& g, const Entry& x, const Entry& gamma, double epsilon, int axis = -1) {
  return apply(g, "RMSNormalization", {x, gamma}, {whole("axis", axis), real("epsilon", epsilon)});
}

// Mean and deviation, results that nobody uses in inference, are not given.
Status normalized_results(Lowering& g, const Entry& y, const Entry& sum) {
  POM_TRY(give(g, y));
  if (g.output_count() < 4) return {};
  POM_REQUIRE(!g.wants(1) && !g.wants(2), "mean and inv_std_var are not supported");
  POM_TRY(give(g, sum));  // their places
  POM_TRY(give(g, sum));
  return give(g, sum);
}

template <bool Simplified>
struct SkipNormalization {
  ONNX_IN(input);
  ONNX_IN(skip);
  ONNX_IN(gamma);
  ONNX_OPTIONAL(beta);
  ONNX_OPTIONAL(bias);
  ONNX_ATTR(epsilon, float) = 1e-12f;
  Status lower(Lowering& g) const {
    // The simplified form has no beta: its fourth input is the bias.
    const InputField& added = Simplified ? static_cast<const InputField&>(beta) : static_cast<const InputField&>(bias);
    POM_REQUIRE(!Simplified || !bias, "there are five inputs, but the operator takes four");
    Entry sum = POM_TRY(apply(g, "Add", {entry_of(input), entry_of(skip)}));
    if (added) sum = POM_TRY(apply(g, "Add", {sum, entry_of(added)}));
    Entry y = Simplified ? POM_TRY(rms_norm(g, sum, entry_of(gamma), *epsilon))
                         : POM_TRY(layer_norm(g, sum, entry_of(gamma), entry_of(beta), *epsilon));
    return normalized_results(g, y, sum);
  }
};

struct SimplifiedLayerNormalization {
  ONNX_IN(X);
  ONNX_IN(scale);
  ONNX_ATTR(axis, int) = -1;
  ONNX_ATTR(epsilon, float) = 1e-5f;
  ONNX_ATTR(stash_type, int) = 1;
  Status lower(Lowering& g) const {
    return give(g, POM_TRY(rms_norm(g, entry_of(X), entry_of(scale), *epsilon, axis)));
  }
};

struct EmbedLayerNormalization {
  ONNX_IN(input_ids);
  ONNX_OPTIONAL(segment_ids);
  ONNX_IN(word_embedding);
  ONNX_IN(position_embedding);
  ONNX_OPTIONAL(segment_embedding);
  ONNX_IN(gamma);
  ONNX_IN(beta);
  ONNX_OPTIONAL(mask);
  ONNX_OPTIONAL(position_ids);
  ONNX_ATTR(epsilon, float) = 1e-12f;
  ONNX_ATTR(mask_index_type, int) = 0;
  Status lower(Lowering& g) const {
    POM_REQUIRE(input_ids.rank() == 2, "input_ids has rank {}", input_ids.rank());
    Entry places = entry_of(position_ids);
    if (!position_ids) {
      Value line = g.add(mil::range_1d{.end = g.dim(input_ids, 1), .start = g.integer(0), .step = g.integer(1)});
      places = {g.expand_dims(line, {0}), Elem::int64};
    }
    Entry sum = POM_TRY(apply(g, "Gather", {entry_of(word_embedding), entry_of(input_ids)}));
    Entry position = POM_TRY(apply(g, "Gather", {entry_of(position_embedding), places}));
    sum = POM_TRY(apply(g, "Add", {sum, position}));
    if (segment_ids && segment_embedding) {
      Entry segment = POM_TRY(apply(g, "Gather", {entry_of(segment_embedding), entry_of(segment_ids)}));
      sum = POM_TRY(apply(g, "Add", {sum, segment}));
    }
    POM_TRY(give(g, POM_TRY(layer_norm(g, sum, entry_of(gamma), entry_of(beta), *epsilon))));
    if (g.output_count() < 2) return {};
    Value lengths = mask ? g.add(mil::reduce_sum{.x = mask, .axes = Ints{1}, .keep_dims = false})
                         : g.filled(Shape{input_ids.shape()[0]}, {input_ids}, DType::int32, 0);
    POM_TRY(g.result(lengths, Elem::int32));
    return g.output_count() > 2 ? give(g, sum) : Status();
  }
};

struct BiasGelu {
  ONNX_IN(A);
  ONNX_IN(B);
  Status lower(Lowering& g) const {
    return give(g, POM_TRY(apply(g, "Gelu", {POM_TRY(apply(g, "Add", {entry_of(A), entry_of(B)}))})));
  }
};
struct PlainGelu {
  ONNX_IN(X);
  Status lower(Lowering& g) const { return give(g, POM_TRY(apply(g, "Gelu", {entry_of(X)}))); }
};
struct FastGelu {
  ONNX_IN(X);
  ONNX_OPTIONAL(bias);
  Status lower(Lowering& g) const {
    Entry x = entry_of(X);
    if (bias) x = POM_TRY(apply(g, "Add", {x, entry_of(bias)}));
    return give(g, POM_TRY(apply(g, "Gelu", {x}, {text("approximate", "tanh")})));
  }
};
struct QuickGelu {
  ONNX_IN(X);
  ONNX_ATTR(alpha, float) = 1.702f;
  Status lower(Lowering& g) const {
    return g.result(g.times(X, g.add(mil::sigmoid{.x = g.times(X, double(*alpha))})), X.elem());
  }
};
// The left half times the gelu of the right half.
struct BiasSplitGelu {
  ONNX_IN(X);
  ONNX_IN(bias);
  Status lower(Lowering& g) const {
    POM_REQUIRE(X.rank() >= 1 && X.shape().back().known() && X.shape().back().value() % 2 == 0,
                "the channels do not divide into two halves");
    Value sum = g.plus(X, bias);
    std::size_t last = X.rank() - 1;
    std::int64_t half = X.shape().back().value() / 2;
    Entry gelu = POM_TRY(apply(g, "Gelu", {{g.slice(sum, last, half, 2 * half), X.elem()}}));
    return g.result(g.times(g.slice(sum, last, 0, half), gelu.value), X.elem());
  }
};
struct BiasAdd {
  ONNX_IN(X);
  ONNX_IN(bias);
  ONNX_IN(skip);
  Status lower(Lowering& g) const { return g.result(g.plus(g.plus(X, bias), skip), X.elem()); }
};

Result<Value> activated(Lowering& g, Value y, const std::string& name, const Floats& parameters) {
  auto parameter = [&](std::size_t i, double standard) { return i < parameters.size() ? parameters[i] : standard; };
  if (name.empty()) return y;
  if (name == "Relu") return g.add(mil::relu{.x = y});
  if (name == "Tanh") return g.add(mil::tanh{.x = y});
  if (name == "Sigmoid") return g.add(mil::sigmoid{.x = y});
  if (name == "LeakyRelu") return g.add(mil::leaky_relu{.x = y, .alpha = parameter(0, double(0.01f))});
  if (name == "HardSigmoid")
    return g.add(mil::sigmoid_hard{.x = y, .alpha = parameter(0, double(0.2f)), .beta = parameter(1, 0.5)});
  if (name == "Clip") {
    Value low = g.number(y, parameter(0, -3.402823e38)), high = g.number(y, parameter(1, 3.402823e38));
    return g.add(mil::minimum{.x = g.add(mil::maximum{.x = y, .y = low}), .y = high});
  }
  return fail("the activation '{}' is not supported", name);
}

struct FusedMatMul {
  ONNX_IN(A);
  ONNX_IN(B);
  ONNX_ATTR(alpha, float) = 1.0f;
  ONNX_ATTR(transA, bool) = false;
  ONNX_ATTR(transB, bool) = false;
  ONNX_ATTR(transBatchA, bool) = false;
  ONNX_ATTR(transBatchB, bool) = false;
  Status lower(Lowering& g) const {
    Value a = turned(g, A, transBatchA), b = turned(g, B, transBatchB);
    bool matrices = A.rank() >= 2 && B.rank() >= 2;
    Value y =
        g.add(mil::matmul{.x = a, .y = b, .transpose_x = *transA && matrices, .transpose_y = *transB && matrices});
    return g.result(*alpha == 1 ? y : g.times(y, double(*alpha)), A.elem());
  }
  // The first dim behind the other batch dims.
  static Value turned(Lowering& g, Value x, bool batch) {
    if (!batch || !x || x.rank() < 3) return x;
    Ints perm;
    for (std::size_t i = 1; i + 1 < x.rank(); ++i) perm.push_back(std::int64_t(i));
    perm.push_back(0);
    perm.push_back(std::int64_t(x.rank()) - 1);
    return g.transpose(x, perm);
  }
};

struct FusedGemm {
  ONNX_IN(A);
  ONNX_IN(B);
  ONNX_OPTIONAL(C);
  ONNX_ATTR(activation, std::string);
  ONNX_ATTR(activation_alpha, std::optional<float>);
  ONNX_ATTR(activation_beta, std::optional<float>);
  ONNX_ATTR(activation_gamma, std::optional<float>);
  ONNX_ATTR(alpha, float) = 1.0f;
  ONNX_ATTR(beta, float) = 1.0f;
  ONNX_ATTR(transA, bool) = false;
  ONNX_ATTR(transB, bool) = false;
  Status lower(Lowering& g) const {
    Entry y = POM_TRY(
        apply(g, "Gemm", {entry_of(A), entry_of(B), entry_of(C)},
              {real("alpha", *alpha), real("beta", *beta), whole("transA", *transA), whole("transB", *transB)}));
    Floats parameters;
    if (activation_alpha->has_value()) parameters.push_back(**activation_alpha);
    if (activation_beta->has_value()) parameters.push_back(**activation_beta);
    return g.result(POM_TRY(activated(g, y.value, activation, parameters)), A.elem());
  }
};

struct ConvAttributes {
  Ints dilations, kernel_shape, pads, strides;
  std::string auto_pad;
  int group;
  AttributeProtos protos() const {
    AttributeProtos all{whole("group", group), text("auto_pad", auto_pad)};
    if (!dilations.empty()) all.push_back(wholes("dilations", dilations));
    if (!kernel_shape.empty()) all.push_back(wholes("kernel_shape", kernel_shape));
    if (!pads.empty()) all.push_back(wholes("pads", pads));
    if (!strides.empty()) all.push_back(wholes("strides", strides));
    return all;
  }
};

struct FusedConv {
  ONNX_IN(X);
  ONNX_IN(W);
  ONNX_OPTIONAL(B);
  ONNX_OPTIONAL(Z);
  ONNX_ATTR(activation, std::string);
  ONNX_ATTR(activation_params, Floats);
  ONNX_ATTR(auto_pad, std::string) = "NOTSET";
  ONNX_ATTR(dilations, Ints);
  ONNX_ATTR(group, int) = 1;
  ONNX_ATTR(kernel_shape, Ints);
  ONNX_ATTR(pads, Ints);
  ONNX_ATTR(strides, Ints);
  Status lower(Lowering& g) const {
    ConvAttributes attributes{dilations, kernel_shape, pads, strides, auto_pad, group};
    Entry y = POM_TRY(apply(g, "Conv", {entry_of(X), entry_of(W), entry_of(B)}, attributes.protos()));
    if (Z) y = POM_TRY(apply(g, "Add", {y, entry_of(Z)}));
    return g.result(POM_TRY(activated(g, y.value, activation, activation_params)), X.elem());
  }
};

Value channels_to(Lowering& g, Value x, bool last) {
  if (!x) return {};
  Ints perm{0};
  auto rank = std::int64_t(x.rank());
  if (last) {
    for (std::int64_t i = 2; i < rank; ++i) perm.push_back(i);
    perm.push_back(1);
  } else {
    perm.push_back(rank - 1);
    for (std::int64_t i = 1; i + 1 < rank; ++i) perm.push_back(i);
  }
  return g.transpose(x, perm);
}

struct NhwcConv {
  ONNX_IN(X);
  ONNX_IN(W);
  ONNX_OPTIONAL(B);
  ONNX_ATTR(auto_pad, std::string) = "NOTSET";
  ONNX_ATTR(dilations, Ints);
  ONNX_ATTR(group, int) = 1;
  ONNX_ATTR(kernel_shape, Ints);
  ONNX_ATTR(pads, Ints);
  ONNX_ATTR(strides, Ints);
  Status lower(Lowering& g) const {
    ConvAttributes attributes{dilations, kernel_shape, pads, strides, auto_pad, group};
    Entry x{channels_to(g, X, false), X.elem()}, w{channels_to(g, W, false), W.elem()};
    Entry y = POM_TRY(apply(g, "Conv", {x, w, entry_of(B)}, attributes.protos()));
    return g.result(channels_to(g, y.value, true), X.elem());
  }
};

struct GroupNormAttributes {
  bool channels_last, silu;
  double epsilon;
  int groups;
  Result<Entry> apply_to(Lowering& g, Entry x, const InputField& gamma, const InputField& beta) const {
    if (channels_last) x.value = channels_to(g, x.value, false);
    auto like = [&](const InputField& p) { return Entry{g.cast(p, x.value ? x.value.dtype() : p.dtype()), x.elem}; };
    Entry y = POM_TRY(apply(g, "GroupNormalization", {x, like(gamma), like(beta)},
                            {whole("num_groups", groups), real("epsilon", epsilon)}));
    if (silu) y.value = g.add(mil::silu{.x = y.value});
    if (channels_last) y.value = channels_to(g, y.value, true);
    return y;
  }
};
struct GroupNorm {
  ONNX_IN(X);
  ONNX_IN(gamma);
  ONNX_IN(beta);
  ONNX_ATTR(activation, bool) = false;
  ONNX_ATTR(channels_last, bool) = true;
  ONNX_ATTR(epsilon, float) = 1e-5f;
  ONNX_ATTR(groups, int, .required = true);
  Status lower(Lowering& g) const {
    GroupNormAttributes attributes{*channels_last, *activation, double(*epsilon), groups};
    return give(g, POM_TRY(attributes.apply_to(g, entry_of(X), gamma, beta)));
  }
};
struct SkipGroupNorm {
  ONNX_IN(X);
  ONNX_IN(gamma);
  ONNX_IN(beta);
  ONNX_IN(skip);
  ONNX_OPTIONAL(bias);
  ONNX_ATTR(activation, bool) = false;
  ONNX_ATTR(channels_last, bool) = true;
  ONNX_ATTR(epsilon, float) = 1e-5f;
  ONNX_ATTR(groups, int, .required = true);
  Status lower(Lowering& g) const {
    POM_REQUIRE(channels_last, "channels_last = 0 is not supported");
    Value added = skip;
    if (added && added.rank() == 2) added = g.expand_dims(added, {1, 2});
    Value sum = g.plus(X, added);
    if (bias) sum = g.plus(sum, bias);
    GroupNormAttributes attributes{*channels_last, *activation, double(*epsilon), groups};
    POM_TRY(give(g, POM_TRY(attributes.apply_to(g, {sum, X.elem()}, gamma, beta))));
    return g.output_count() > 1 ? g.result(sum, X.elem()) : Status();
  }
};

struct GridSample {
  ONNX_IN(X);
  ONNX_IN(Grid);
  ONNX_ATTR(align_corners, bool) = false;
  ONNX_ATTR(mode, std::string) = "bilinear";
  ONNX_ATTR(padding_mode, std::string) = "zeros";
  Status lower(Lowering& g) const {
    return give(g, POM_TRY(apply(g, "GridSample", {entry_of(X), entry_of(Grid)},
                                 {whole("align_corners", *align_corners), text("mode", *mode),
                                  text("padding_mode", *padding_mode)})));
  }
};

// By elimination with exchanges of rows, written out; for the small matrices of geometry.
struct Inverse {
  ONNX_IN(X);
  static constexpr std::int64_t largest = 16;
  Status lower(Lowering& g) const {
    POM_REQUIRE(X.rank() >= 2 && X.shape().back().known() && X.shape()[X.rank() - 2] == X.shape().back(),
                "the input is no square matrix of a known size");
    std::int64_t n = X.shape().back().value();
    POM_REQUIRE(n > 0 && n <= largest, "matrices of {} rows are not supported, {} at most", n, largest);
    Shape shape = X.shape();
    Dim batch = 1;
    for (std::size_t i = 0; i + 2 < X.rank(); ++i) batch = batch * shape[i];
    Value a = g.reshape(g.cast(X, DType::fp32), Shape{batch, n, n});
    std::vector<double> unit(std::size_t(n * n));
    for (std::int64_t i = 0; i < n; ++i) unit[std::size_t(i * n + i)] = 1;
    Value right = g.plus(g.times(a, 0), g.constant(Tensor::from_numbers(DType::fp32, {1, n, n}, unit)));
    Value all = g.concat({a, right}, 2);
    for (std::int64_t c = 0; c < n; ++c) all = eliminate_column(g, all, c, n).rows;
    Value y = g.slice(all, 2, n, 2 * n);
    return g.result(g.cast(g.reshape(y, shape), X.dtype()), X.elem());
  }
};

}  // namespace

Rules contrib_chapter() {
  return {
      rule<BiasAdd>("BiasAdd", 1, 1 << 30, domain),
      rule<BiasGelu>("BiasGelu", 1, 1 << 30, domain),
      rule<BiasSplitGelu>("BiasSplitGelu", 1, 1 << 30, domain),
      rule<EmbedLayerNormalization>("EmbedLayerNormalization", 1, 1 << 30, domain),
      rule<FastGelu>("FastGelu", 1, 1 << 30, domain),
      rule<FusedConv>("FusedConv", 1, 1 << 30, domain),
      rule<FusedGemm>("FusedGemm", 1, 1 << 30, domain),
      rule<FusedMatMul>("FusedMatMul", 1, 1 << 30, domain),
      rule<PlainGelu>("Gelu", 1, 1 << 30, domain),
      rule<GridSample>("GridSample", 1, 1 << 30, domain),
      rule<GroupNorm>("GroupNorm", 1, 1 << 30, domain),
      rule<Inverse>("Inverse", 1, 1 << 30, domain),
      rule<NhwcConv>("NhwcConv", 1, 1 << 30, domain),
      rule<QuickGelu>("QuickGelu", 1, 1 << 30, domain),
      rule<SimplifiedLayerNormalization>("SimplifiedLayerNormalization"),
      rule<SimplifiedLayerNormalization>("SimplifiedLayerNormalization", 1, 1 << 30, domain),
      rule<SkipGroupNorm>("SkipGroupNorm", 1, 1 << 30, domain),
      rule<SkipNormalization<false>>("SkipLayerNormalization", 1, 1 << 30, domain),
      rule<SkipNormalization<true>>("SkipSimplifiedLayerNormalization", 1, 1 << 30, domain),
  };
}

}  // namespace pomona::onnx
