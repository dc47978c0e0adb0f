#include "ops/elementwise_unary.h"

#include "base/half.h"
#include "ops/catalogue.h"

namespace pomona::mil {

double rounded_to(DType dtype, double value) {
  if (dtype == DType::fp16) return half_to_float(double_to_half(value));
  return dtype == DType::fp32 ? double(float(value)) : value;
}

Result<Types> clip::infer(const At& at) const {
  POM_REQUIRE(at.opset < iOS17 || !(alpha >= beta), "alpha is {}, but must be below beta, which is {}", alpha.value,
              beta.value);
  return Types{x.type()};
}

Result<Types> cast::infer(const At& at) const {
  constexpr Domain targets = dtypes::fp_ib | since(iOS17, dtypes::small_ints);
  std::optional<DType> target = dtype_named(*dtype);
  POM_REQUIRE(target && targets.accepts(*target, iOS26), "cannot cast to '{}'", *dtype);
  POM_REQUIRE(targets.accepts(*target, at.opset), "a cast to {} needs {}, but the function is for {}", *dtype,
              name(iOS17), name(at.opset));
  return Types{tensor_type(*target, x.shape())};
}
std::optional<std::vector<Dim>> cast::contents(const At&) const {
  if (*dtype != "int32") return {};
  return x.contents();
}

std::vector<const OpDef*> elementwise_unary_chapter() {
  return op_list<acos, asin, atan, atanh, ceil, cos, cosh, erf, exp, floor, round, sin, sinh, sqrt, tan, tanh, abs,
                 exp2, sign, square, clip, inverse, log, rsqrt, threshold, logical_not, cast>();
}

}  // namespace pomona::mil
