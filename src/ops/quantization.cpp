#include "ops/quantization.h"

#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "ops/axes.h"
#include "ops/catalogue.h"

namespace pomona::mil {
namespace {

Status check_parameters(const InputField& x, const InputField& scale, const InputField& zero_point,
                        const std::optional<int>& axis) {
  POM_REQUIRE(scale.rank() <= 1, "scale has rank {}, not 0 or 1", scale.rank());
  POM_REQUIRE(!zero_point || zero_point.rank() == scale.rank(), "zero_point has rank {}, but scale has rank {}",
              zero_point.rank(), scale.rank());
  if (scale.rank() == 0) {
    POM_REQUIRE(!axis, "axis is given, but scale is a scalar");
    return {};
  }
  POM_REQUIRE(axis, "axis is missing, but scale has {} elements", scale.shape()[0].text());
  auto along = normal_axis(*axis, x.rank());
  POM_REQUIRE(along, "axis {} is outside an input of rank {}", *axis, x.rank());
  Dim size = x.shape()[*along];
  POM_REQUIRE(may_equal(scale.shape()[0], size), "scale has {} elements, but the input has {} at axis {}",
              scale.shape()[0].text(), size.text(), *axis);
  POM_REQUIRE(!zero_point || may_equal(zero_point.shape()[0], size),
              "zero_point has {} elements, but the input has {} at axis {}", zero_point.shape()[0].text(), size.text(),
              *axis);
  return {};
}

// f(value, scale, zero point) for every element of x.
template <class F>
Tensor map_parameters(const InputField& x, const InputField& scale, const InputField& zero_point,
                      const std::optional<int>& axis, DType result, F f) {
  std::vector<double> values = x.tensor().numbers(), scales = scale.tensor().numbers();
  std::vector<double> zeros = zero_point ? zero_point.tensor().numbers() : std::vector<double>(scales.size(), 0.0);
  std::size_t inner = 1, size = 1;
  if (axis) {
    std::size_t along = *normal_axis(*axis, x.rank());
    inner = std::size_t(strides_of(x.sizes())[along]);
    size = std::size_t(x.sizes()[along]);
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::size_t at = i / inner % size;
    values[i] = f(values[i], scales[at], zeros[at]);
  }
  return Tensor::from_numbers(result, x.sizes(), values);
}

}  // namespace

Result<Types> quantize::infer(const At&) const {
  POM_REQUIRE(*output_dtype == "int8" || *output_dtype == "uint8", "output_dtype is '{}', not int8 or uint8",
              *output_dtype);
  DType result = *dtype_named(*output_dtype);
  POM_REQUIRE(!zero_point || zero_point.dtype() == result, "zero_point is {}, but output_dtype is {}",
              name(zero_point.dtype()), *output_dtype);
  POM_TRY(check_parameters(input, scale, zero_point, axis));
  return Types{tensor_type(result, input.shape())};
}
Result<Tensors> quantize::eval(const At& at) const {
  DType result = POM_TRY(infer(at))[0].dtype;
  double lowest = lowest_value(result), highest = highest_value(result);
  bool half = input.dtype() == DType::fp16;
  return Tensors{map_parameters(input, scale, zero_point, axis, result, [&](double x, double s, double zero) {
    // The quotient in the input's dtype, so that halves are the same ones; not a number becomes the zero point.
    double quotient = half ? half_to_float(double_to_half(x / s)) : float(x / s);
    double level = quotient != quotient ? 0 : std::nearbyint(quotient);
    return std::clamp(level + zero, lowest, highest);
  })};
}

Result<Types> dequantize::infer(const At&) const {
  POM_TRY(check_parameters(input, scale, zero_point, axis));
  return Types{tensor_type(scale.dtype(), input.shape())};
}
Result<Tensors> dequantize::eval(const At& at) const {
  POM_TRY(infer(at));
  return Tensors{map_parameters(input, scale, zero_point, axis, scale.dtype(),
                                [](double q, double s, double zero) { return s * (q - zero); })};
}

std::vector<const OpDef*> quantization_chapter() { return op_list<quantize, dequantize>(); }

}  // namespace pomona::mil
