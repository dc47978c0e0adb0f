// MIL constexpr ops: how a program holds compressed weights. Each decodes constants into a tensor; they may be chained.
// The iOS16 classes take bit-packed bytes and a shape; the iOS18 classes take tensors of sub-byte elements.
//
//   Value w = g.add(mil::constexpr_blockwise_shift_scale{.data = q, .scale = s, .offset = z});
//
// Arithmetic is done in the dtype of the scale: data - offset is rounded to it, and so is the product with the scale.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

inline constexpr Domain table_values = dtypes::i8 | dtypes::u8 | dtypes::fp,
                        table_indices = dtypes::u1 | dtypes::u2 | dtypes::u3 | dtypes::u4 | dtypes::u6 | dtypes::u8,
                        shifted_values = table_values | dtypes::i4 | dtypes::u4;

struct constexpr_affine_dequantize {
  static constexpr auto doc = "scale * (quantized_data - zero_point); scale and zero_point are scalars or per `axis`";
  static constexpr Target from = iOS16;
  static constexpr TypeVar S{'S', dtypes::u8 | dtypes::i8}, Z{'Z', dtypes::u8 | dtypes::i8 | dtypes::fp32},
      D{'D', dtypes::fp};
  POM_WEIGHT(quantized_data, S);
  POM_WEIGHT(zero_point, Z);
  POM_WEIGHT(scale, D);
  POM_ATTR(axis, int, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct constexpr_cast {
  static constexpr auto doc = "source_val as fp32";
  static constexpr Target from = iOS16;
  static constexpr Target revised[] = {iOS18};  // its operands became inputs
  static constexpr TypeVar S{'S', dtypes::fp16};
  POM_WEIGHT(source_val, S);
  POM_ATTR(output_dtype, std::string, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct constexpr_lut_to_dense_iOS16 {
  static constexpr auto mil_name = "constexpr_lut_to_dense";
  static constexpr auto doc =
      "lut[indices] of `shape`; indices are packed, the least significant bits first, in 1, 2, 4, 6 or 8 bits each";
  static constexpr Target from = iOS16, until = iOS18;
  static constexpr TypeVar I{'I', dtypes::u8}, T{'T', table_values};
  POM_WEIGHT(indices, I);
  POM_WEIGHT(lut, T);
  POM_ATTR(shape, Ints, .wire = DType::uint32, .form = AttributeRule::Form::vector, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct constexpr_lut_to_dense {
  static constexpr auto doc =
      "lut[indices] with a table per group: lut is [groups.., 2^n, V]. V > 1: each index stands for V elements in a "
      "row "
      "along vector_axis";
  static constexpr Target from = iOS18;
  static constexpr TypeVar I{'I', table_indices}, T{'T', table_values};
  POM_WEIGHT(indices, I);
  POM_WEIGHT(lut, T);
  POM_ATTR(vector_axis, std::optional<int>);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct constexpr_sparse_to_dense_iOS16 {
  static constexpr auto mil_name = "constexpr_sparse_to_dense";
  static constexpr auto doc =
      "nonzero_data, row by row, where the mask has a bit, 0 elsewhere; the mask is packed, least significant bit "
      "first";
  static constexpr Target from = iOS16, until = iOS18;
  static constexpr TypeVar T{'T', table_values}, M{'M', dtypes::u8};
  POM_WEIGHT(nonzero_data, T);
  POM_WEIGHT(mask, M);
  POM_ATTR(shape, Ints, .wire = DType::uint32, .form = AttributeRule::Form::vector, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct constexpr_sparse_to_dense {
  static constexpr auto doc = "nonzero_data, row by row, where the mask is 1, 0 elsewhere";
  static constexpr Target from = iOS18;
  static constexpr TypeVar T{'T', shifted_values}, M{'M', dtypes::u1};
  POM_WEIGHT(nonzero_data, T);
  POM_WEIGHT(mask, M);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct constexpr_blockwise_shift_scale {
  static constexpr auto doc =
      "scale * (data - offset), one scale and offset per block; the sizes of data divided by those of scale are the "
      "block's";
  static constexpr Target from = iOS18;
  static constexpr TypeVar S{'S', shifted_values}, D{'D', dtypes::fp}, O{'O', shifted_values};
  POM_WEIGHT(data, S);
  POM_WEIGHT(scale, D);
  POM_OPTIONAL_WEIGHT(offset, O);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct constexpr_lut_to_sparse {
  static constexpr auto doc =
      "Mask and values of a sparse tensor whose non-zero elements are table indices; see constexpr_lut_to_dense";
  static constexpr Target from = iOS18;
  static constexpr TypeVar M{'M', dtypes::u1}, I{'I', table_indices}, T{'T', table_values};
  POM_WEIGHT(indices_mask, M);
  POM_WEIGHT(indices_nonzero_data, I);
  POM_WEIGHT(lut, T);
  POM_ATTR(vector_axis, std::optional<int>);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct constexpr_sparse_blockwise_shift_scale {
  static constexpr auto doc =
      "Mask and scale * (data - offset) of a sparse tensor's non-zero elements, with blocks counted in the dense "
      "tensor";
  static constexpr Target from = iOS18;
  static constexpr TypeVar M{'M', dtypes::u1}, S{'S', shifted_values}, D{'D', dtypes::fp}, O{'O', shifted_values};
  POM_WEIGHT(data_mask, M);
  POM_WEIGHT(nonzero_data, S);
  POM_WEIGHT(scale, D);
  POM_OPTIONAL_WEIGHT(offset, O);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
