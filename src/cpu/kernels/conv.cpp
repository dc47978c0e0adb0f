// Convolutions over tensors with channels last: products of pixels under the window with the packed weight (gemm.h),
// and a kernel of their own for those that keep channels apart.
#include "ops/conv.h"

#include <algorithm>

#include "base/threads.h"
#include "cpu/channel_kernels.h"
#include "cpu/encoded_constant.h"
#include "cpu/gemm.h"
#include "cpu/kernels/encoded_linear.h"
#include "cpu/kernels/kernels.h"
#include "cpu/window_rows.h"

namespace pomona::cpu {
namespace {

constexpr std::size_t most_segment = 8 * most_block_rows;  // neighbouring pixels handled together
constexpr std::size_t elements_per_task = 32768;           // results that are finished while in the cache

// What the kernels of this chapter share: images of pixels, in segments of lines.
struct ConvPlan {
  explicit ConvPlan(const std::vector<mil::Window>& windows) : grid(windows) {}
  WindowGrid grid;
  std::size_t images, in_channels, out_channels, groups = 1;
  SlotNumber x, bias, y;
  Finish finish;
  bool half = false;                                         // see RowBlock
  std::vector<float> zeros;                                  // a pixel of the padding
  std::vector<std::shared_ptr<const PackedMatrix>> weights;  // of each group

  std::size_t line_pixels() const { return std::size_t(grid.positions[2]); }
  std::size_t segments() const { return (line_pixels() + most_segment - 1) / most_segment; }
};
struct Segment {
  std::size_t image, line, position, count;
};

// Calls run(segment) for all segments of all lines, finishing what each made.
template <class Run>
void for_segments(const ConvPlan& plan, const Frame& f, Run run) {
  std::size_t segments = plan.segments(), lines = plan.grid.lines(), pixels = plan.line_pixels();
  std::size_t elements = pixels / segments * plan.out_channels;
  parallel_for(plan.images * lines * segments, 1 + elements_per_task / (elements + 1),
               [&](std::size_t first, std::size_t last) {
                 for (std::size_t i = first; i < last; ++i) {
                   std::size_t s = i % segments, begin = s * pixels / segments, end = (s + 1) * pixels / segments;
                   Segment segment{i / segments / lines, i / segments % lines, begin, end - begin};
                   run(segment);
                   std::size_t pixel = (segment.image * lines + segment.line) * pixels + begin;
                   plan.finish(f, pixel * plan.out_channels, segment.count * plan.out_channels);
                 }
               });
}

void convolve_segment(const ConvPlan& plan, const Frame& f, const Segment& s) {
  const WindowGrid& grid = plan.grid;
  std::size_t taps = grid.taps(), in = plan.in_channels / plan.groups, out = plan.out_channels / plan.groups;
  const float* x = f.read<float>(plan.x) + s.image * grid.input_pixels() * plan.in_channels;
  float* y = f.write<float>(plan.y) +
             ((s.image * grid.lines() + s.line) * plan.line_pixels() + s.position) * plan.out_channels;
  std::size_t blocks = (s.count + most_block_rows - 1) / most_block_rows;
  std::vector<const float*> pointers(s.count * taps);
  for (std::size_t group = 0; group < plan.groups; ++group) {
    PackedView weight = plan.weights[group]->view();
    const float* bias = plan.bias == no_slot ? nullptr : f.read<float>(plan.bias) + group * out;
    std::size_t panels = panel_count(out), stripe = panels_per_stripe(weight.depth);
    for (std::size_t panel = 0; panel < panels; panel += stripe)
      for (std::size_t b = 0; b < blocks; ++b) {
        std::size_t first = b * s.count / blocks, rows = (b + 1) * s.count / blocks - first;
        const float** a = &pointers[first * taps];
        if (panel == 0)
          window_pointers(grid, s.line, s.position + first, rows, x + group * in, plan.in_channels, plan.zeros.data(),
                          a);
        float* c[most_block_rows];
        for (std::size_t r = 0; r < rows; ++r) c[r] = y + (first + r) * plan.out_channels + group * out;
        multiply_panels({a, taps, in, c, rows, plan.half}, weight, bias, panel, std::min(panel + stripe, panels));
      }
  }
}

void convolve_channels(const ConvPlan& plan, const Frame& f, const Segment& s) {
  const WindowGrid& grid = plan.grid;
  std::size_t channels = plan.in_channels, taps = grid.taps();
  const float* x = f.read<float>(plan.x) + s.image * grid.input_pixels() * channels;
  float* y = f.write<float>(plan.y) + ((s.image * grid.lines() + s.line) * plan.line_pixels() + s.position) * channels;
  const float* bias = plan.bias == no_slot ? nullptr : f.read<float>(plan.bias);
  std::vector<const float*> pointers(most_pixels * taps);
  for (std::size_t i = 0; i < s.count; i += most_pixels) {
    std::size_t rows = std::min(most_pixels, s.count - i);
    window_pointers(grid, s.line, s.position + i, rows, x, channels, plan.zeros.data(), pointers.data());
    depthwise_pixels({pointers.data(), taps, rows, channels, y + i * channels}, plan.weights[0]->elements.data(), bias);
  }
}

std::string weight_key(const InputField& weight, std::string_view use, std::size_t index) {
  return fmt::format("{} {} {}", use, static_cast<const void*>(&Value(weight).info()), index);
}

// weight [out, in/groups, kernel...] of one group as a matrix [tap * in + channel, out].
std::shared_ptr<const PackedMatrix> pack_group(const InputField& weight, std::size_t groups, std::size_t group,
                                               PlanContext& at) {
  auto make = [&]() -> std::shared_ptr<const void> {
    const Tensor* tensor = at.constant(weight);
    if (!tensor) return nullptr;
    Tensor floats = tensor->converted(DType::fp32);
    std::size_t out = std::size_t(floats.sizes()[0]) / groups, in = std::size_t(floats.sizes()[1]);
    std::size_t taps = floats.count() / (out * groups * in);
    std::vector<float> matrix(taps * in * out);
    const float* from = floats.view<float>().data() + group * out * in * taps;
    for (std::size_t o = 0; o < out; ++o)
      for (std::size_t c = 0; c < in; ++c)
        for (std::size_t t = 0; t < taps; ++t) matrix[(t * in + c) * out + o] = from[(o * in + c) * taps + t];
    Matrix b{matrix.data(), taps * in, out, std::ptrdiff_t(out), 1};
    return std::make_shared<const PackedMatrix>(pack_matrix(b));
  };
  return std::static_pointer_cast<const PackedMatrix>(at.shared(weight_key(weight, "conv", group), make));
}

// weight [channels, 1, kernel...] as [tap, channel].
std::shared_ptr<const PackedMatrix> pack_channels(const InputField& weight, PlanContext& at) {
  auto make = [&]() -> std::shared_ptr<const void> {
    const Tensor* tensor = at.constant(weight);
    if (!tensor) return nullptr;
    Tensor floats = tensor->converted(DType::fp32);
    std::size_t channels = std::size_t(floats.sizes()[0]), taps = floats.count() / channels;
    auto packed = std::make_shared<PackedMatrix>(PackedMatrix{AlignedFloats(floats.count()), taps, channels});
    const float* from = floats.view<float>().data();
    for (std::size_t c = 0; c < channels; ++c)
      for (std::size_t t = 0; t < taps; ++t) packed->elements.data()[t * channels + c] = from[c * taps + t];
    return packed;
  };
  return std::static_pointer_cast<const PackedMatrix>(at.shared(weight_key(weight, "depthwise", 0), make));
}

// A convolution of single positions is a linear of the channels, which lie last.
Kernel plan_positions(const mil::conv& op, const std::vector<mil::Window>& windows, PlanContext& at) {
  constexpr std::int64_t most_positions = 256;  // more are better off with floats
  for (const mil::Window& w : windows)
    if (w.kernel != 1 || w.stride != 1 || w.before != 0 || w.after != 0) return {};
  Sizes result = at.result_sizes();
  std::int64_t positions = element_count(result) / result[1];
  if (op.groups != 1 || positions > most_positions) return {};
  SharedMatrix matrix = encoded_constant(op.weight, {0, 1}, at);
  if (!matrix) return {};
  SlotNumber bias = op.bias ? at.source(op.bias) : no_slot;
  return encoded_linear_kernel(matrix, {at.source(op.x), bias, at.result()}, std::size_t(positions), at.finish);
}

Kernel plan_conv(const mil::conv& op, PlanContext& at) {
  if (!at.is_constant(op.weight) || element_count(at.result_sizes()) == 0) return {};
  Sizes x = known_sizes(op.x.shape()), w = known_sizes(op.weight.shape());
  auto windows = mil::sliding_windows({.sizes = Shape(op.x.shape().begin() + 2, op.x.shape().end()),
                                       .kernel = Shape(op.weight.shape().begin() + 2, op.weight.shape().end()),
                                       .strides = op.strides,
                                       .dilations = op.dilations,
                                       .pad_type = op.pad_type,
                                       .pad = op.pad},
                                      {at.opset});
  if (!windows) return {};
  if (Kernel positions = plan_positions(op, *windows, at); positions.run) return positions;
  auto plan = std::make_shared<ConvPlan>(*windows);
  plan->grid.flatten();
  plan->images = std::size_t(x[0]);
  plan->in_channels = std::size_t(x[1]);
  plan->out_channels = std::size_t(w[0]);
  plan->groups = std::size_t(op.groups);
  plan->x = at.source(op.x);
  plan->bias = op.bias ? at.source(op.bias) : no_slot;
  plan->y = at.result();
  plan->finish = at.finish;
  plan->half = at.accumulate_half;
  plan->zeros.assign(plan->in_channels, 0.0f);
  bool channels_apart = plan->groups > 1 && plan->groups == plan->in_channels && plan->groups == plan->out_channels;
  if (channels_apart && !plan->half) {
    plan->weights.push_back(pack_channels(op.weight, at));
    if (!plan->weights[0]) return {};
    return {.run =
                [plan](const Frame& f) {
                  for_segments(*plan, f, [&](const Segment& s) { convolve_channels(*plan, f, s); });
                },
            .name = "conv_depthwise"};
  }
  for (std::size_t g = 0; g < plan->groups; ++g) {
    plan->weights.push_back(pack_group(op.weight, plan->groups, g, at));
    if (!plan->weights.back()) return {};
  }
  return {
      .run =
          [plan](const Frame& f) { for_segments(*plan, f, [&](const Segment& s) { convolve_segment(*plan, f, s); }); },
      .name = "conv"};
}

// conv_transpose gathers: an element of the result sees those elements of x whose windows reach it. Which elements of
// the window these are repeats with the stride, so there is one packed weight for each phase of the strides.
struct PhaseTap {
  std::int64_t shift[3];  // of x's position, from result position / stride
  std::size_t tap;        // of the weight
};
struct TransposePlan {
  std::size_t images, in_channels, out_channels, groups;
  std::int64_t size[3], stride[3], result[3];
  std::vector<std::vector<PhaseTap>> taps;                                // by phase
  std::vector<std::vector<std::shared_ptr<const PackedMatrix>>> weights;  // by phase, by group
  SlotNumber x, bias, y;
  Finish finish;
  bool half = false;  // see RowBlock
  std::vector<float> zeros;
};

// weight [in, out/groups, kernel...] of one group and some taps as a matrix [tap * in + channel, out].
std::shared_ptr<const PackedMatrix> pack_phase(const Tensor& weight, std::size_t groups, std::size_t group,
                                               const std::vector<PhaseTap>& taps) {
  std::size_t in = std::size_t(weight.sizes()[0]) / groups, out = std::size_t(weight.sizes()[1]);
  std::size_t all_taps = weight.count() / (in * groups * out);
  std::vector<float> matrix(taps.size() * in * out);
  const float* from = weight.view<float>().data() + group * in * out * all_taps;
  for (std::size_t t = 0; t < taps.size(); ++t)
    for (std::size_t c = 0; c < in; ++c)
      for (std::size_t o = 0; o < out; ++o)
        matrix[(t * in + c) * out + o] = from[(c * out + o) * all_taps + taps[t].tap];
  return std::make_shared<const PackedMatrix>(
      pack_matrix({matrix.data(), taps.size() * in, out, std::ptrdiff_t(out), 1}));
}

// The taps of a phase, given as one of its positions: result position q * stride + phase sees x's position q + shift.
std::vector<PhaseTap> phase_taps(const std::vector<mil::Window>& windows, const std::int64_t (&at)[3]) {
  std::size_t filled = 3 - windows.size();
  std::vector<PhaseTap> taps{{{0, 0, 0}, 0}};
  for (std::size_t d = 0; d < windows.size(); ++d) {
    const mil::Window& w = windows[d];
    std::vector<PhaseTap> next;
    for (const PhaseTap& tap : taps)
      for (std::int64_t k = 0; k < w.kernel.value(); ++k) {
        std::int64_t from = at[filled + d] + w.before.value() - k * w.dilation;
        if (from % w.stride != 0) continue;
        PhaseTap more = tap;
        more.shift[filled + d] = from / w.stride;
        more.tap = tap.tap * std::size_t(w.kernel.value()) + std::size_t(k);
        next.push_back(more);
      }
    taps = std::move(next);
  }
  return taps;
}

void transpose_line(const TransposePlan& p, const Frame& f, std::size_t image, std::int64_t d, std::int64_t h) {
  std::size_t in = p.in_channels / p.groups, out = p.out_channels / p.groups;
  std::size_t pixels = std::size_t(p.size[0] * p.size[1] * p.size[2]);
  const float* x = f.read<float>(p.x) + image * pixels * p.in_channels;
  std::size_t line = (image * std::size_t(p.result[0]) + std::size_t(d)) * std::size_t(p.result[1]) + std::size_t(h);
  float* y = f.write<float>(p.y) + line * std::size_t(p.result[2]) * p.out_channels;
  std::vector<const float*> pointers;
  for (std::int64_t first = 0; first < std::min(p.stride[2], p.result[2]); ++first) {
    std::size_t phase = std::size_t((d % p.stride[0] * p.stride[1] + h % p.stride[1]) * p.stride[2] + first);
    const std::vector<PhaseTap>& taps = p.taps[phase];
    std::int64_t count = (p.result[2] - first + p.stride[2] - 1) / p.stride[2];
    for (std::int64_t begin = 0; begin < count; begin += std::int64_t(most_block_rows)) {
      std::size_t rows = std::size_t(std::min<std::int64_t>(most_block_rows, count - begin));
      pointers.resize(taps.size() * rows);
      float* c[most_block_rows];
      for (std::size_t r = 0; r < rows; ++r)
        c[r] = y + std::size_t(first + (begin + std::int64_t(r)) * p.stride[2]) * p.out_channels;
      for (std::size_t t = 0; t < taps.size(); ++t) {
        std::int64_t id = d / p.stride[0] + taps[t].shift[0], ih = h / p.stride[1] + taps[t].shift[1];
        bool inside = id >= 0 && id < p.size[0] && ih >= 0 && ih < p.size[1];
        for (std::size_t r = 0; r < rows; ++r) {
          std::int64_t iw = begin + std::int64_t(r) + taps[t].shift[2];
          bool seen = inside && iw >= 0 && iw < p.size[2];
          pointers[t * rows + r] =
              seen ? x + std::size_t((id * p.size[1] + ih) * p.size[2] + iw) * p.in_channels : p.zeros.data();
        }
      }
      for (std::size_t g = 0; g < p.groups; ++g) {
        const float* bias = p.bias == no_slot ? nullptr : f.read<float>(p.bias) + g * out;
        multiply_panels({pointers.data(), taps.size(), in, c, rows, p.half}, p.weights[phase][g]->view(), bias, 0,
                        panel_count(out));
        for (const float*& a : pointers) a += in;
        for (std::size_t r = 0; r < rows; ++r) c[r] += out;
      }
    }
  }
  p.finish(f, line * std::size_t(p.result[2]) * p.out_channels, std::size_t(p.result[2]) * p.out_channels);
}

Kernel plan_conv_transpose(const mil::conv_transpose& op, PlanContext& at) {
  if (!op.weight.known() || element_count(at.result_sizes()) == 0) return {};
  Sizes x = known_sizes(op.x.shape()), w = known_sizes(op.weight.shape()), result = at.result_sizes();
  Ints wanted = *op.output_shape;
  if (!wanted.empty()) wanted.erase(wanted.begin(), wanted.begin() + 2);
  auto windows = mil::spreading_windows({.sizes = Shape(op.x.shape().begin() + 2, op.x.shape().end()),
                                         .kernel = Shape(op.weight.shape().begin() + 2, op.weight.shape().end()),
                                         .strides = op.strides,
                                         .dilations = op.dilations,
                                         .pad_type = op.pad_type,
                                         .pad = op.pad},
                                        wanted);
  if (!windows) return {};
  auto plan = std::make_shared<TransposePlan>();
  plan->images = std::size_t(x[0]);
  plan->in_channels = std::size_t(x[1]);
  plan->groups = std::size_t(op.groups);
  plan->out_channels = std::size_t(w[1]) * plan->groups;
  std::size_t filled = 3 - windows->size();
  for (std::size_t d = 0; d < 3; ++d) {
    plan->size[d] = d < filled ? 1 : x[2 + d - filled];
    plan->result[d] = d < filled ? 1 : result[2 + d - filled];
    plan->stride[d] = d < filled ? 1 : (*windows)[d - filled].stride;
  }
  plan->x = at.source(op.x);
  plan->bias = op.bias ? at.source(op.bias) : no_slot;
  plan->y = at.result();
  plan->finish = at.finish;
  plan->half = at.accumulate_half;
  plan->zeros.assign(plan->in_channels, 0.0f);
  Tensor weight = op.weight.tensor().converted(DType::fp32);
  std::int64_t phase[3];
  for (phase[0] = 0; phase[0] < plan->stride[0]; ++phase[0])
    for (phase[1] = 0; phase[1] < plan->stride[1]; ++phase[1])
      for (phase[2] = 0; phase[2] < plan->stride[2]; ++phase[2]) {
        plan->taps.push_back(phase_taps(*windows, phase));
        auto& packed = plan->weights.emplace_back();
        for (std::size_t g = 0; g < plan->groups; ++g)
          packed.push_back(pack_phase(weight, plan->groups, g, plan->taps.back()));
      }
  auto run = [plan](const Frame& f) {
    std::size_t lines = std::size_t(plan->result[0] * plan->result[1]);
    std::size_t elements = std::size_t(plan->result[2]) * plan->out_channels;
    parallel_for(plan->images * lines, 1 + elements_per_task / elements, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        std::int64_t line = std::int64_t(i % lines);
        transpose_line(*plan, f, i / lines, line / plan->result[1], line % plan->result[1]);
      }
    });
  };
  return {.run = std::move(run), .name = "conv_transpose"};
}

}  // namespace

std::vector<KernelRule> conv_kernels() {
  return {
      kernel<mil::conv, plan_conv>({.finishes = true, .constants_on_demand = true, .layouts = Layouts::channels_last}),
      kernel<mil::conv_transpose, plan_conv_transpose>({.finishes = true, .layouts = Layouts::channels_last}),
  };
}

}  // namespace pomona::cpu
