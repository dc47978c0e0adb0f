// MIL lists: tensors of one dtype and shape in a row, used by loops that collect results. Lists are values: list_write
// returns another list.
//
//   Value ls = g.add(mil::make_list{.elem_shape = Ints{2, 3}, .dtype = "fp16"});
//
// The length in a list's Type is the one it was made with, as in Core ML's files; lists that grow do not show it, so
// nothing may be concluded from it. Elements not written yet are zeros.
#pragma once
#include "ir/op.h"

namespace pomona::mil {

struct make_list {
  static constexpr auto doc = "A list of init_length zero tensors; elem_shape holds sizes, or names of unknown sizes";
  static constexpr TypeVar I{'I', dtypes::i32};
  POM_OPTIONAL(init_length, I);  // absent: 1
  POM_ATTR(dynamic_length, bool) = true;
  // Strings when a size is unknown; numbers among them are sizes: {"n", "3"}.
  POM_ATTR(elem_shape, IntsOrStrings, .form = AttributeRule::Form::tuple, .required = true);
  POM_ATTR(dtype, std::string) = "fp32";
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct list_length {
  static constexpr auto doc = "The number of elements";
  POM_IN(ls, .kind = Type::Kind::list);
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct list_read {
  static constexpr auto doc = "The element at an index";
  POM_IN(ls, .kind = Type::Kind::list);
  POM_IN(index, {'I', dtypes::i32});
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct list_write {
  static constexpr auto doc = "The list with value at an index; it grows when the index is past its end";
  POM_IN(ls, .kind = Type::Kind::list);
  POM_IN(index, {'I', dtypes::i32});
  POM_IN(value, {'T', dtypes::fp_ib});
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct list_gather {
  static constexpr auto doc = "The elements at indices, stacked along a new first axis";
  POM_IN(ls, .kind = Type::Kind::list);
  POM_IN(indices, {'I', dtypes::i32});
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};
struct list_scatter {
  static constexpr auto doc = "The list with value[k] at indices[k]; it grows when an index is past its end";
  POM_IN(ls, .kind = Type::Kind::list);
  POM_IN(indices, {'I', dtypes::i32});
  POM_IN(value, {'T', dtypes::fp_ib});
  Result<Types> infer(const At&) const;
  Result<Tensors> eval(const At&) const;
};

}  // namespace pomona::mil
