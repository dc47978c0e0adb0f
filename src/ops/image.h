// MIL image ops: resizing, cropping and sampling of the last two dimensions (`resize`: of the last several).
//
// Resizing X samples to N reads the input at grid point i, clamped to [0, X-1], by sampling_mode:
//   STRICT_ALIGN_CORNERS  i*(X-1)/(N-1), and 0 when N = 1       ALIGN_CORNERS    the same, but (X-1)/2 when N = 1
//   DEFAULT               i*X/N                                 UNALIGN_CORNERS  (i+0.5)*X/N - 0.5
//   OFFSET_CORNERS        (i+0.5)*max(1, X-1)/N
//
//   Value y = g.add(mil::resize_bilinear{.x = x, .target_size_height = 32, .target_size_width = 32});
//
// Nearest neighbours take floor((i+0.5)*X/N) for `resize` with DEFAULT and for `resize_nearest_neighbor`, and
// floor(i*X/N) for `upsample_nearest_neighbor`; the format states neither.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct resize_bilinear {
  static constexpr auto doc = "Bilinear resizing of the last two dimensions to a size; rank 3 or more";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_ATTR(target_size_height, int) = 1;
  POM_ATTR(target_size_width, int) = 1;
  POM_ATTR(sampling_mode, std::string) = "DEFAULT";
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct resize_nearest_neighbor {
  static constexpr auto doc = "Nearest-neighbour resizing of the last two dimensions to a size; rank 3 or more";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_ATTR(target_size_height, int, .required = true);
  POM_ATTR(target_size_width, int, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct resize {
  static constexpr auto doc =
      "Resizes the last resized_dims dimensions to the last entries of `shape`; an entry 0 keeps x's size";
  static constexpr Target from = iOS17;
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_IN(shape, {'U', dtypes::i32 | dtypes::i16 | dtypes::u16 | dtypes::u32});
  POM_ATTR(resized_dims, int, .wire = DType::uint32, .required = true);
  POM_ATTR(interpolation_mode, std::string) = "LINEAR";  // LINEAR, NEAREST_NEIGHBOR
  POM_ATTR(sampling_mode, std::string) = "DEFAULT";
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct upsample_nearest_neighbor {
  static constexpr auto doc = "Nearest-neighbour resizing of the last two dimensions from X to floor(X*scale)";
  static constexpr TypeVar T{'T', dtypes::fp}, U{'U', dtypes::fp32 | dtypes::i32};
  POM_IN(x, T);
  POM_FLOAT(scale_factor_height, U) = 1;
  POM_FLOAT(scale_factor_width, U) = 1;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct upsample_bilinear {
  static constexpr auto doc =
      "Bilinear resizing of the last two dimensions from X to floor(X*scale). Grid: align_corners "
      "STRICT_ALIGN_CORNERS, half_pixel_centers UNALIGN_CORNERS, neither DEFAULT";
  static constexpr TypeVar T{'T', dtypes::fp}, U{'U', dtypes::fp32 | dtypes::i32};
  POM_IN(x, T);
  POM_FLOAT(scale_factor_height, U) = 1;
  POM_FLOAT(scale_factor_width, U) = 1;
  POM_ATTR(align_corners, bool) = true;
  POM_ATTR(half_pixel_centers, std::optional<bool>, .since = iOS16);  // absent: !align_corners
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct crop {
  static constexpr auto doc = "Removes [start, end] rows and columns of the last two dimensions; rank 3 or more";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_INTS(crop_height, .required = true);
  POM_INTS(crop_width, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct crop_resize_iOS15 {
  static constexpr auto mil_name = "crop_resize";
  static constexpr Target until = iOS17;
  static constexpr auto doc =
      "Bilinear resizing of N boxes of the images x[B,C,H,W] to [N,B,C,h,w]; roi [N,1,4,1,1], or [N,1,5,1,1] with "
      "the image's index first, then to [N,1,C,h,w]";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_IN(roi, T);
  POM_ATTR(target_height, int) = 1;
  POM_ATTR(target_width, int) = 1;
  POM_ATTR(normalized_coordinates, bool) = false;
  POM_FLOAT(spatial_scale, {'S', dtypes::fp32}) = 1;
  POM_ATTR(box_coordinate_mode, std::string) = "CORNERS_HEIGHT_FIRST";
  POM_ATTR(sampling_mode, std::string) = "DEFAULT";
  POM_FLOAT(pad_value, T, .since = iOS16) = 0;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct crop_resize {
  static constexpr Target from = iOS17;
  static constexpr auto doc =
      "Bilinear resizing of boxes[N,4] of the images x[B,C,H,W] to [N,C,h,w]; box_indices[N] are the images";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_IN(boxes, {'B', dtypes::fp | dtypes::u16});
  static constexpr TypeVar I{'I', dtypes::u16 | dtypes::i32};
  POM_OPTIONAL(box_indices, I);  // absent: 0, 1, .., N-1
  POM_ATTR(target_height, int) = 1;
  POM_ATTR(target_width, int) = 1;
  POM_ATTR(normalized_coordinates, bool) = false;
  POM_FLOAT(spatial_scale, {'S', dtypes::fp32}) = 1;
  POM_ATTR(box_coordinate_mode, std::string) = "CORNERS_HEIGHT_FIRST";
  POM_ATTR(sampling_mode, std::string) = "DEFAULT";
  POM_FLOAT(pad_value, T) = 0;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct affine {
  static constexpr auto doc =
      "Bilinear sampling of x[B,C,H,W] at (a0*u + a1*v + a2, b0*u + b1*v + b2), u and v from -1 to 1 over the output; "
      "zeros outside. transform_matrix[B or 1, 6] = a0 a1 a2 b0 b1 b2";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_IN(transform_matrix, T);
  POM_ATTR(output_height, int, .required = true);
  POM_ATTR(output_width, int, .required = true);
  POM_ATTR(sampling_mode, std::string, .required = true);  // bilinear
  POM_ATTR(padding_mode, std::string, .required = true);   // constant
  POM_FLOAT(padding_value, T, .required = true);           // 0
  POM_ATTR(coordinates_mode, std::string, .required = true);
  POM_ATTR(align_corners, bool, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct resample {
  static constexpr auto doc =
      "Samples x[B,C,H,W] at coordinates[B,h,w,2], pairs (x, y), to [B,C,h,w]; the pixel is c (unnormalized), "
      "(c+1)/2*(W-1) or ((c+1)*W-1)/2 (normalized_minus_one_to_one), c*(W-1) or c*W-0.5 (normalized_zero_to_one), the "
      "first with align_corners";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_IN(coordinates,
         {'U', dtypes::i32 | dtypes::fp32 | since(iOS16, dtypes::fp16) | since(iOS17, dtypes::small_ints)});
  POM_ATTR(sampling_mode, std::string, .required = true);  // bilinear, nearest
  POM_ATTR(padding_mode, std::string, .required = true);   // constant, border, reflection, symmetric
  POM_FLOAT(padding_value, T, .required = true);
  POM_ATTR(coordinates_mode, std::string, .required = true);
  POM_ATTR(align_corners, bool, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
