// MIL operations that join, split, make, count, sort and repeat tensors.
//
//   Value both = g.add(mil::concat{.values = Values{a, b}, .axis = 1});
//   Values best = g.add_all(mil::topk{.x = scores, .k = 5});            // values and indices
//
// Ops that only move elements are in shape.h; reading and writing by index tensors is in gather_scatter.h.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct argsort {
  static constexpr auto doc =
      "the indices that sort x along axis, greatest first unless ascending; equal elements keep their order";
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_ATTR(axis, int) = -1;
  POM_ATTR(ascending, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct band_part {
  static constexpr auto doc =
      "element (m, n) of the last two dims where (lower < 0 or m - n <= lower) and (upper < 0 or n - m <= upper), "
      "else 0";
  static constexpr TypeVar T{'T', dtypes::fp_ib};
  POM_IN(x, T);
  POM_ATTR(lower, int) = -1;
  POM_ATTR(upper, int) = -1;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct concat {
  static constexpr auto doc =
      "values one after another along axis (scalars make a vector); interleave: element k of value j comes to "
      "k*count + j";
  static constexpr TypeVar T{'T', dtypes::all};
  POM_VARIADIC(values, T);
  POM_ATTR(axis, int, .required = true);
  POM_ATTR(interleave, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct cumsum {
  static constexpr auto doc =
      "sums of the elements along axis up to each one; exclusive: before each one; reverse: from the end";
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(x, T);
  POM_ATTR(axis, int) = 0;
  POM_ATTR(exclusive, bool) = false;
  POM_ATTR(reverse, bool) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct fill {
  static constexpr auto doc = "a tensor of the given shape that is value everywhere, in value's dtype";
  POM_IN(shape, {.domain = dtypes::i32});
  POM_ATTR(value, Scalar, .var = {'T', dtypes::fp_ib});
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct fill_like {
  static constexpr auto doc = "a tensor of ref_tensor's shape that is value everywhere, in value's dtype";
  static constexpr Target from = iOS16;
  POM_IN(ref_tensor, {'T', dtypes::fp_ib});
  POM_ATTR(value, Scalar, .var = {'U', dtypes::fp_ib});
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct flatten2d {
  static constexpr auto doc = "x as a matrix: the dims before axis, and the dims from axis on";
  static constexpr TypeVar T{'T', dtypes::fp_ib};
  POM_IN(x, T);
  POM_ATTR(axis, int) = 1;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct identity {
  static constexpr auto doc = "x: a tensor, list or dictionary";
  POM_IN(x, {'*', dtypes::any});
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct non_zero {
  static constexpr auto doc = "the indices of x's elements that are not 0, one row each, in row-major order";
  static constexpr TypeVar T{'T', dtypes::fp_ib};
  POM_IN(x, T);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct one_hot {
  static constexpr auto doc =
      "on_value where the index along the new axis equals indices, else off_value; the axis counts in the result";
  static constexpr TypeVar T{'T', dtypes::fp_ib};
  POM_IN(indices, {.domain = dtypes::i32});
  POM_IN(one_hot_vector_size, {.domain = dtypes::i32});
  POM_ATTR(axis, int) = -1;
  POM_ATTR(on_value, Scalar, .var = T) = Scalar { DType::int32, 1 };
  POM_ATTR(off_value, Scalar, .var = T) = Scalar { DType::int32, 0 };
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct pad {
  static constexpr auto doc =
      "x with elements added: pad is [before, after] of each of the last dims. mode constant: constant_val; reflect: "
      "mirrored, edge not repeated; replicate: the edge";
  static constexpr TypeVar T{'T', dtypes::fp};
  POM_IN(x, T);
  POM_IN(pad, {.domain = dtypes::i32});
  POM_ATTR(mode, std::string) = "constant";
  POM_FLOAT(constant_val, T) = 0.0;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct range_1d {
  static constexpr auto doc = "start, start + step, ... before end: ceil((end - start)/step) elements";
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(end, T);
  POM_IN(start, T);
  POM_IN(step, T);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct shape {
  static constexpr auto doc = "x's sizes as an int32 vector";
  static constexpr TypeVar T{'T', dtypes::fp_ib};
  POM_IN(x, T);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct split {
  static constexpr auto doc =
      "x cut along axis into pieces of split_sizes, or into num_splits equal ones; one result each";
  static constexpr TypeVar T{'T', dtypes::fp_ib};
  POM_IN(x, T);
  POM_ATTR(num_splits, std::optional<int>);
  POM_INTS(split_sizes);
  POM_ATTR(axis, int, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct stack {
  static constexpr auto doc = "values of one shape side by side along a new dim; the axis counts in the result";
  static constexpr TypeVar T{'T', dtypes::all};
  POM_VARIADIC(values, T);
  POM_ATTR(axis, int, .required = true);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct tile {
  static constexpr auto doc = "x repeated reps[i] times along dim i";
  static constexpr TypeVar T{'T', dtypes::fp_ib};
  POM_IN(x, T);
  POM_IN(reps, {.domain = dtypes::i32});
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct topk {
  static constexpr auto doc =
      "the k greatest (ascending: smallest) elements along axis in that order, and their indices; k = -1: all. Equal "
      "elements keep their order; sort = false leaves the order open, here it is sorted as well";
  static constexpr TypeVar T{'T', dtypes::fp_i | since(iOS17, dtypes::small_ints)};
  POM_IN(x, T);
  POM_ATTR(k, int, .var = {'K', dtypes::i32 | since(iOS17, dtypes::i8 | dtypes::i16)}) = 1;
  POM_ATTR(axis, int) = -1;
  POM_ATTR(ascending, bool) = false;
  POM_ATTR(sort, bool, .since = iOS16) = true;
  POM_ATTR(return_indices, bool, .since = iOS16) = true;
  POM_ATTR(output_indices_dtype, std::string, .since = iOS17) = "int32";
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
