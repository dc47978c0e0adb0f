#include "formats/onnx/elimination.h"

#include "ops/elementwise_binary.h"
#include "ops/elementwise_unary.h"
#include "ops/reduction.h"

namespace pomona::onnx {
namespace {

Value column(Lowering& g, std::int64_t n, auto&& value) {
  std::vector<double> numbers;
  for (std::int64_t i = 0; i < n; ++i) numbers.push_back(value(i));
  return g.constant(Tensor::from_numbers(DType::fp32, {1, n, 1}, numbers));
}

}  // namespace

Eliminated eliminate_column(Lowering& g, Value rows, std::int64_t c, std::int64_t n, bool singular_goes_on) {
  Value here = column(g, n, [&](std::int64_t i) { return double(i == c); });
  Value open = column(g, n, [&](std::int64_t i) { return double(i >= c); });
  Value lines = g.cast(column(g, n, [](std::int64_t i) { return double(i); }), DType::int32);
  // The row with the largest element, among those not used yet.
  Value size = g.add(mil::abs{.x = g.slice(rows, 2, c, c + 1)});
  Value candidates = g.minus(g.times(g.plus(size, 1), open), 1);
  Value best = g.add(mil::reduce_argmax{.x = candidates, .axis = 1, .keep_dims = true});
  Value there = g.cast(g.add(mil::equal{.x = lines, .y = best}), DType::fp32);
  auto sum = [&](Value x) { return g.add(mil::reduce_sum{.x = x, .axes = Ints{1}, .keep_dims = true}); };
  Value own = sum(g.times(rows, here)), pivot = sum(g.times(rows, there)), change = g.minus(pivot, own);
  rows = g.plus(rows, g.times(g.minus(here, there), change));
  Value factor_of_row = g.slice(pivot, 2, c, c + 1), divisor = factor_of_row;
  if (singular_goes_on)
    divisor = g.select(g.add(mil::equal{.x = divisor, .y = g.number(divisor, 0)}), g.number(divisor, 1), divisor);
  Value scaled = g.over(pivot, divisor), others = g.minus(g.number(here, 1), here);
  rows = g.minus(rows, g.times(g.times(g.slice(rows, 2, c, c + 1), others), scaled));
  rows = g.plus(g.times(rows, others), g.times(scaled, here));
  return {rows, factor_of_row, g.minus(g.times(sum(g.times(there, here)), 2), 1)};
}

}  // namespace pomona::onnx
