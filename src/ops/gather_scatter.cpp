#include "ops/gather_scatter.h"

#include <algorithm>

#include "ops/catalogue.h"
#include "ops/element_moves.h"
#include "ops/shape_rules.h"

namespace pomona::mil {
namespace {

// How an index is read; see the header.
struct IndexRule {
  bool from_the_end, validate;
  IndexRule(Target opset, bool validate_indices)
      : from_the_end(opset < iOS17), validate(opset < iOS17 || validate_indices) {}
  // The index within [0, size), or -1 when it is out of bounds and nobody validates.
  Result<std::int64_t> operator()(std::int64_t index, std::int64_t size) const {
    std::int64_t normal = from_the_end && index < 0 ? index + size : index;
    if (normal >= 0 && normal < size) return normal;
    POM_REQUIRE(!validate, "index {} is outside a size of {}", index, size);
    return -1;
  }
};

std::int64_t product(const Sizes& sizes, std::size_t first, std::size_t last) {
  std::int64_t count = 1;
  for (std::size_t d = first; d < last; ++d) count *= sizes[d];
  return count;
}
Shape part(const Shape& shape, std::size_t first, std::size_t last) {
  return Shape(shape.begin() + std::ptrdiff_t(first), shape.begin() + std::ptrdiff_t(last));
}
Shape joined(Shape a, const Shape& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Places in a tensor that an op reads or writes, runs of `run` elements each: first elements, -1 where left out.
struct Places {
  std::vector<std::int64_t> firsts;
  std::int64_t run = 1;
};

Tensor read_places(const Tensor& x, const Places& places, Tensor result) {
  for (std::size_t i = 0; i < places.firsts.size(); ++i)
    if (places.firsts[i] >= 0) copy_elements(result, std::int64_t(i) * places.run, x, places.firsts[i], places.run);
  return result;
}

template <class N>
N combine(const std::string& mode, N old, N update) {
  if (mode == "add") return old + update;
  if (mode == "sub") return old - update;
  if (mode == "mul") return old * update;
  if (mode == "max") return old < update || update != update ? update : old;
  if (mode == "min") return update < old || update != update ? update : old;
  return update;
}
// int32's own arithmetic: wrapping; a division by 0 gives 0.
std::int64_t combine_integers(const std::string& mode, std::int64_t old, std::int64_t update) {
  std::int64_t value = combine(mode, old, update);
  if (mode == "div") value = update == 0 ? 0 : old / update;
  return std::int32_t(std::uint32_t(value));
}

Status check_mode(const std::string& mode) {
  for (const char* known : {"update", "add", "sub", "mul", "div", "max", "min"})
    if (mode == known) return {};
  return fail("mode is '{}', not update, add, sub, mul, div, max or min", mode);
}

Tensors write_places(const Tensor& data, const Places& places, const Tensor& updates, const std::string& mode) {
  Tensor result = data;
  if (mode == "update") {
    for (std::size_t i = 0; i < places.firsts.size(); ++i)
      if (places.firsts[i] >= 0)
        copy_elements(result, places.firsts[i], updates, std::int64_t(i) * places.run, places.run);
    return {std::move(result)};
  }
  // Several updates of one place add up before they are rounded.
  std::vector<double> values = data.numbers(), change = updates.numbers();
  bool integers = !is_float(data.dtype());
  for (std::size_t i = 0; i < change.size(); ++i) {
    std::int64_t first = places.firsts[i / std::size_t(places.run)];
    if (first < 0) continue;
    double& value = values[std::size_t(first) + i % std::size_t(places.run)];
    if (integers)
      value = double(combine_integers(mode, std::int64_t(value), std::int64_t(change[i])));
    else
      value = mode == "div" ? value / change[i] : combine(mode, value, change[i]);
  }
  return {Tensor::from_numbers(data.dtype(), data.sizes(), values)};
}

// Whole slices along an axis; the first batch dims of both tensors go together.
Result<Places> slice_places(const Sizes& x, const Tensor& indices, std::size_t along, std::size_t batch_dims,
                            IndexRule rule) {
  std::vector<std::int64_t> list = indices.integers();
  std::int64_t batches = product(x, 0, batch_dims), outer = product(x, batch_dims, along);
  std::int64_t each = product(indices.sizes(), batch_dims, indices.rank());
  Places places{.run = product(x, along + 1, x.size())};
  for (std::int64_t b = 0; b < batches; ++b)
    for (std::int64_t o = 0; o < outer; ++o)
      for (std::int64_t i = 0; i < each; ++i) {
        std::int64_t index = POM_TRY(rule(list[std::size_t(b * each + i)], x[along]));
        places.firsts.push_back(index < 0 ? -1 : ((b * outer + o) * x[along] + index) * places.run);
      }
  return places;
}

// Single elements; along one axis the index is replaced.
Result<Places> places_along(const Sizes& x, const Tensor& indices, std::size_t along, IndexRule rule) {
  std::vector<std::int64_t> list = indices.integers();
  std::int64_t inner = product(x, along + 1, x.size()), length = indices.sizes()[along];
  Places places;
  for (std::size_t i = 0; i < list.size(); ++i) {
    std::int64_t outer = std::int64_t(i) / inner / length, index = POM_TRY(rule(list[i], x[along]));
    places.firsts.push_back(index < 0 ? -1 : (outer * x[along] + index) * inner + std::int64_t(i) % inner);
  }
  return places;
}

// Slices named by the tuples in the last dim of indices.
Result<Places> tuple_places(const Sizes& x, const Tensor& indices, std::size_t batch_dims, IndexRule rule) {
  std::vector<std::int64_t> list = indices.integers();
  auto length = std::size_t(indices.sizes().back());
  std::int64_t batches = product(x, 0, batch_dims);
  std::int64_t each = product(indices.sizes(), batch_dims, indices.rank() - 1);
  Places places{.run = product(x, batch_dims + length, x.size())};
  for (std::int64_t b = 0; b < batches; ++b)
    for (std::int64_t i = 0; i < each; ++i) {
      std::int64_t place = b;
      bool inside = true;
      for (std::size_t k = 0; k < length; ++k) {
        std::int64_t size = x[batch_dims + k];
        std::int64_t index = POM_TRY(rule(list[std::size_t(b * each + i) * length + k], size));
        inside = inside && index >= 0;
        place = place * size + index;
      }
      places.firsts.push_back(inside ? place * places.run : -1);
    }
  return places;
}

Status check_batch_dims(const InputField& x, const InputField& indices, int batch_dims, std::size_t most_of_indices) {
  POM_REQUIRE(batch_dims >= 0 && std::size_t(batch_dims) < std::max<std::size_t>(x.rank(), 1) &&
                  std::size_t(batch_dims) <= most_of_indices,
              "batch_dims is {}, but x has rank {} and indices has rank {}", batch_dims, x.rank(), indices.rank());
  for (std::size_t d = 0; d < std::size_t(batch_dims); ++d)
    POM_TRY_IN(same_size(x.shape()[d], indices.shape()[d], "x's size", "that of indices"), "batch dim {}", d);
  return {};
}

// The length of the index tuples, at most `most`.
Result<std::size_t> tuple_length(const InputField& indices, std::size_t most) {
  POM_REQUIRE(indices.rank() >= 1, "indices is a scalar; its last dim must hold index tuples");
  Dim length = indices.shape().back();
  POM_REQUIRE(length.known(), "the last dim of indices is not known, so the rank of the result is not either");
  POM_REQUIRE(length.value() >= 0 && length.value() <= std::int64_t(most),
              "indices holds tuples of {} numbers, but only {} dims are left to index", length.value(), most);
  return std::size_t(length.value());
}

// gather_along_axis and scatter_along_axis: equal ranks, and equal sizes but along the axis.
Status check_along(const InputField& x, const InputField& indices, std::size_t along, const char* name) {
  POM_REQUIRE(x.rank() == indices.rank(), "{} has rank {}, but indices has rank {}", name, x.rank(), indices.rank());
  for (std::size_t d = 0; d < x.rank(); ++d)
    if (d != along) POM_TRY_IN(same_size(x.shape()[d], indices.shape()[d], name, "indices"), "dim {}", d);
  return {};
}

Result<Types> checked_type(DType dtype, Shape shape) {
  POM_TRY(check_sizes(shape));
  return Types{tensor_type(dtype, std::move(shape))};
}

}  // namespace

Result<Types> gather::infer(const At&) const {
  std::size_t along = POM_TRY(checked_axis(axis, x.rank()));
  POM_TRY(check_batch_dims(x, indices, batch_dims, indices.rank()));
  auto batch = std::size_t(*batch_dims);
  POM_REQUIRE(along >= batch, "axis {} is among the {} batch dims", along, batch);
  return checked_type(x.dtype(), joined(joined(part(x.shape(), 0, along), part(indices.shape(), batch, indices.rank())),
                                        part(x.shape(), along + 1, x.rank())));
}
Result<Tensors> gather::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Tensor result = POM_TRY(make_tensor(type.dtype, type.shape));
  if (result.count() == 0) return Tensors{std::move(result)};
  Places places = POM_TRY(slice_places(x.sizes(), indices.tensor(), *normal_axis(axis, x.rank()),
                                       std::size_t(*batch_dims), {at.opset, validate_indices}));
  return Tensors{read_places(x.tensor(), places, std::move(result))};
}
std::optional<std::vector<Dim>> gather::contents(const At& at) const {
  auto all = x.contents(), which = indices.contents();
  if (!all || !which || x.rank() != 1 || indices.rank() > 1 || batch_dims != 0) return {};
  std::vector<Dim> dims;
  for (Dim index : *which) {
    if (!index.known()) return {};
    auto place = IndexRule(at.opset, true)(index.value(), std::int64_t(all->size()));
    if (!place) return {};
    dims.push_back((*all)[std::size_t(*place)]);
  }
  return dims;
}

Result<Types> gather_along_axis::infer(const At&) const {
  std::size_t along = POM_TRY(checked_axis(axis, x.rank()));
  POM_TRY(check_along(x, indices, along, "x"));
  Shape shape = indices.shape();
  for (std::size_t d = 0; d < shape.size(); ++d)
    if (d != along) shape[d] = merged_size(shape[d], x.shape()[d]).value_or(shape[d]);
  return checked_type(x.dtype(), std::move(shape));
}
Result<Tensors> gather_along_axis::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Tensor result = POM_TRY(make_tensor(type.dtype, type.shape));
  if (result.count() == 0) return Tensors{std::move(result)};
  Places places =
      POM_TRY(places_along(x.sizes(), indices.tensor(), *normal_axis(axis, x.rank()), {at.opset, validate_indices}));
  return Tensors{read_places(x.tensor(), places, std::move(result))};
}

Result<Types> gather_nd::infer(const At&) const {
  POM_TRY(tuple_length(indices, x.rank()));
  POM_TRY(check_batch_dims(x, indices, batch_dims, indices.rank() - 1));
  auto batch = std::size_t(*batch_dims);
  std::size_t length = POM_TRY(tuple_length(indices, x.rank() - batch));
  return checked_type(x.dtype(),
                      joined(part(indices.shape(), 0, indices.rank() - 1), part(x.shape(), batch + length, x.rank())));
}
Result<Tensors> gather_nd::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Tensor result = POM_TRY(make_tensor(type.dtype, type.shape));
  if (result.count() == 0) return Tensors{std::move(result)};
  Places places =
      POM_TRY(tuple_places(x.sizes(), indices.tensor(), std::size_t(*batch_dims), {at.opset, validate_indices}));
  return Tensors{read_places(x.tensor(), places, std::move(result))};
}

Result<Types> scatter::infer(const At&) const {
  POM_TRY(check_mode(mode));
  std::size_t along = POM_TRY(checked_axis(axis, data.rank()));
  POM_REQUIRE(indices.rank() == 1, "indices has rank {}, not 1", indices.rank());
  Shape wanted = data.shape();
  wanted[along] = indices.shape()[0];
  POM_TRY(same_shape(updates.shape(), wanted, "updates", "data at the indices"));
  return Types{data.type()};
}
Result<Tensors> scatter::eval(const At& at) const {
  POM_TRY(infer(at));
  if (updates.tensor().count() == 0) return Tensors{data.tensor()};
  Places places = POM_TRY(
      slice_places(data.sizes(), indices.tensor(), *normal_axis(axis, data.rank()), 0, {at.opset, validate_indices}));
  return write_places(data.tensor(), places, updates.tensor(), mode);
}

Result<Types> scatter_along_axis::infer(const At&) const {
  POM_TRY(check_mode(mode));
  POM_TRY(check_along(data, indices, POM_TRY(checked_axis(axis, data.rank())), "data"));
  POM_TRY(same_shape(updates.shape(), indices.shape(), "updates", "indices"));
  return Types{data.type()};
}
Result<Tensors> scatter_along_axis::eval(const At& at) const {
  POM_TRY(infer(at));
  if (updates.tensor().count() == 0) return Tensors{data.tensor()};
  Places places = POM_TRY(
      places_along(data.sizes(), indices.tensor(), *normal_axis(axis, data.rank()), {at.opset, validate_indices}));
  return write_places(data.tensor(), places, updates.tensor(), mode);
}

Result<Types> scatter_nd::infer(const At&) const {
  POM_TRY(check_mode(mode));
  std::size_t length = POM_TRY(tuple_length(indices, data.rank()));
  Shape wanted = joined(part(indices.shape(), 0, indices.rank() - 1), part(data.shape(), length, data.rank()));
  POM_TRY(same_shape(updates.shape(), wanted, "updates", "data at the indices"));
  return Types{data.type()};
}
Result<Tensors> scatter_nd::eval(const At& at) const {
  POM_TRY(infer(at));
  if (updates.tensor().count() == 0) return Tensors{data.tensor()};
  Places places = POM_TRY(tuple_places(data.sizes(), indices.tensor(), 0, {at.opset, validate_indices}));
  return write_places(data.tensor(), places, updates.tensor(), mode);
}

std::vector<const OpDef*> gather_scatter_chapter() {
  return op_list<gather, gather_along_axis, gather_nd, scatter, scatter_along_axis, scatter_nd>();
}

}  // namespace pomona::mil
