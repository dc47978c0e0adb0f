#include "ops/pool.h"

#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "ops/catalogue.h"
#include "ops/window.h"

namespace pomona::mil {
namespace {

template <class Op>
Result<std::vector<Window>> windows_of(const Op& op, const At& at) {
  POM_REQUIRE(op.x.rank() >= 3 && op.x.rank() <= 5, "x has rank {}, but 3 to 5 is needed", op.x.rank());
  return sliding_windows({.sizes = Shape(op.x.shape().begin() + 2, op.x.shape().end()),
                          .kernel = to_shape(op.kernel_sizes),
                          .strides = op.strides,
                          .pad_type = op.pad_type,
                          .pad = op.pad,
                          .ceil_mode = op.ceil_mode},
                         at);
}

template <class Op>
Result<Types> pool_types(const Op& op, const At& at) {
  std::vector<Window> windows = POM_TRY(windows_of(op, at));
  Shape shape{op.x.shape()[0], op.x.shape()[1]};
  for (const Window& w : windows) shape.push_back(w.positions);
  return Types{tensor_type(op.x.dtype(), std::move(shape))};
}

// f(block, taps, with_padding) for each channel's block and each position; see taps_at.
template <class Op, class F>
Result<Tensors> pool(const Op& op, const At& at, const F& f) {
  Type type = POM_TRY(op.infer(at))[0];
  std::vector<Window> windows = POM_TRY(windows_of(op, at));
  std::vector<double> values = op.x.tensor().numbers();
  std::size_t block = block_size(windows), positions = position_count(windows);
  std::size_t channels = std::size_t(op.x.sizes()[0] * op.x.sizes()[1]);
  std::vector<double> result(channels * positions);
  parallel_for(positions, 1 + 1024 / (channels + 1), [&](std::size_t begin, std::size_t end) {
    std::vector<Tap> taps;
    std::size_t with_padding = 0;
    for (std::size_t p = begin; p < end; ++p) {
      taps_at(windows, p, taps, &with_padding);
      for (std::size_t c = 0; c < channels; ++c) result[c * positions + p] = f(&values[c * block], taps, with_padding);
    }
  });
  return Tensors{Tensor::from_numbers(type.dtype, known_sizes(type.shape), result)};
}

}  // namespace

Result<Types> avg_pool::infer(const At& at) const { return pool_types(*this, at); }
Result<Types> max_pool::infer(const At& at) const { return pool_types(*this, at); }
Result<Types> l2_pool::infer(const At& at) const {
  POM_REQUIRE(x.rank() <= 4, "x has rank {}, but at most 4 is allowed", x.rank());
  return pool_types(*this, at);
}

// Padding counts in the divisor by default, what ceil_mode reaches over beyond it never does (as in PyTorch).
Result<Tensors> avg_pool::eval(const At& at) const {
  return pool(*this, at, [&](const double* block, const std::vector<Tap>& taps, std::size_t with_padding) {
    double sum = 0;
    for (const Tap& tap : taps) sum += block[tap.element];
    std::size_t count = exclude_padding_from_average ? taps.size() : with_padding;
    return count ? sum / double(count) : 0;
  });
}
Result<Tensors> max_pool::eval(const At& at) const {
  return pool(*this, at, [](const double* block, const std::vector<Tap>& taps, std::size_t) {
    double most = -HUGE_VAL;
    for (const Tap& tap : taps)
      if (double v = block[tap.element]; v > most || v != v) most = v;
    return most;
  });
}
// The root of the sum, not of the mean: Core ML's converter tests say so, its text is silent.
Result<Tensors> l2_pool::eval(const At& at) const {
  return pool(*this, at, [](const double* block, const std::vector<Tap>& taps, std::size_t) {
    double sum = 0;
    for (const Tap& tap : taps) sum += block[tap.element] * block[tap.element];
    return std::sqrt(sum);
  });
}

std::vector<const OpDef*> pool_chapter() { return op_list<avg_pool, max_pool, l2_pool>(); }

}  // namespace pomona::mil
