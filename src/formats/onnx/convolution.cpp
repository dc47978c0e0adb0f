#include <algorithm>

#include "formats/onnx/window.h"
#include "ops/conv.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Convolutions.
namespace pomona::onnx {
namespace {

Ints spatial_sizes(Value weight) {
  Ints sizes;
  for (std::size_t i = 2; i < weight.rank(); ++i)
    sizes.push_back(weight.shape()[i].known() ? weight.shape()[i].value() : 0);
  return sizes;
}

struct Conv {
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
    POM_REQUIRE(W.rank() == X.rank(), "the weight has rank {}, the input {}", W.rank(), X.rank());
    Window w = POM_TRY(window_of(
        X,
        {.kernel = spatial_sizes(W), .strides = strides, .pads = pads, .dilations = dilations, .auto_pad = auto_pad}));
    POM_REQUIRE(kernel_shape->empty() || *kernel_shape == w.kernel, "kernel_shape differs from the weight's shape");
    Value weight = g.as_constant(W), bias = B ? g.as_constant(B) : Value();
    bool later = bias && !bias.literal() && g.target() < Target::iOS17;
    Value y = g.add(mil::conv{.x = X,
                              .weight = weight,
                              .bias = later ? Value() : bias,
                              .strides = w.strides,
                              .pad_type = w.padded() || w.pad_type != "custom" ? w.pad_type : "valid",
                              .pad = w.interleaved(),
                              .dilations = w.dilations,
                              .groups = *group});
    return g.result(later ? g.plus(y, g.per_channel(bias, X.rank())) : y);
  }
};

struct ConvTranspose {
  ONNX_IN(X);
  ONNX_IN(W);
  ONNX_OPTIONAL(B);
  ONNX_ATTR(auto_pad, std::string) = "NOTSET";
  ONNX_ATTR(dilations, Ints);
  ONNX_ATTR(group, int) = 1;
  ONNX_ATTR(kernel_shape, Ints);
  ONNX_ATTR(output_padding, Ints);
  ONNX_ATTR(output_shape, Ints);
  ONNX_ATTR(pads, Ints);
  ONNX_ATTR(strides, Ints);
  Status lower(Lowering& g) const {
    POM_REQUIRE(W.rank() == X.rank() && X.rank() >= 3, "the weight has rank {}, the input {}", W.rank(), X.rank());
    std::size_t n = X.rank() - 2;
    Ints kernel = spatial_sizes(W), stride = strides->empty() ? Ints(n, 1) : *strides;
    Ints dilation = dilations->empty() ? Ints(n, 1) : *dilations;
    Ints extra = output_padding->empty() ? Ints(n, 0) : *output_padding;
    Ints pad = pads->empty() ? Ints(2 * n, 0) : *pads, wanted = *output_shape;
    POM_REQUIRE(stride.size() == n && dilation.size() == n && extra.size() == n && pad.size() == 2 * n,
                "strides, dilations, output_padding or pads do not fit {} spatial dims", n);
    if (wanted.size() == n + 2) wanted.erase(wanted.begin(), wanted.begin() + 2);
    POM_REQUIRE(wanted.empty() || wanted.size() == n, "output_shape has {} entries, not {}", wanted.size(), n);
    bool upper = *auto_pad == "SAME_UPPER", same = upper || *auto_pad == "SAME_LOWER";
    if (*auto_pad == "VALID") pad.assign(2 * n, 0);
    bool beyond = false;
    Ints crop, more(2 * (n + 2), 0);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::int64_t v : {kernel[i], stride[i], dilation[i], extra[i], pad[i], pad[n + i]})
        POM_REQUIRE(v >= 0 && v < (1 << 28), "an attribute holds {}", v);
      std::int64_t reach = dilation[i] * (kernel[i] - 1) + 1, begin = pad[i], end = pad[n + i] - extra[i];
      std::optional<std::int64_t> total;
      if (!wanted.empty()) {
        Dim size = X.shape()[i + 2];
        POM_REQUIRE(size.known(), "output_shape needs an input of known size");
        total = stride[i] * (size.value() - 1) + extra[i] + reach - wanted[i];
      } else if (same) {
        total = reach + extra[i] - stride[i];
      }
      if (total) {
        std::int64_t padding = std::max<std::int64_t>(*total, 0);
        begin = upper ? padding / 2 : padding - padding / 2;
        end = *total - begin - extra[i];
      }
      crop.insert(crop.end(), {begin, std::max<std::int64_t>(end, 0)});
      if (end < 0) more[2 * (i + 2) + 1] = -end;
      beyond = beyond || end < 0;
    }
    Value weight = g.as_constant(W), bias = B ? g.as_constant(B) : Value();
    bool later = bias && (beyond || (!bias.literal() && g.target() < Target::iOS17));
    bool cropped = std::any_of(crop.begin(), crop.end(), [](auto c) { return c != 0; });
    Value y = g.add(mil::conv_transpose{.x = X,
                                        .weight = weight,
                                        .bias = later ? Value() : bias,
                                        .pad = crop,
                                        .pad_type = cropped ? "custom" : "valid",
                                        .strides = stride,
                                        .dilations = dilation,
                                        .groups = *group});
    // Rows that no input reaches hold the bias only.
    if (beyond) y = g.add(mil::pad{.x = y, .pad = g.ints(more), .mode = "constant", .constant_val = 0.0});
    return g.result(later ? g.plus(y, g.per_channel(bias, X.rank())) : y);
  }
};

}  // namespace

Rules convolution_chapter() {
  return {
      rule<Conv>("Conv"),
      rule<ConvTranspose>("ConvTranspose"),
  };
}

}  // namespace pomona::onnx
