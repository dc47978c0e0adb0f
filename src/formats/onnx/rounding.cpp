#include <cmath>
#include <limits>
#include <numbers>

#include "formats/onnx/lowering.h"
#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"

// Roundings to floating-point formats that Core ML does not compute in.
namespace pomona::onnx {
namespace {

// The largest power of two that |x| reaches, 2^lowest at least.
Value power_below(Lowering& g, Value size, int lowest) {
  constexpr double highest = 127;
  Value safe = g.add(mil::maximum{.x = size, .y = g.number(size, std::ldexp(1.0, lowest))});
  safe = g.add(mil::minimum{.x = safe, .y = g.number(size, std::ldexp(1.0, int(highest)))});
  Value logarithm = g.times(g.add(mil::log{.x = safe, .epsilon = 0.0}), std::numbers::log2e);
  Value exponent = g.add(mil::minimum{.x = g.add(mil::floor{.x = logarithm}), .y = g.number(size, highest)});
  Value power = g.add(mil::exp2{.x = exponent});
  // The logarithm is rounded and may be one off.
  Value share = g.over(safe, power), half = g.times(power, 0.5), twice = g.times(power, 2);
  Value raised = g.select(g.add(mil::greater_equal{.x = share, .y = g.number(size, 2)}), twice, power);
  return g.select(g.add(mil::less{.x = share, .y = g.number(size, 1)}), half, raised);
}

}  // namespace

Value Lowering::rounded_to(Value given, Elem elem, bool saturate) {
  const NarrowFloat* format = narrow_float(elem);
  if (!given || !format) return given;
  Value x = cast(given, DType::fp32), size = add(mil::abs{.x = x});
  Value power = power_below(*this, size, std::max(format->smallest_exponent, -126));
  // Steps of the format are 2^-mantissa_bits of the power.
  double steps = std::ldexp(1.0, format->mantissa_bits);
  Value whole = add(mil::round{.x = times(over(x, power), steps)});
  Value y = times(times(whole, 1 / steps), power);
  Value beyond = add(mil::greater{.x = add(mil::abs{.x = y}), .y = number(y, format->largest)});
  bool held = saturate || format->saturates_always;
  if (elem == Elem::bfloat16) held = false;
  double limit = held               ? format->largest
                 : format->infinite ? std::numeric_limits<double>::infinity()
                                    : std::numeric_limits<double>::quiet_NaN();
  y = select(beyond, times(add(mil::sign{.x = x}), limit), y);
  // What is no number stays none.
  Value number_here = add(mil::equal{.x = x, .y = x});
  return select(number_here, y, elem == Elem::float4e2m1 ? number(x, 0) : x);
}

Value Lowering::rounded_to_power(Value given, const std::string& mode) {
  if (!given) return given;
  if (mode != "up" && mode != "down" && mode != "nearest") return builder_.refuse(fail("round_mode is '{}'", mode));
  Value x = cast(given, DType::fp32), power = power_below(*this, add(mil::abs{.x = x}), -126);
  if (mode == "down") return power;
  Value share = over(x, power);
  Value up = mode == "up" ? add(mil::greater{.x = share, .y = number(share, 1)})
                          : add(mil::greater_equal{.x = share, .y = number(share, 1.5)});
  return select(up, times(power, 2), power);
}

}  // namespace pomona::onnx
