// The arithmetic of windows that slide over spatial axes, shared by convolutions and poolings: padding modes, result
// sizes, and which elements a window sees.
//
//   auto windows = POM_TRY(sliding_windows({.sizes = {224, 224}, .kernel = {3, 3}, .strides = {2, 2},
//                                           .pad_type = "same"}, at));
//   windows[0].positions  -> 112
//   windows[0].before     -> 0, one element of padding comes after
//
// Sizes may be unknown; then so are the results, as expressions. Empty lists mean ones (strides, dilations) or zeros
// (pad). `pad` holds before and after of each axis in turn and counts for pad_type `custom` only.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct WindowRequest {
  Shape sizes, kernel;  // per spatial axis
  Ints strides = {}, dilations = {};
  std::string pad_type = "valid";
  Ints pad = {};
  bool ceil_mode = false;
};
struct Window {
  Dim size, kernel;
  std::int64_t stride = 1, dilation = 1;
  Dim before = 0, after = 0;  // padding
  Dim positions = 0;          // how many the window takes: the size of the result
};
Result<std::vector<Window>> sliding_windows(const WindowRequest& request, const At& at);
// For conv_transpose: `request.sizes` are those of x, at whose elements the windows stand, so they become `positions`,
// and `size` is that of the result. `result_sizes`, unless empty, are the wanted ones.
Result<std::vector<Window>> spreading_windows(const WindowRequest& request, const Ints& result_sizes);

// An element under a window: its offset in the row-major spatial block, and that of the kernel element over it.
struct Tap {
  std::size_t element, kernel_element;
};
// What the window sees at one of the row-major positions; elements in the padding are left out. All sizes must be
// known. `with_padding`, when given, receives the number of elements with those in the padding.
void taps_at(const std::vector<Window>& windows, std::size_t position, std::vector<Tap>& taps,
             std::size_t* with_padding = nullptr);
// Sizes and positions multiplied over the axes.
std::size_t block_size(const std::vector<Window>& windows);
std::size_t position_count(const std::vector<Window>& windows);

}  // namespace pomona::mil
