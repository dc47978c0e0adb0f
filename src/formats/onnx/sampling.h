// Reading an image at places that are computed: bilinear and cubic interpolation in any number of dims, put together
// from gathers where MIL's own sampling ops do not fit.
//
//   Image image(g, x);                                    // x [N, C, D1, D2, ...]
//   Value y = image.linear({row, column});                // each [N, P]; [N, P, C], zero outside
//   return g.result(image.channels_first(y, {h, w}));     // [N, C, h, w]
//
// Places count pixels from the middle of the first one. What is outside of the image is 0 here; rules that clamp or
// mirror places do so before they read.
#pragma once
#include "formats/onnx/lowering.h"

namespace pomona::onnx {

class Image {
 public:
  Image(Lowering& g, Value x);
  std::size_t dims() const { return spatial_.size(); }
  Value size(std::size_t i) const { return sizes_[i]; }  // a number of the places' dtype
  // At whole places; outside is 0 when masked.
  Value at(const Values& places, bool masked) const;
  Value linear(const Values& places) const;
  Value channels_first(Value y, const Shape& spatial) const;

 private:
  Lowering* g_;
  Value rows_;  // [N, D1*D2*.., C]
  Shape spatial_;
  Values sizes_;
  Dim batch_ = 1, channels_ = 1;
};

// The interval [low, high] mirrored over and over onto all numbers.
Value mirrored(Lowering& g, Value x, Value low, Value high);
Value between(Lowering& g, Value x, Value low, Value high);

}  // namespace pomona::onnx
