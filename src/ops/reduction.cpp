#include "ops/reduction.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/threads.h"
#include "ops/axes.h"
#include "ops/catalogue.h"
#include "ops/elementwise_unary.h"

namespace pomona::mil {
namespace {

Shape reduced_shape(const Shape& shape, const std::vector<bool>& chosen, bool keep_dims) {
  Shape result;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (!chosen[axis])
      result.push_back(shape[axis]);
    else if (keep_dims)
      result.push_back(1);
  }
  return result;
}

template <class Op>
Result<Types> reduced_types(const Op& op) {
  auto chosen = POM_TRY(chosen_axes(op.axes, op.x.rank()));
  return Types{tensor_type(op.x.dtype(), reduced_shape(op.x.shape(), chosen, op.keep_dims))};
}

// f(row) of every row of elements, as doubles.
template <class N, class F>
std::vector<double> each_row(const std::vector<N>& values, const Rows& rows, const F& f) {
  std::vector<double> results(rows.first.size());
  parallel_for(results.size(), 1 + 4096 / (rows.step.size() + 1), [&](std::size_t begin, std::size_t end) {
    std::vector<N> row(rows.step.size());
    for (std::size_t r = begin; r < end; ++r) {
      for (std::size_t i = 0; i < row.size(); ++i) row[i] = values[rows.first[r] + rows.step[i]];
      results[r] = double(f(std::span<const N>(row)));
    }
  });
  return results;
}

// `f` takes a row of doubles; `on_integers`, where exact arithmetic differs, one of std::int64_t.
template <class Op, class F, class G>
Result<Tensors> reduce(const Op& op, const F& f, const G& on_integers) {
  Type type = POM_TRY(reduced_types(op))[0];
  Rows rows = rows_along(op.x.sizes(), POM_TRY(chosen_axes(op.axes, op.x.rank())));
  std::vector<double> results = is_float(op.x.dtype()) ? each_row(op.x.tensor().numbers(), rows, f)
                                                       : each_row(op.x.tensor().integers(), rows, on_integers);
  return Tensors{Tensor::from_numbers(type.dtype, known_sizes(type.shape), results)};
}
// An int32 result is the double's whole part.
template <class Op, class F>
Result<Tensors> reduce(const Op& op, const F& f) {
  return reduce(op, f, [&](std::span<const std::int64_t> row) {
    std::vector<double> numbers(row.begin(), row.end());
    return f(std::span<const double>(numbers));
  });
}

template <class F>
double total(std::span<const double> row, F f) {
  double sum = 0;
  for (double v : row) sum += f(v);
  return sum;
}
// Modulo 2^32.
template <class F>
std::int64_t total(std::span<const std::int64_t> row, F f) {
  std::uint64_t sum = 0;
  for (std::int64_t v : row) sum += f(std::uint64_t(v));
  return wrapped_to_int32(sum);
}

double largest(std::span<const double> row) {
  double most = -HUGE_VAL;
  for (double v : row)
    if (v > most || v != v) most = v;
  return most;
}

constexpr auto itself = [](auto v) { return v; };
constexpr auto squared = [](auto v) { return v * v; };

std::optional<Dim> fold_contents(const InputField& x, const Ints& axes, Dim start, Dim (*f)(Dim, Dim)) {
  auto contents = x.contents();
  if (x.dtype() != DType::int32 || !contents || !chosen_axes(axes, x.rank())) return {};
  for (Dim d : *contents) start = f(start, d);
  if (!fits_int32(start)) return {};
  return start;
}

// `better(a, b)`: a goes before b.
template <class Op, class F>
Result<Tensors> position(const Op& op, const At& at, F better) {
  Type type = POM_TRY(op.infer(at))[0];
  std::vector<bool> chosen(op.x.rank(), false);
  chosen[*normal_axis(op.axis, op.x.rank())] = true;
  std::vector<double> results =
      each_row(op.x.tensor().numbers(), rows_along(op.x.sizes(), chosen), [&](std::span<const double> row) {
        std::size_t best = 0;
        for (std::size_t i = 1; i < row.size() && row[best] == row[best]; ++i)
          if (better(row[i], row[best]) || row[i] != row[i]) best = i;
        return double(best);
      });
  return Tensors{Tensor::from_numbers(type.dtype, known_sizes(type.shape), results)};
}

template <class Op>
Result<Types> position_types(const Op& op) {
  auto axis = normal_axis(op.axis, op.x.rank());
  POM_REQUIRE(axis, "axis {} is outside a tensor of rank {}", op.axis.value, op.x.rank());
  POM_REQUIRE(!(op.x.shape()[*axis] == 0), "there is no element along axis {}", op.axis.value);
  std::string dtype = op.output_dtype;
  std::transform(dtype.begin(), dtype.end(), dtype.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  POM_REQUIRE(dtype == "int32" || dtype == "uint16", "output_dtype is '{}', not int32 or uint16", *op.output_dtype);
  std::vector<bool> chosen(op.x.rank(), false);
  chosen[*axis] = true;
  return Types{tensor_type(*dtype_named(dtype), reduced_shape(op.x.shape(), chosen, op.keep_dims))};
}

}  // namespace

Result<Types> reduce_l1_norm::infer(const At&) const { return reduced_types(*this); }
Result<Types> reduce_l2_norm::infer(const At&) const { return reduced_types(*this); }
Result<Types> reduce_log_sum::infer(const At&) const { return reduced_types(*this); }
Result<Types> reduce_log_sum_exp::infer(const At&) const { return reduced_types(*this); }
Result<Types> reduce_max::infer(const At&) const { return reduced_types(*this); }
Result<Types> reduce_mean::infer(const At&) const { return reduced_types(*this); }
Result<Types> reduce_min::infer(const At&) const { return reduced_types(*this); }
Result<Types> reduce_prod::infer(const At&) const { return reduced_types(*this); }
Result<Types> reduce_sum::infer(const At&) const { return reduced_types(*this); }
Result<Types> reduce_sum_square::infer(const At&) const { return reduced_types(*this); }
Result<Types> reduce_argmax::infer(const At&) const { return position_types(*this); }
Result<Types> reduce_argmin::infer(const At&) const { return position_types(*this); }

Result<Tensors> reduce_l1_norm::eval(const At&) const {
  return reduce(*this, [](std::span<const double> row) { return total(row, [](double v) { return std::fabs(v); }); });
}
Result<Tensors> reduce_l2_norm::eval(const At&) const {
  return reduce(*this, [](std::span<const double> row) { return std::sqrt(total(row, squared)); });
}
Result<Tensors> reduce_log_sum::eval(const At&) const {
  return reduce(*this, [](std::span<const double> row) { return std::log(total(row, itself)); });
}
Result<Tensors> reduce_log_sum_exp::eval(const At&) const {
  return reduce(*this, [](std::span<const double> row) {
    double most = largest(row);
    if (!std::isfinite(most)) return most;
    return most + std::log(total(row, [&](double v) { return std::exp(v - most); }));
  });
}
Result<Tensors> reduce_max::eval(const At&) const {
  return reduce(*this, largest, [](std::span<const std::int64_t> row) {
    return row.empty() ? std::int64_t(lowest_value(DType::int32)) : *std::max_element(row.begin(), row.end());
  });
}
Result<Tensors> reduce_min::eval(const At&) const {
  return reduce(
      *this,
      [](std::span<const double> row) {
        double least = HUGE_VAL;
        for (double v : row)
          if (v < least || v != v) least = v;
        return least;
      },
      [](std::span<const std::int64_t> row) {
        return row.empty() ? std::int64_t(highest_value(DType::int32)) : *std::min_element(row.begin(), row.end());
      });
}
Result<Tensors> reduce_mean::eval(const At&) const {
  return reduce(*this, [](std::span<const double> row) { return total(row, itself) / double(row.size()); });
}
Result<Tensors> reduce_sum::eval(const At&) const {
  return reduce(*this, [](auto row) { return total(row, itself); }, [](auto row) { return total(row, itself); });
}
Result<Tensors> reduce_sum_square::eval(const At&) const {
  return reduce(*this, [](auto row) { return total(row, squared); }, [](auto row) { return total(row, squared); });
}
Result<Tensors> reduce_prod::eval(const At&) const {
  return reduce(
      *this,
      [](std::span<const double> row) {
        double product = 1;
        for (double v : row) product *= v;
        return product;
      },
      [](std::span<const std::int64_t> row) {
        std::uint64_t product = 1;
        for (std::int64_t v : row) product *= std::uint64_t(v);
        return wrapped_to_int32(product);
      });
}
Result<Tensors> reduce_argmax::eval(const At& at) const { return position(*this, at, std::greater<double>()); }
Result<Tensors> reduce_argmin::eval(const At& at) const { return position(*this, at, std::less<double>()); }

std::optional<std::vector<Dim>> reduce_prod::contents(const At&) const {
  auto product = fold_contents(x, axes, 1, [](Dim a, Dim b) { return a * b; });
  if (!product) return {};
  return std::vector{*product};
}
std::optional<std::vector<Dim>> reduce_sum::contents(const At&) const {
  auto sum = fold_contents(x, axes, 0, [](Dim a, Dim b) { return a + b; });
  if (!sum) return {};
  return std::vector{*sum};
}

std::vector<const OpDef*> reduction_chapter() {
  return op_list<reduce_l1_norm, reduce_l2_norm, reduce_log_sum, reduce_log_sum_exp, reduce_max, reduce_mean,
                 reduce_min, reduce_prod, reduce_sum, reduce_sum_square, reduce_argmax, reduce_argmin>();
}

}  // namespace pomona::mil
