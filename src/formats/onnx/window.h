// Windows that slide over the spatial dims of [N, C, D1, D2, ...]: the attributes that ONNX's convolutions and poolings
// share, made explicit for an input.
//
//   Window w = POM_TRY(window_of(g, x, {.kernel = {3, 3}, .strides = *strides, .pads = *pads, .auto_pad = "NOTSET"}));
//   mil::max_pool{.x = x, .kernel_sizes = w.kernel, .strides = w.strides, .pad_type = w.pad_type, .pad =
//   w.interleaved()}
#pragma once
#include "formats/onnx/lowering.h"

namespace pomona::onnx {

struct WindowAttributes {
  Ints kernel, strides, pads, dilations;
  std::string auto_pad = "NOTSET";
  bool ceil_mode = false;
};

struct Window {
  Ints kernel, strides, dilations;
  Ints before, after;               // padding, ceil_mode's own included
  Ints declared_after;              // without ceil_mode's own
  std::string pad_type = "custom";  // or same, same_lower, valid, where sizes are unknown
  std::vector<Dim> input;

  std::size_t spatial() const { return kernel.size(); }
  Ints interleaved() const;
  bool padded() const;
  bool dilated() const;
  bool sizes_known() const;
  // Elements from the first to the last that a window sees.
  std::int64_t reach(std::size_t i) const { return dilations[i] * (kernel[i] - 1) + 1; }
  // Output size along a spatial dim, when its input size is known.
  std::int64_t output(std::size_t i) const;
  std::int64_t volume() const;
  // Whether something can be worked out for each place of each window.
  Status check_listable() const;
};

Result<Window> window_of(Value x, const WindowAttributes& attributes);

}  // namespace pomona::onnx
