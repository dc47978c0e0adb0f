// The ops of the chapter that look at elements' values: sorting, sums, bands, ranges, counting.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/axes.h"
#include "ops/element_moves.h"
#include "ops/shape_rules.h"
#include "ops/tensor_operation.h"

namespace pomona::mil {
namespace {

// Positions 0, 1, ... of a row in the order of its values, equal ones in their own. NaN counts as greater than all, as
// in NumPy.
std::vector<std::size_t> sorted_positions(const std::vector<double>& values, std::size_t first,
                                          const std::vector<std::size_t>& step, bool ascending) {
  auto less = [](double a, double b) { return a < b || (std::isnan(b) && !std::isnan(a)); };
  std::vector<std::size_t> order(step.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t k) {
    double a = values[first + step[i]], b = values[first + step[k]];
    if (less(a, b)) return ascending;
    if (less(b, a)) return !ascending;
    return i < k;
  });
  return order;
}

}  // namespace

Result<Types> argsort::infer(const At&) const {
  POM_TRY(checked_axis(axis, x.rank()));
  return Types{tensor_type(DType::int32, x.shape())};
}
Result<Tensors> argsort::eval(const At&) const {
  std::vector<double> values = x.tensor().numbers();
  Tensor result(DType::int32, x.sizes());
  result.mutable_data();
  Rows rows = rows_along(x.sizes(), POM_TRY(chosen_axes({*axis}, x.rank())));
  for (std::size_t first : rows.first) {
    std::vector<std::size_t> order = sorted_positions(values, first, rows.step, ascending);
    for (std::size_t i = 0; i < order.size(); ++i) result.set_number(first + rows.step[i], double(order[i]));
  }
  return Tensors{std::move(result)};
}

Result<Types> topk::infer(const At&) const {
  std::size_t along = POM_TRY(checked_axis(axis, x.rank()));
  Dim length = x.shape()[along];
  POM_REQUIRE(k >= -1 && (!length.known() || *k <= length.value()), "k is {}, but x has {} elements along axis", *k,
              length.text());
  POM_REQUIRE(*output_indices_dtype == "int32" || *output_indices_dtype == "uint16",
              "output_indices_dtype is '{}', not int32 or uint16", *output_indices_dtype);
  POM_REQUIRE(*output_indices_dtype == "int32" || !length.known() || length.value() <= 65536,
              "indices of {} elements do not fit into uint16", length.text());
  Type values = x.type();
  values.shape[along] = *k == -1 ? length : Dim(*k);
  Types types{values};
  if (return_indices) types.push_back(tensor_type(*dtype_named(*output_indices_dtype), values.shape));
  return types;
}
Result<Tensors> topk::eval(const At& at) const {
  Types types = POM_TRY(infer(at));
  Sizes sizes = known_sizes(types[0].shape);
  std::vector<double> all = x.tensor().numbers();
  Tensor values(x.dtype(), sizes), indices(return_indices ? types[1].dtype : DType::int32, sizes);
  indices.mutable_data();
  std::vector<bool> chosen = POM_TRY(chosen_axes({*axis}, x.rank()));
  Rows from = rows_along(x.sizes(), chosen), to = rows_along(sizes, chosen);
  // Rows come in the same order: the other dims are equal.
  for (std::size_t r = 0; r < to.first.size(); ++r) {
    std::vector<std::size_t> order = sorted_positions(all, from.first[r], from.step, ascending);
    for (std::size_t i = 0; i < to.step.size(); ++i) {
      std::size_t place = to.first[r] + to.step[i];
      copy_elements(values, std::int64_t(place), x.tensor(), std::int64_t(from.first[r] + from.step[order[i]]), 1);
      indices.set_number(place, double(order[i]));
    }
  }
  Tensors results{std::move(values)};
  if (return_indices) results.push_back(std::move(indices));
  return results;
}

Result<Types> cumsum::infer(const At&) const {
  POM_TRY(checked_axis(axis, x.rank()));
  return Types{x.type()};
}
Result<Tensors> cumsum::eval(const At&) const {
  Rows rows = rows_along(x.sizes(), POM_TRY(chosen_axes({*axis}, x.rank())));
  std::vector<double> values = x.tensor().numbers();
  bool whole = x.dtype() == DType::int32;
  for (std::size_t first : rows.first) {
    double sum = 0;
    for (std::size_t i = 0; i < rows.step.size(); ++i) {
      double& value = values[first + rows.step[reverse ? rows.step.size() - 1 - i : i]];
      double before = sum;
      sum += value;
      // Wrapped at each step: int32 sums stay exact in a double.
      if (whole) sum = double(std::int32_t(std::uint32_t(std::int64_t(sum))));
      value = exclusive ? before : sum;
    }
  }
  return Tensors{Tensor::from_numbers(x.dtype(), x.sizes(), values)};
}

Result<Types> band_part::infer(const At&) const {
  POM_REQUIRE(x.rank() >= 2, "x has rank {}, but at least 2 is needed", x.rank());
  return Types{x.type()};
}
Result<Tensors> band_part::eval(const At& at) const {
  POM_TRY(infer(at));
  Tensor result = x.tensor();
  result.mutable_data();
  std::int64_t rows = x.sizes()[x.rank() - 2], columns = x.sizes()[x.rank() - 1];
  for (std::size_t i = 0, count = result.count(); i < count; ++i) {
    std::int64_t n = std::int64_t(i) % columns, m = std::int64_t(i) / columns % rows;
    bool kept = (lower < 0 || m - n <= *lower) && (upper < 0 || n - m <= *upper);
    if (!kept) result.set_number(i, 0);
  }
  return Tensors{std::move(result)};
}

Result<Types> non_zero::infer(const At&) const {
  return Types{tensor_type(DType::int32, {Dim::unknown(), Dim(std::int64_t(x.rank()))})};
}
Result<Tensors> non_zero::eval(const At&) const {
  Sizes strides = strides_of(x.sizes());
  std::vector<double> found;
  std::int64_t count = 0;
  for (std::size_t i = 0, all = x.tensor().count(); i < all; ++i) {
    if (x.tensor().number(i) == 0) continue;
    ++count;
    for (std::size_t d = 0; d < x.rank(); ++d) found.push_back(double(std::int64_t(i) / strides[d] % x.sizes()[d]));
  }
  return Tensors{Tensor::from_numbers(DType::int32, {count, std::int64_t(x.rank())}, found)};
}

namespace {

struct Progression {
  double first, step;
  std::int64_t count;
};

// The three numbers as a progression, with its length checked.
Result<Progression> progression(double end, double start, double step) {
  POM_REQUIRE(step != 0 && std::isfinite(step) && std::isfinite(start) && std::isfinite(end),
              "start is {}, end {} and step {}, which makes no range", start, end, step);
  double count = std::max(0.0, std::ceil((end - start) / step));
  POM_REQUIRE(count <= 0x1p40, "start is {}, end {} and step {}: the range would be too long", start, end, step);
  return Progression{start, step, std::int64_t(count)};
}

// The length for integers of which some are only known as expressions.
Dim symbolic_count(const range_1d& r) {
  auto end = r.end.contents(), start = r.start.contents(), step = r.step.contents();
  bool known = end && start && step && end->size() == 1 && start->size() == 1 && step->size() == 1;
  if (!known || !(*step)[0].known() || (*step)[0] == 0) return Dim::unknown();
  std::int64_t stride = (*step)[0].value();
  Dim distance = stride > 0 ? (*end)[0] - (*start)[0] : (*start)[0] - (*end)[0];
  std::int64_t size = stride > 0 ? stride : -stride;
  Dim count = floor_div(distance + (size - 1), size);
  return never_negative(distance) ? count : maximum(count, 0);
}

Status check_scalars(const range_1d& r) {
  for (const InputField* field : {static_cast<const InputField*>(&r.end), static_cast<const InputField*>(&r.start),
                                  static_cast<const InputField*>(&r.step)}) {
    Dim count = element_count(field->shape());
    POM_REQUIRE(!count.known() || count == 1, "'{}' has shape {}; it must be a scalar", field->info().name,
                to_string(field->shape()));
  }
  return {};
}

}  // namespace

Result<Types> range_1d::infer(const At&) const {
  POM_TRY(check_scalars(*this));
  auto to = known_number(end), from = known_number(start), by = known_number(step);
  Dim count;
  if (to && from && by)
    count = POM_TRY(progression(*to, *from, *by)).count;
  else
    count = symbolic_count(*this);
  return Types{tensor_type(end.dtype(), {count})};
}
Result<Tensors> range_1d::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Tensor result = POM_TRY(make_tensor(type.dtype, type.shape));
  double from = start.tensor().number(0), by = step.tensor().number(0);
  result.mutable_data();
  for (std::size_t i = 0, count = result.count(); i < count; ++i) result.set_number(i, from + double(i) * by);
  return Tensors{std::move(result)};
}
std::optional<std::vector<Dim>> range_1d::contents(const At& at) const {
  constexpr std::int64_t longest = 1024;
  auto types = infer(at);
  auto first = start.contents(), by = step.contents();
  if (!types || !first || !by || first->size() != 1 || by->size() != 1) return {};
  Dim count = (*types)[0].shape[0];
  if (!count.known() || count.value() > longest) return {};
  std::vector<Dim> dims;
  for (std::int64_t i = 0; i < count.value(); ++i) dims.push_back((*first)[0] + (*by)[0] * i);
  return dims;
}

}  // namespace pomona::mil
