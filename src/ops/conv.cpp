#include "ops/conv.h"

#include <algorithm>

#include "base/threads.h"
#include "ops/axes.h"
#include "ops/catalogue.h"
#include "ops/window.h"

namespace pomona::mil {
namespace {

Shape spatial(const Shape& shape) {
  return Shape(shape.begin() + std::min<std::ptrdiff_t>(2, std::ssize(shape)), shape.end());
}

Status check_ranks(const InputField& x, const InputField& weight) {
  POM_REQUIRE(x.rank() >= 3 && x.rank() <= 5, "x has rank {}, but 3 to 5 is needed", x.rank());
  POM_REQUIRE(weight.rank() == x.rank(), "weight has rank {}, but x has rank {}", weight.rank(), x.rank());
  return {};
}
Status check_divisible(Dim channels, int groups, std::string_view whose) {
  POM_REQUIRE(groups >= 1, "groups is {}", groups);
  POM_REQUIRE(!channels.known() || channels.value() % groups == 0, "{} has {} channels, which {} groups cannot share",
              whose, channels.text(), groups);
  return {};
}
Status check_bias(const InputField& bias, Dim channels) {
  if (!bias) return {};
  return require_per_channel(bias, "bias", channels);
}

// Whether a value is computed from constants alone. Given up after a few ops: weights take a cast or a transpose.
bool comes_from_constants(Value value) {
  Values pending{value};
  for (std::size_t i = 0; i < pending.size(); ++i) {
    if (pending[i].is_weight()) continue;
    const Node* producer = pending[i].producer();
    if (!producer || producer->inputs().empty() || pending.size() > 64) return false;
    pending.insert(pending.end(), producer->inputs().begin(), producer->inputs().end());
  }
  return true;
}

template <class Op>
Result<std::vector<Window>> windows_of(const Op& op, const At& at) {
  return sliding_windows({.sizes = spatial(op.x.shape()),
                          .kernel = spatial(op.weight.shape()),
                          .strides = op.strides,
                          .dilations = op.dilations,
                          .pad_type = op.pad_type,
                          .pad = op.pad},
                         at);
}

template <class Op>
Result<Types> conv_types(const Op& op, const At& at) {
  POM_TRY(check_ranks(op.x, op.weight));
  Dim out = op.weight.shape()[0], per_group = op.weight.shape()[1];
  POM_TRY(check_divisible(op.x.shape()[1], op.groups, "x"));
  POM_TRY(check_divisible(out, op.groups, "the result"));
  POM_REQUIRE(may_equal(op.x.shape()[1], per_group * op.groups.value),
              "x has {} channels, but weight {} in {} groups takes {}", op.x.shape()[1].text(),
              to_string(op.weight.shape()), op.groups.value, (per_group * op.groups.value).text());
  POM_TRY(check_bias(op.bias, out));
  Shape shape{op.x.shape()[0], out};
  for (const Window& w : POM_TRY(windows_of(op, at))) shape.push_back(w.positions);
  return Types{tensor_type(op.x.dtype(), std::move(shape))};
}

struct Channels {
  std::size_t batch, in, out, groups;
};

// x [batch, in, block], weight [out, in/groups, kernel] -> [batch, out, positions].
std::vector<double> correlate(const std::vector<double>& x, const std::vector<double>& weight,
                              const std::vector<double>& bias, const Channels& channels,
                              const std::vector<Window>& windows) {
  std::size_t block = block_size(windows), positions = position_count(windows);
  std::size_t in_group = channels.in / channels.groups, out_group = channels.out / channels.groups;
  std::size_t filter = channels.out ? weight.size() / channels.out : 0, kernel = in_group ? filter / in_group : 0;
  std::vector<double> result(channels.batch * channels.out * positions);
  parallel_for(positions, 1 + 16384 / (filter * channels.out + 1), [&](std::size_t begin, std::size_t end) {
    std::vector<Tap> taps;
    for (std::size_t p = begin; p < end; ++p) {
      taps_at(windows, p, taps);
      for (std::size_t n = 0; n < channels.batch; ++n)
        for (std::size_t o = 0; o < channels.out; ++o) {
          double sum = bias.empty() ? 0 : bias[o];
          for (std::size_t i = 0; i < in_group; ++i) {
            const double* source = x.data() + (n * channels.in + o / out_group * in_group + i) * block;
            const double* factors = weight.data() + o * filter + i * kernel;
            for (const Tap& tap : taps) sum += source[tap.element] * factors[tap.kernel_element];
          }
          result[(n * channels.out + o) * positions + p] = sum;
        }
    }
  });
  return result;
}

// x [batch, in, positions], weight [in, out/groups, kernel] -> [batch, out, block].
std::vector<double> spread(const std::vector<double>& x, const std::vector<double>& weight,
                           const std::vector<double>& bias, const Channels& channels,
                           const std::vector<Window>& windows) {
  std::size_t block = block_size(windows), positions = position_count(windows);
  std::size_t in_group = channels.in / channels.groups, out_group = channels.out / channels.groups;
  std::size_t kernel = channels.in && out_group ? weight.size() / channels.in / out_group : 0;
  std::vector<double> result(channels.batch * channels.out * block);
  parallel_for(channels.out, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<Tap> taps;
    for (std::size_t p = 0; p < positions; ++p) {
      taps_at(windows, p, taps);
      for (std::size_t n = 0; n < channels.batch; ++n)
        for (std::size_t o = begin; o < end; ++o)
          for (std::size_t i = o / out_group * in_group; i < (o / out_group + 1) * in_group; ++i) {
            double value = x[(n * channels.in + i) * positions + p];
            const double* factors = weight.data() + (i * out_group + o % out_group) * kernel;
            double* target = result.data() + (n * channels.out + o) * block;
            for (const Tap& tap : taps) target[tap.element] += value * factors[tap.kernel_element];
          }
    }
  });
  if (!bias.empty())
    for (std::size_t e = 0; e < result.size(); ++e) result[e] += bias[e / block % channels.out];
  return result;
}

std::vector<double> bias_of(const InputField& bias) { return bias ? bias.tensor().numbers() : std::vector<double>(); }

template <class Op>
Result<Tensors> evaluate_conv(const Op& op, const std::vector<double>& weight, const At& at) {
  Type type = POM_TRY(op.infer(at))[0];
  const Sizes &x = op.x.sizes(), sizes = known_sizes(type.shape);
  Channels channels{std::size_t(x[0]), std::size_t(x[1]), std::size_t(sizes[1]), std::size_t(op.groups.value)};
  std::vector<double> result =
      correlate(op.x.tensor().numbers(), weight, bias_of(op.bias), channels, POM_TRY(windows_of(op, at)));
  return Tensors{Tensor::from_numbers(type.dtype, sizes, result)};
}

Result<std::vector<Window>> transpose_windows(const conv_transpose& op) {
  Ints sizes;
  if (!op.output_shape->empty()) sizes.assign(op.output_shape->begin() + 2, op.output_shape->end());
  return spreading_windows({.sizes = spatial(op.x.shape()),
                            .kernel = spatial(op.weight.shape()),
                            .strides = op.strides,
                            .dilations = op.dilations,
                            .pad_type = op.pad_type,
                            .pad = op.pad},
                           sizes);
}

}  // namespace

Result<Types> conv::infer(const At& at) const {
  bool dilated = std::any_of(dilations->begin(), dilations->end(), [](std::int64_t d) { return d > 1; });
  Value filters = weight;
  POM_REQUIRE(!dilated || !filters || comes_from_constants(filters),
              "a weight that is not constant allows no dilation");
  return conv_types(*this, at);
}
Result<Tensors> conv::eval(const At& at) const { return evaluate_conv(*this, weight.tensor().numbers(), at); }

Result<Types> conv_transpose::infer(const At&) const {
  POM_TRY(check_ranks(x, weight));
  Dim in = x.shape()[1];
  POM_TRY(check_divisible(in, groups, "x"));
  POM_REQUIRE(may_equal(in, weight.shape()[0]), "x has {} channels, but weight is {}", in.text(),
              to_string(weight.shape()));
  Dim out = weight.shape()[1] * groups.value;
  POM_TRY(check_bias(bias, out));
  if (!output_shape->empty()) {
    POM_REQUIRE(output_shape->size() == x.rank(), "output_shape has {} elements, but x has rank {}",
                output_shape->size(), x.rank());
    POM_REQUIRE(may_equal((*output_shape)[0], x.shape()[0]) && may_equal((*output_shape)[1], out),
                "output_shape begins with {}, {}, but the result is [{}, {}, ...]", (*output_shape)[0],
                (*output_shape)[1], x.shape()[0].text(), out.text());
  }
  Shape shape{x.shape()[0], out};
  for (const Window& w : POM_TRY(transpose_windows(*this))) shape.push_back(w.size);
  return Types{tensor_type(x.dtype(), std::move(shape))};
}
Result<Tensors> conv_transpose::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Sizes sizes = known_sizes(type.shape);
  Channels channels{std::size_t(sizes[0]), std::size_t(x.sizes()[1]), std::size_t(sizes[1]), std::size_t(groups.value)};
  std::vector<double> result = spread(x.tensor().numbers(), weight.tensor().numbers(), bias_of(bias), channels,
                                      POM_TRY(transpose_windows(*this)));
  return Tensors{Tensor::from_numbers(type.dtype, sizes, result)};
}

Result<Types> conv_quantized::infer(const At& at) const {
  POM_REQUIRE(*quantization_type == "linear" || *quantization_type == "lut",
              "quantization_type is '{}', not linear or lut", *quantization_type);
  POM_REQUIRE(nbits >= 1 && nbits <= 8, "nbits is {}, not 1 to 8", nbits.value);
  Types types = POM_TRY(conv_types(*this, at));
  for (const auto* parameter :
       {&static_cast<const InputField&>(quant_scale), &static_cast<const InputField&>(quant_bias)}) {
    Dim count = element_count(parameter->shape());
    POM_REQUIRE(*quantization_type == "lut" || count == 1 || may_equal(count, weight.shape()[0]),
                "{} has {} elements, neither 1 nor one per result channel", parameter->info().name, count.text());
  }
  return types;
}
Result<Tensors> conv_quantized::eval(const At& at) const {
  POM_TRY(infer(at));
  POM_REQUIRE(*quantization_type == "linear", "how a weight of quantization_type 'lut' is decoded is not documented");
  std::vector<double> decoded = weight.tensor().numbers();
  std::vector<double> scale = quant_scale.tensor().numbers(), shift = quant_bias.tensor().numbers();
  std::size_t filter = weight.sizes()[0] ? decoded.size() / std::size_t(weight.sizes()[0]) : 1;
  for (std::size_t i = 0; i < decoded.size(); ++i) {
    std::size_t out = i / filter;
    decoded[i] = decoded[i] * scale[scale.size() == 1 ? 0 : out] + shift[shift.size() == 1 ? 0 : out];
  }
  return evaluate_conv(*this, decoded, at);
}

std::vector<const OpDef*> conv_chapter() { return op_list<conv, conv_transpose, conv_quantized>(); }

}  // namespace pomona::mil
