// Pictures: PNG files to and from the tensors of image features.
//
//   Tensor t = POM_TRY(read_picture(bytes, feature, DType::fp32));   // [1, 3, height, width], 0 to 255
//   std::string png = POM_TRY(picture_contents(t, feature));
//
// The feature's colour space gives the channels and their order. Values are rounded and clamped to 0..255 on the way
// out; an alpha channel is dropped on the way in. It does not resize.
#pragma once
#include "ir/program.h"

namespace pomona::api {

bool is_png(const Bytes& file);
Result<Tensor> read_picture(const Bytes& file, const Feature& feature, DType dtype);
Result<std::string> picture_contents(const Tensor& tensor, const Feature& feature);

}  // namespace pomona::api
