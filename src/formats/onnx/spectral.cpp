#include <algorithm>
#include <cmath>
#include <numbers>

#include "formats/onnx/elimination.h"
#include "formats/onnx/lowering.h"
#include "formats/onnx/open_axis.h"
#include "ops/elementwise_binary.h"
#include "ops/gather_scatter.h"
#include "ops/linear.h"
#include "ops/shape.h"
#include "ops/tensor_operation.h"

// Fourier transforms of a known length, as products with constant matrices; and the inverse of cutting into patches.
namespace pomona::onnx {
namespace {

// Matrices larger than this are no way to compute a transform.
constexpr std::int64_t largest_transform = 2048;

struct Transform {
  Value cosine, sine;  // [inputs, outputs], of the angle 2 pi k n / length
};
Transform transform(Lowering& g, std::int64_t inputs, std::int64_t outputs, std::int64_t length, double factor) {
  std::vector<double> c, s;
  for (std::int64_t n = 0; n < inputs; ++n)
    for (std::int64_t k = 0; k < outputs; ++k) {
      // Brought into the first half turn, so that what cancels does so exactly.
      std::int64_t turn = n * k % length;
      bool mirrored = 2 * turn > length;
      if (mirrored) turn = length - turn;
      double angle = 2 * std::numbers::pi * double(turn) / double(length);
      c.push_back(std::cos(angle) * factor);
      s.push_back(2 * turn == length ? 0 : std::sin(angle) * (mirrored ? -factor : factor));
    }
  return {g.constant(Tensor::from_numbers(DType::fp32, {inputs, outputs}, c)),
          g.constant(Tensor::from_numbers(DType::fp32, {inputs, outputs}, s))};
}

struct Complex {
  Value real, imaginary;
};

Value product(Lowering& g, Value x, Value matrix) { return g.add(mil::matmul{.x = x, .y = matrix}); }

// Of complex numbers along the last axis, not scaled.
Complex whole_transform(Lowering& g, Complex x, std::int64_t inputs, std::int64_t length, bool inverse) {
  Transform t = transform(g, inputs, length, length, 1);
  Value re_sine = product(g, x.real, t.sine), im_sine = product(g, x.imaginary, t.sine);
  Value re_cosine = product(g, x.real, t.cosine), im_cosine = product(g, x.imaginary, t.cosine);
  if (inverse) return {g.minus(re_cosine, im_sine), g.plus(re_sine, im_cosine)};
  return {g.plus(re_cosine, im_sine), g.minus(im_cosine, re_sine)};
}

// As transforms of half the length, which is half the work: of the sums of samples that are half a length apart, for
// the even bins, and of their differences, each turned by its own angle, for the odd ones.
Complex halved_transform(Lowering& g, Complex x, std::int64_t length, bool inverse) {
  std::size_t last = x.real.rank() - 1;
  std::int64_t half = length / 2;
  auto first = [&](Value v) { return g.slice(v, last, 0, half); };
  auto second = [&](Value v) { return g.slice(v, last, half, length); };
  Complex sum{g.plus(first(x.real), second(x.real)), g.plus(first(x.imaginary), second(x.imaginary))};
  Complex difference{g.minus(first(x.real), second(x.real)), g.minus(first(x.imaginary), second(x.imaginary))};
  std::vector<double> c, s;
  for (std::int64_t n = 0; n < half; ++n) {
    double angle = std::numbers::pi * double(n) / double(half);
    c.push_back(std::cos(angle));
    s.push_back(inverse ? std::sin(angle) : -std::sin(angle));
  }
  Value cosine = g.constant(Tensor::from_numbers(DType::fp32, {half}, c));
  Value sine = g.constant(Tensor::from_numbers(DType::fp32, {half}, s));
  Complex turned{g.minus(g.times(difference.real, cosine), g.times(difference.imaginary, sine)),
                 g.plus(g.times(difference.real, sine), g.times(difference.imaginary, cosine))};
  Complex even = whole_transform(g, sum, half, half, inverse), odd = whole_transform(g, turned, half, half, inverse);
  Shape bins = x.real.shape();
  auto in_turns = [&](Value a, Value b) {
    return g.reshape(g.add(mil::stack{.values = Values{a, b}, .axis = int(last) + 1}), bins);
  };
  return {in_turns(even.real, odd.real), in_turns(even.imaginary, odd.imaginary)};
}

struct DFT {
  ONNX_IN(input);
  ONNX_OPTIONAL(dft_length);
  ONNX_OPTIONAL(axis_input, .since = 20);
  ONNX_ATTR(axis, int, .until = 20) = 1;
  ONNX_ATTR(inverse, bool) = false;
  ONNX_ATTR(onesided, bool) = false;
  Status lower(Lowering& g) const {
    std::size_t rank = input.rank();
    POM_REQUIRE(rank >= 2, "the input has rank {}", rank);
    std::int64_t which = g.opset() < 20 ? *axis : -2;
    if (axis_input) which = std::int64_t(POM_TRY(g.constant_number(axis_input, "axis")));
    std::size_t along = POM_TRY(g.axis(which, rank));
    Dim size = input.shape()[along];
    bool complex = input.shape().back() == 2, to_real = inverse && onesided;
    POM_REQUIRE(along + 1 < rank && (complex || input.shape().back() == 1), "the last dim must hold 1 or 2 parts");
    POM_REQUIRE(!(complex && onesided && !inverse) && (!to_real || complex), "onesided does not go with these parts");
    POM_REQUIRE(size.known() || dft_length, "the length of the signal is not known");
    std::int64_t length = to_real ? 2 * (size.value() - 1) : size.value();
    if (dft_length) length = std::int64_t(POM_TRY(g.constant_number(dft_length, "dft_length")));
    POM_REQUIRE(size.known() && length > 0 && length <= largest_transform, "a transform of length {} is not supported",
                length);
    std::int64_t used = std::min(size.value(), to_real ? length / 2 + 1 : length);
    std::int64_t outputs = onesided && !inverse ? length / 2 + 1 : length;
    // The axis last, the parts apart.
    Value x = used < size.value() ? g.slice(input, along, 0, used) : *input;
    Ints perm, back(rank - 1);
    for (std::size_t i = 0; i + 1 < rank; ++i)
      if (i != along) perm.push_back(std::int64_t(i));
    perm.push_back(std::int64_t(along));
    for (std::size_t i = 0; i < perm.size(); ++i) back[std::size_t(perm[i])] = std::int64_t(i);
    auto part = [&](std::int64_t i) {
      return g.transpose(g.squeeze(g.slice(x, rank - 1, i, i + 1), {std::int64_t(rank) - 1}), perm);
    };
    Value re = g.cast(part(0), DType::fp32), im = complex ? g.cast(part(1), DType::fp32) : Value();
    Value real, imaginary;
    if (im && !to_real) {
      bool halves = used == length && length % 2 == 0 && rank <= 5;
      Complex y =
          halves ? halved_transform(g, {re, im}, length, inverse) : whole_transform(g, {re, im}, used, length, inverse);
      real = inverse ? g.times(y.real, 1.0 / double(length)) : y.real;
      imaginary = inverse ? g.times(y.imaginary, 1.0 / double(length)) : y.imaginary;
    } else if (to_real) {
      Transform t = transform(g, used, outputs, length, 1.0 / double(length));
      // The half that is left out mirrors the one that is there.
      std::vector<double> twice(std::size_t(used), 2.0);
      twice[0] = 1;
      if (length % 2 == 0 && used == length / 2 + 1) twice.back() = 1;
      Value weight = g.constant(Tensor::from_numbers(DType::fp32, {used}, twice));
      real = g.minus(product(g, g.times(re, weight), t.cosine), product(g, g.times(im, weight), t.sine));
    } else {
      Transform t = transform(g, used, outputs, length, inverse ? 1.0 / double(length) : 1.0);
      real = product(g, re, t.cosine);
      imaginary = inverse ? product(g, re, t.sine) : g.times(product(g, re, t.sine), -1);
    }
    auto placed = [&](Value v) { return g.cast(g.transpose(v, back), input.dtype()); };
    if (to_real) return g.result(g.expand_dims(placed(real), {std::int64_t(rank) - 1}), input.elem());
    Value both = g.add(mil::stack{.values = Values{placed(real), placed(imaginary)}, .axis = int(rank) - 1});
    return g.result(both, input.elem());
  }
};

struct STFT {
  ONNX_IN(signal);
  ONNX_IN(frame_step);
  ONNX_OPTIONAL(window);
  ONNX_OPTIONAL(frame_length);
  ONNX_ATTR(onesided, bool) = true;
  Status lower(Lowering& g) const {
    // Without the last dim PyTorch's exporter has it.
    POM_REQUIRE(signal.rank() == 2 || (signal.rank() == 3 && signal.shape()[2] == 1),
                "the signal must be real, of the shape [batch, length, 1]");
    auto step = std::int64_t(POM_TRY(g.constant_number(frame_step, "frame_step")));
    Dim size = signal.shape()[1];
    std::int64_t length = 0;
    if (frame_length) length = std::int64_t(POM_TRY(g.constant_number(frame_length, "frame_length")));
    if (!frame_length && window && window.rank() == 1 && window.shape()[0].known()) length = window.shape()[0].value();
    POM_REQUIRE(step > 0 && length > 0 && length <= largest_transform && (!size.known() || length <= size.value()),
                "frames of {} samples, {} apart, of a signal of {}", length, step, size.text());
    std::int64_t bins = onesided ? length / 2 + 1 : length;
    Value x = g.cast(signal.rank() == 3 ? g.squeeze(signal, {2}) : *signal, DType::fp32);
    Value framed = g.add(mil::gather{.x = x, .indices = POM_TRY(places(g, size, step, length)), .axis = 1});
    if (window) framed = g.times(framed, g.cast(window, DType::fp32));
    Transform t = transform(g, length, bins, length, 1);
    Value real = product(g, framed, t.cosine), imaginary = g.times(product(g, framed, t.sine), -1);
    return g.result(g.cast(g.add(mil::stack{.values = Values{real, imaginary}, .axis = 3}), signal.dtype()),
                    signal.elem());
  }
  // Of each frame's samples: [frames, length].
  Result<Value> places(Lowering& g, Dim size, std::int64_t step, std::int64_t length) const {
    if (!size.known()) {
      Value begins = g.add(mil::slice_by_index{.x = count_up(g, g.minus(g.dim(signal, 1), double(length - 1))),
                                               .begin = g.ints({0}),
                                               .end = g.ints({0}),
                                               .stride = Ints{step},
                                               .begin_mask = Ints{1},
                                               .end_mask = Ints{1}});
      return g.plus(g.expand_dims(begins, {1}), count_up(g, g.integer(length)));
    }
    std::int64_t frames = (size.value() - length) / step + 1;
    POM_REQUIRE(frames < (1 << 22) && frames * length < (1 << 22), "there are {} frames", frames);
    Ints all;
    for (std::int64_t f = 0; f < frames; ++f)
      for (std::int64_t i = 0; i < length; ++i) all.push_back(f * step + i);
    return g.reshape(g.ints(all), Shape{frames, length});
  }
};

// Patches [N, C * block, L] added up to an image [N, C, ...].
struct Col2Im {
  ONNX_IN(input);
  ONNX_IN(image_shape);
  ONNX_IN(block_shape);
  ONNX_ATTR(dilations, Ints);
  ONNX_ATTR(pads, Ints);
  ONNX_ATTR(strides, Ints);
  Status lower(Lowering& g) const {
    Ints image = POM_TRY(g.constant_ints(image_shape, "image_shape"));
    Ints block = POM_TRY(g.constant_ints(block_shape, "block_shape"));
    std::size_t n = image.size();
    Ints pad = pads->empty() ? Ints(2 * n, 0) : *pads, dilation = dilations->empty() ? Ints(n, 1) : *dilations;
    Ints stride = strides->empty() ? Ints(n, 1) : *strides;
    POM_REQUIRE(n > 0 && block.size() == n && pad.size() == 2 * n && dilation.size() == n && stride.size() == n,
                "the attributes do not fit {} spatial dims", n);
    POM_REQUIRE(input.rank() == 3 && input.shape()[1].known() && input.shape()[2].known(),
                "the input needs rank 3, and a known number of channels and patches");
    Ints padded(n), count(n);
    std::int64_t area = 1, volume = 1, patches = 1;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::int64_t v : {image[i], block[i], dilation[i], stride[i]})
        POM_REQUIRE(v > 0 && v < 1 << 20, "an attribute holds {}", v);
      POM_REQUIRE(pad[i] >= 0 && pad[n + i] >= 0 && pad[i] < 1 << 20 && pad[n + i] < 1 << 20, "a pad is negative");
      padded[i] = image[i] + pad[i] + pad[n + i];
      count[i] = (padded[i] - dilation[i] * (block[i] - 1) - 1) / stride[i] + 1;
      POM_REQUIRE(count[i] > 0, "the block does not fit into the image");
      area *= padded[i];
      volume *= block[i];
      patches *= count[i];
      POM_REQUIRE(area < 1 << 24 && volume < 1 << 24 && patches < 1 << 24, "the image is too large");
    }
    std::int64_t channels = input.shape()[1].value() / volume;
    POM_REQUIRE(channels * volume == input.shape()[1].value() && patches == input.shape()[2].value() &&
                    volume * patches < 1 << 24,
                "the input {} does not hold {} patches of {} elements", to_string(input.shape()), patches, volume);
    // Where in the padded image each element of each patch goes.
    Ints places;
    for (std::int64_t b = 0; b < volume; ++b)
      for (std::int64_t p = 0; p < patches; ++p) {
        std::int64_t in_block = b, in_patch = p, place = 0, scale = 1;
        for (std::size_t i = n; i-- > 0;) {
          std::int64_t at = in_patch % count[i] * stride[i] + in_block % block[i] * dilation[i];
          in_patch /= count[i];
          in_block /= block[i];
          place += at * scale;
          scale *= padded[i];
        }
        places.push_back(place);
      }
    Dim batch = input.shape()[0];
    Value updates = g.reshape(input, Shape{batch, channels, volume * patches});
    Value zeros = g.filled({batch, channels, area}, {input}, input.dtype(), 0);
    Value sum =
        g.add(mil::scatter{.data = zeros, .indices = g.ints(places), .updates = updates, .axis = 2, .mode = "add"});
    Shape full{batch, channels};
    for (std::int64_t s : padded) full.push_back(s);
    Value y = g.reshape(sum, full);
    for (std::size_t i = 0; i < n; ++i)
      if (padded[i] != image[i]) y = g.slice(y, i + 2, pad[i], pad[i] + image[i]);
    return g.result(y, input.elem());
  }
};

// Determinants, of matrices up to 3 x 3 by their formula.
struct Det {
  ONNX_IN(X);
  Status lower(Lowering& g) const {
    std::size_t rank = X.rank();
    POM_REQUIRE(rank >= 2, "the input has rank {}", rank);
    // Where one of the two is known, so is the other.
    Dim rows = X.shape()[rank - 2], columns = X.shape()[rank - 1];
    POM_REQUIRE((rows.known() || columns.known()) && (!rows.known() || !columns.known() || rows == columns),
                "the last two dims of {} are no square of a known size", to_string(X.shape()));
    std::int64_t n = rows.known() ? rows.value() : columns.value();
    Shape square = X.shape();
    square[rank - 2] = square[rank - 1] = n;
    Value x = g.reshape(X, square);
    POM_REQUIRE(n >= 1 && n <= largest, "determinants of {} x {} matrices are not supported", n, n);
    if (n > 3) return lower_large(g, x, n);
    auto at = [&](std::int64_t i, std::int64_t j) {
      Value row = g.slice(x, rank - 2, i, i + 1);
      return g.squeeze(g.slice(row, rank - 1, j, j + 1), {std::int64_t(rank) - 2, std::int64_t(rank) - 1});
    };
    auto minor = [&](std::int64_t r, std::int64_t s, std::int64_t a, std::int64_t b) {
      return g.minus(g.times(at(r, a), at(s, b)), g.times(at(r, b), at(s, a)));
    };
    if (n == 1) return g.result(at(0, 0));
    if (n == 2) return g.result(minor(0, 1, 0, 1));
    Value sum = g.minus(g.times(at(0, 0), minor(1, 2, 1, 2)), g.times(at(0, 1), minor(1, 2, 0, 2)));
    return g.result(g.plus(sum, g.times(at(0, 2), minor(1, 2, 0, 1))));
  }

 private:
  static constexpr std::int64_t largest = 32;
  // The product of the pivots of an elimination.
  Status lower_large(Lowering& g, Value x, std::int64_t n) const {
    Shape leading(X.shape().begin(), X.shape().end() - 2);
    Value rows = g.reshape(g.cast(x, DType::fp32), Shape{element_count(leading), n, n}), product;
    for (std::int64_t c = 0; c < n; ++c) {
      Eliminated step = eliminate_column(g, rows, c, n, true);
      rows = step.rows;
      Value factor = g.times(step.pivot, step.sign);
      product = product ? g.times(product, factor) : factor;
    }
    return g.result(g.cast(g.reshape(product, leading), X.dtype()), X.elem());
  }
};

}  // namespace

Rules spectral_chapter() {
  return {
      rule<Col2Im>("Col2Im"),
      rule<Det>("Det"),
      rule<DFT>("DFT"),
      rule<STFT>("STFT"),
  };
}

}  // namespace pomona::onnx
