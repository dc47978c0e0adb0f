// The type of an SSA value: a tensor, or one of the few other things MIL has.
#pragma once
#include <string>

#include "ir/dim.h"
#include "ir/dtype.h"

namespace pomona {

struct Type {
  enum class Kind : std::uint8_t {
    tensor,      // dtype[shape]
    list,        // `length` tensors of dtype[shape]
    dictionary,  // from `key` to dtype, as a classifier returns
    state,       // a buffer of dtype[shape] that lives between calls
  };
  DType dtype = DType::fp32;
  Shape shape = {};
  Kind kind = Kind::tensor;
  Dim length = 0;             // of a list
  DType key = DType::string;  // of a dictionary

  std::size_t rank() const { return shape.size(); }
  friend bool operator==(const Type&, const Type&) = default;
  std::string text() const;  // "tensor<fp32, [1, h]>"
};
inline Type tensor_type(DType dtype, Shape shape) { return {dtype, std::move(shape)}; }

}  // namespace pomona
