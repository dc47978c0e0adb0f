// MIL layout operations: the same elements under another shape, order or selection. reshape, transpose, slices,
// windows, and the moves between space, depth and batch.
//
//   Value flat = g.add(mil::reshape{.x = x, .shape = g.ints({1, -1})});
//   Value last = g.add(mil::slice_by_index{.x = x, .begin = b, .end = e, .squeeze_mask = Ints{0, 1}});
//
// Elements are moved bit for bit. Ops that compute or make elements are in tensor_operation.h.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

// What most layout ops take: small integers since iOS17. And the dtypes of shapes and bounds.
inline constexpr Domain movable = dtypes::fp_ib | since(iOS17, dtypes::small_ints),
                        bounds = dtypes::i32 | since(iOS17, dtypes::i8 | dtypes::i16);

struct expand_dims {
  static constexpr auto doc = "x with dims of size 1 inserted; axes count in the result";
  static constexpr TypeVar T{'T', movable};
  POM_IN(x, T);
  POM_INTS(axes, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct squeeze {
  static constexpr auto doc = "x without its dims of size 1 (those among axes, or all); others among axes stay";
  static constexpr TypeVar T{'T', movable};
  POM_IN(x, T);
  POM_INTS(axes);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct reshape {
  static constexpr auto doc =
      "x's elements under another shape. -1, at most once: what is left over. 0: x's size at the same index (both "
      "ranks equal); since iOS17 counted from the last dim, 1 where x has none";
  static constexpr TypeVar T{'T', movable};
  POM_IN(x, T);
  POM_IN(shape, {'U', bounds});
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct reshape_like {
  static constexpr auto doc =
      "x under the shape that ref_tensors[i].shape[begins[i]:ends[i]] give one after another; end_masks[i]: to the end";
  static constexpr Target from = iOS16;
  static constexpr TypeVar T{'T', movable};
  POM_IN(x, T);
  POM_VARIADIC(ref_tensors, {.domain = dtypes::any});
  POM_ATTR(begins, Ints, .form = AttributeRule::Form::tuple, .required = true, .inline_value = true);
  POM_ATTR(ends, Ints, .form = AttributeRule::Form::tuple, .required = true, .inline_value = true);
  POM_ATTR(end_masks, Ints, .wire = DType::boolean, .form = AttributeRule::Form::tuple, .required = true,
           .inline_value = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct transpose {
  static constexpr auto doc = "dim i of the result is dim perm[i] of x";
  static constexpr TypeVar T{'T', movable};
  POM_IN(x, T);
  POM_INTS(perm, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct reverse {
  static constexpr auto doc = "x with the order along axes (absent: all) turned round";
  static constexpr TypeVar T{'T', movable};
  POM_IN(x, T);
  POM_INTS(axes);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct reverse_sequence {
  static constexpr auto doc = "the first lengths[b] elements along seq_axis turned round, for each b of batch_axis";
  static constexpr TypeVar T{'T', movable};
  POM_IN(x, T);
  POM_IN(lengths, {'U', bounds});
  POM_ATTR(seq_axis, int) = 0;
  POM_ATTR(batch_axis, int) = 0;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct slice_by_index {
  static constexpr auto doc =
      "x[begin:end:stride] per dim as in Python. begin_mask, end_mask: that bound is open. squeeze_mask: only element "
      "`begin`, and the dim goes away. begin and end have one entry per dim";
  static constexpr TypeVar T{'T', movable}, U{'U', bounds};
  POM_IN(x, T);
  POM_IN(begin, U);
  POM_IN(end, U);
  POM_ATTR(stride, Ints, .var = U, .form = AttributeRule::Form::vector);
  POM_ATTR(begin_mask, Ints, .wire = DType::boolean, .form = AttributeRule::Form::vector);
  POM_ATTR(end_mask, Ints, .wire = DType::boolean, .form = AttributeRule::Form::vector);
  POM_ATTR(squeeze_mask, Ints, .wire = DType::boolean, .form = AttributeRule::Form::vector);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct slice_by_size {
  static constexpr auto doc = "size[i] elements of dim i from begin[i] (negative: from the end); size -1: the rest";
  static constexpr TypeVar T{'T', movable}, U{'U', bounds};
  POM_IN(x, T);
  POM_IN(begin, U);
  POM_IN(size, U);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct slice_update {
  static constexpr auto doc = "x with the elements that slice_by_index would take replaced by update";
  static constexpr Target from = iOS18;
  static constexpr TypeVar T{'T', movable}, U{'U', bounds};
  POM_IN(x, T);
  POM_IN(update, T);
  POM_IN(begin, U);
  POM_IN(end, U);
  POM_ATTR(stride, Ints, .var = U, .form = AttributeRule::Form::vector);
  POM_ATTR(begin_mask, Ints, .wire = DType::boolean, .form = AttributeRule::Form::vector);
  POM_ATTR(end_mask, Ints, .wire = DType::boolean, .form = AttributeRule::Form::vector);
  POM_ATTR(squeeze_mask, Ints, .wire = DType::boolean, .form = AttributeRule::Form::vector);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct sliding_windows {
  static constexpr auto doc = "windows of `size` elements along axis, `stride` apart, in a new dim right after it";
  static constexpr TypeVar T{'T', dtypes::fp_i | since(iOS17, dtypes::boolean | dtypes::small_ints)};
  POM_IN(x, T);
  POM_ATTR(axis, int, .required = true);
  POM_ATTR(size, int, .required = true);
  POM_ATTR(stride, int) = 1;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct depth_to_space {
  static constexpr auto doc =
      "out[n, c, h*b + i, w*b + j] = x[n, (i*b + j)*C + c, h, w], with C channels in the result";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_ATTR(block_size, int, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct space_to_depth {
  static constexpr auto doc = "the inverse of depth_to_space";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_ATTR(block_size, int, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct pixel_shuffle {
  static constexpr auto doc = "out[n, c, h*f + i, w*f + j] = x[n, c*f*f + i*f + j, h, w]";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_ATTR(upscale_factor, int, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct pixel_unshuffle {
  static constexpr auto doc = "the inverse of pixel_shuffle";
  static constexpr Target from = iOS16;
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_ATTR(downscale_factor, std::int64_t, .wire = DType::uint32, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct space_to_batch {
  static constexpr auto doc =
      "x [n, c, h, w], padded with 0 in h and w, cut into blocks of bh x bw: element (i, j) of every block goes to "
      "batch (i*bw + j)*n + b";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_INTS(block_shape, .required = true);
  POM_ATTR(paddings, Ints, .form = AttributeRule::Form::pairs, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct batch_to_space {
  static constexpr auto doc = "the inverse of space_to_batch, cropping in the place of padding";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_INTS(block_shape, .required = true);
  POM_ATTR(crops, Ints, .form = AttributeRule::Form::pairs, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
