#include "ir/type.h"

#include <fmt/format.h>

namespace pomona {

std::string Type::text() const {
  if (kind == Kind::dictionary) return fmt::format("dict<{}, {}>", name(key), name(dtype));
  std::string tensor =
      dtype == DType::string && shape.empty() ? "string" : fmt::format("tensor<{}, {}>", name(dtype), to_string(shape));
  if (kind == Kind::list) return fmt::format("list<{}, {}>", tensor, length.text());
  if (kind == Kind::state) return fmt::format("state<{}>", tensor);
  return tensor;
}

}  // namespace pomona
