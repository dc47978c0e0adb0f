// MIL operations that read or write elements at places given by an integer tensor.
//
//   Value rows = g.add(mil::gather{.x = table, .indices = ids, .axis = 0, .validate_indices = false});
//
// Up to iOS16 an index may be negative and counts from the end; anything else outside is an error. Since iOS17 every
// index outside [0, size) is out of bounds: an error with validate_indices, else undefined in Core ML. Here a read
// out of bounds then gives 0 and a write is left out.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct gather {
  static constexpr auto doc =
      "x[:axis] + indices[batch_dims:] + x[axis+1:]: slices of x along axis; the first batch_dims dims of x and "
      "indices "
      "go together";
  static constexpr TypeVar T{'T', dtypes::fp_i | since(iOS17, dtypes::small_ints)};
  static constexpr TypeVar I{
      'I', dtypes::i32 | since(iOS16, dtypes::i16 | dtypes::u16) | since(iOS17, dtypes::i8 | dtypes::u8)};
  POM_IN(x, T);
  POM_IN(indices, I);
  POM_ATTR(axis, int) = 0;
  POM_ATTR(batch_dims, int, .since = iOS16) = 0;
  POM_ATTR(validate_indices, bool, .since = iOS17) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
  std::optional<std::vector<Dim>> contents(const At&) const;
};
struct gather_along_axis {
  static constexpr auto doc = "out[.., i, ..] = x[.., indices[.., i, ..], ..]";
  static constexpr TypeVar T = gather::T, I = gather::I;
  POM_IN(x, T);
  POM_IN(indices, I);
  POM_ATTR(axis, int) = 0;
  POM_ATTR(validate_indices, bool, .since = iOS17) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct gather_nd {
  static constexpr auto doc =
      "x at the index tuples in the last dim of indices: indices[:-1] + x[batch_dims + K:], K the tuples' length";
  static constexpr TypeVar T = gather::T, I = gather::I;
  POM_IN(x, T);
  POM_IN(indices, I);
  POM_ATTR(batch_dims, int, .since = iOS16) = 0;
  POM_ATTR(validate_indices, bool, .since = iOS17) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct scatter {
  static constexpr auto doc =
      "data with slice indices[i] along axis changed by slice i of updates. mode: update, add, sub, mul, div, max, min";
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(data, T);
  POM_IN(indices, {.domain = dtypes::i32});
  POM_IN(updates, T);
  POM_ATTR(axis, int) = 0;
  POM_ATTR(mode, std::string) = "add";
  POM_ATTR(validate_indices, bool, .since = iOS17) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct scatter_along_axis {
  static constexpr auto doc = "data with element [.., indices[.., i, ..], ..] changed by updates[.., i, ..]";
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(data, T);
  POM_IN(indices, {.domain = dtypes::i32});
  POM_IN(updates, T);
  POM_ATTR(axis, int) = 0;
  POM_ATTR(mode, std::string) = "add";
  POM_ATTR(validate_indices, bool, .since = iOS17) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct scatter_nd {
  static constexpr auto doc = "data with the places named by the index tuples in the last dim of indices changed";
  static constexpr TypeVar T{'T', dtypes::fp_i};
  POM_IN(data, T);
  POM_IN(indices, {.domain = dtypes::i32});
  POM_IN(updates, T);
  POM_ATTR(mode, std::string) = "add";
  POM_ATTR(validate_indices, bool, .since = iOS17) = false;
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
