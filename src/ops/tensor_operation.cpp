#include "ops/tensor_operation.h"

#include "ops/catalogue.h"
#include "ops/element_moves.h"
#include "ops/shape_rules.h"

namespace pomona::mil {
namespace {

// Shape-like results longer than this are data.
constexpr std::int64_t longest_contents = 1024;

}  // namespace

Result<Types> concat::infer(const At&) const {
  POM_REQUIRE(values.size() > 0, "there are no values");
  // Scalars count as vectors of one element.
  auto shape_of = [&](std::size_t i) { return values.shape(i).empty() ? Shape{1} : values.shape(i); };
  Shape shape = shape_of(0);
  std::size_t along = POM_TRY(checked_axis(axis, shape.size()));
  Dim total = shape[along];
  for (std::size_t i = 1; i < values.size(); ++i) {
    Shape next = shape_of(i);
    POM_REQUIRE(next.size() == shape.size(), "value {} has rank {}, but value 0 has {}", i, next.size(), shape.size());
    total = total + next[along];
    if (!interleave) next[along] = shape[along];
    shape = POM_TRY_IN(same_shape(next, shape, "this value", "value 0"), "value {}", i);
  }
  shape[along] = total;
  POM_TRY(check_sizes(shape));
  return Types{tensor_type(values.type(0).dtype, std::move(shape))};
}
Result<Tensors> concat::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Tensor result = POM_TRY(make_tensor(type.dtype, type.shape));
  std::size_t along = *normal_axis(axis, type.rank());
  Selection place = all_elements(result.sizes());
  std::int64_t one = place.strides[along];
  if (interleave) place.strides[along] *= std::int64_t(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Tensor& value = values.tensor(i);
    place.sizes[along] = value.rank() == 0 ? 1 : value.sizes()[along];
    replace_elements(result, place, value);
    place.offset += interleave ? one : one * place.sizes[along];
  }
  return Tensors{std::move(result)};
}
std::optional<std::vector<Dim>> concat::contents(const At&) const {
  std::vector<std::vector<Dim>> parts;
  std::size_t longest = 0, total = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    auto part = values.shape(i).size() <= 1 ? values[i].contents() : std::nullopt;
    if (!part) return {};
    longest = std::max(longest, part->size());
    total += part->size();
    parts.push_back(*std::move(part));
  }
  if (total > longest_contents) return {};
  std::vector<Dim> dims;
  if (interleave) {
    for (std::size_t k = 0; k < longest; ++k)
      for (const auto& part : parts)
        if (k < part.size()) dims.push_back(part[k]);
  } else {
    for (const auto& part : parts) dims.insert(dims.end(), part.begin(), part.end());
  }
  return dims;
}

Result<Types> stack::infer(const At&) const {
  POM_REQUIRE(values.size() > 0, "there are no values");
  Shape shape = values.shape(0);
  for (std::size_t i = 1; i < values.size(); ++i)
    shape = POM_TRY_IN(same_shape(values.shape(i), shape, "this value", "value 0"), "value {}", i);
  std::size_t along = POM_TRY(checked_axis(axis, shape.size() + 1));
  shape.insert(shape.begin() + std::ptrdiff_t(along), Dim(std::int64_t(values.size())));
  POM_TRY(check_sizes(shape));
  return Types{tensor_type(values.type(0).dtype, std::move(shape))};
}
Result<Tensors> stack::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Tensor result = POM_TRY(make_tensor(type.dtype, type.shape));
  std::size_t along = *normal_axis(axis, type.rank());
  Selection place = all_elements(result.sizes());
  place.sizes[along] = 1;
  for (std::size_t i = 0; i < values.size(); ++i, place.offset += place.strides[along])
    replace_elements(result, place, values.tensor(i));
  return Tensors{std::move(result)};
}
std::optional<std::vector<Dim>> stack::contents(const At&) const {
  if (values.size() > std::size_t(longest_contents)) return {};
  std::vector<Dim> dims;
  for (std::size_t i = 0; i < values.size(); ++i) {
    auto part = values.shape(i).empty() ? values[i].contents() : std::nullopt;
    if (!part || part->size() != 1) return {};
    dims.push_back((*part)[0]);
  }
  return dims;
}

namespace {

Result<std::vector<Dim>> piece_sizes(const split& s) {
  constexpr int most = 65536;
  std::size_t along = POM_TRY(checked_axis(s.axis, s.x.rank()));
  Dim whole = s.x.shape()[along];
  std::optional<int> count = *s.num_splits;
  POM_REQUIRE(!count || (*count >= 1 && *count <= most), "num_splits is {}, outside 1 to {}", *count, most);
  if (!s.split_sizes->empty()) {
    POM_REQUIRE(!count || std::size_t(*count) == s.split_sizes->size(), "num_splits is {}, but split_sizes has {}",
                *count, s.split_sizes->size());
    Dim total = 0;
    for (std::int64_t size : *s.split_sizes) {
      POM_REQUIRE(size >= 0, "split_sizes has the entry {}", size);
      total = total + size;
    }
    POM_TRY(same_size(total, whole, "the sum of split_sizes", "x's size along axis"));
    return to_shape(*s.split_sizes);
  }
  POM_REQUIRE(count, "neither num_splits nor split_sizes is given");
  return std::vector<Dim>(std::size_t(*count), POM_TRY(divided_size(whole, *count, "x's size along axis")));
}

}  // namespace

Result<Types> split::infer(const At&) const {
  Types types;
  for (Dim size : POM_TRY(piece_sizes(*this))) {
    types.push_back(x.type());
    types.back().shape[*normal_axis(axis, x.rank())] = size;
  }
  return types;
}
Result<Tensors> split::eval(const At& at) const {
  Selection selection = all_elements(x.sizes());
  std::size_t along = POM_TRY(checked_axis(axis, x.rank()));
  Tensors results;
  for (const Type& type : POM_TRY(infer(at))) {
    selection.sizes[along] = type.shape[along].value();
    results.push_back(select_elements(x.tensor(), selection));
    selection.offset += selection.sizes[along] * selection.strides[along];
  }
  return results;
}
std::optional<std::vector<Dim>> split::contents(const At&) const {
  auto all = x.contents();
  auto sizes = piece_sizes(*this);
  if (!all || x.rank() != 1 || !sizes || !(*sizes)[0].known()) return {};
  auto first = std::size_t((*sizes)[0].value());
  if (first > all->size()) return {};
  all->resize(first);
  return all;
}

namespace {

Result<Types> filled_type(const Scalar& value, Shape shape, const At& at) {
  POM_REQUIRE(dtypes::fp_ib.accepts(value.dtype, at.opset), "value is {}, not fp16, fp32, int32 or bool",
              name(value.dtype));
  POM_TRY(check_sizes(shape));
  return Types{tensor_type(value.dtype, std::move(shape))};
}
Result<Tensors> filled(const Scalar& value, const Result<Types>& types) {
  if (!types) return types.error();
  Tensor result = POM_TRY(make_tensor(value.dtype, (*types)[0].shape));
  result.mutable_data();
  for (std::size_t i = 0, count = result.count(); i < count; ++i) result.set_number(i, value.value);
  return Tensors{std::move(result)};
}

}  // namespace

Result<Types> fill::infer(const At& at) const {
  return filled_type(value, POM_TRY(vector_contents(shape, POM_TRY(vector_length(shape)))), at);
}
Result<Tensors> fill::eval(const At& at) const { return filled(value, infer(at)); }
std::optional<std::vector<Dim>> fill::contents(const At& at) const {
  auto types = infer(at);
  if (!types || (*types)[0].rank() > 1 || is_float(value->dtype)) return {};
  Dim count = element_count((*types)[0].shape);
  if (!count.known() || count.value() > longest_contents) return {};
  auto number = Tensor::scalar(value->dtype, value->value).integers()[0];
  return std::vector<Dim>(std::size_t(count.value()), Dim(number));
}

Result<Types> fill_like::infer(const At& at) const { return filled_type(value, ref_tensor.shape(), at); }
Result<Tensors> fill_like::eval(const At& at) const { return filled(value, infer(at)); }

Result<Types> flatten2d::infer(const At&) const {
  auto rank = std::int64_t(x.rank());
  POM_REQUIRE(axis >= -rank && axis <= rank, "axis {} is outside -{} to {}", *axis, rank, rank);
  auto middle = x.shape().begin() + (axis < 0 ? *axis + rank : *axis);
  Dim rows = element_count(Shape(x.shape().begin(), middle)), columns = element_count(Shape(middle, x.shape().end()));
  return Types{tensor_type(x.dtype(), {rows, columns})};
}
Result<Tensors> flatten2d::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  return Tensors{x.tensor().reshaped(known_sizes(type.shape))};
}

Result<Types> identity::infer(const At&) const { return Types{x.type()}; }
Result<Tensors> identity::eval(const At&) const { return Tensors{x.tensor()}; }
std::optional<std::vector<Dim>> identity::contents(const At&) const { return x.contents(); }

Result<Types> one_hot::infer(const At& at) const {
  POM_REQUIRE(dtypes::fp_ib.accepts(on_value->dtype, at.opset), "on_value is {}, not fp16, fp32, int32 or bool",
              name(on_value->dtype));
  // An absent off_value is a 0 of on_value's dtype, whatever that is.
  bool off_is_default = off_value->dtype == DType::int32 && off_value->value == 0;
  POM_REQUIRE(off_is_default || off_value->dtype == on_value->dtype, "on_value is {}, but off_value is {}",
              name(on_value->dtype), name(off_value->dtype));
  POM_REQUIRE(element_count(one_hot_vector_size.shape()) == 1, "one_hot_vector_size has shape {}; it must be a scalar",
              to_string(one_hot_vector_size.shape()));
  auto size = one_hot_vector_size.contents();
  Shape shape = indices.shape();
  std::size_t along = POM_TRY(checked_axis(axis, shape.size() + 1));
  shape.insert(shape.begin() + std::ptrdiff_t(along), size ? (*size)[0] : Dim::unknown());
  POM_TRY(check_sizes(shape));
  return Types{tensor_type(on_value->dtype, std::move(shape))};
}
Result<Tensors> one_hot::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Tensor result = std::move(POM_TRY(filled({type.dtype, off_value->value}, Types{type}))[0]);
  std::size_t along = *normal_axis(axis, type.rank());
  std::int64_t length = result.sizes()[along], inner = strides_of(result.sizes())[along];
  std::vector<std::int64_t> hot = indices.tensor().integers();
  result.mutable_data();
  for (std::int64_t i = 0; i < std::int64_t(hot.size()); ++i) {
    std::int64_t position = hot[std::size_t(i)];
    // An index outside leaves only off_value, as in TensorFlow.
    if (position < 0 || position >= length) continue;
    std::int64_t place = (i / inner * length + position) * inner + i % inner;
    result.set_number(std::size_t(place), on_value->value);
  }
  return Tensors{std::move(result)};
}

namespace {

struct PadAmounts {
  Dim before = 0, after = 0;
};
Result<std::vector<PadAmounts>> amounts_of(const pad& p) {
  std::size_t length = POM_TRY(vector_length(p.pad)), rank = p.x.rank();
  POM_REQUIRE(length % 2 == 0 && length / 2 <= rank, "pad has {} entries, but x has rank {}", length, rank);
  // Amounts that are not constants come for every dim.
  POM_REQUIRE(p.pad.contents() || length == 2 * rank, "pad is not constant and has {} entries, but needs {}", length,
              2 * rank);
  std::vector<Dim> flat = POM_TRY(vector_contents(p.pad, length));
  std::vector<PadAmounts> amounts(rank);
  for (std::size_t i = 0; i < length; ++i) {
    POM_REQUIRE(!flat[i].known() || flat[i].value() >= 0, "pad has the entry {}", flat[i].value());
    PadAmounts& dim = amounts[rank - length / 2 + i / 2];
    (i % 2 == 0 ? dim.before : dim.after) = flat[i];
  }
  return amounts;
}

// For each index of the padded dim the index in x, or -1 for the constant.
std::vector<std::int64_t> padded_indices(std::int64_t size, std::int64_t before, std::int64_t after,
                                         std::string_view mode) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = -before; i < size + after; ++i) {
    bool inside = i >= 0 && i < size;
    if (inside)
      indices.push_back(i);
    else if (mode == "constant")
      indices.push_back(-1);
    else if (mode == "replicate")
      indices.push_back(i < 0 ? 0 : size - 1);
    else
      indices.push_back(i < 0 ? -i : 2 * (size - 1) - i);
  }
  return indices;
}

}  // namespace

Result<Types> pad::infer(const At&) const {
  POM_REQUIRE(*mode == "constant" || *mode == "reflect" || *mode == "replicate",
              "mode is '{}', not constant, reflect or replicate", *mode);
  std::vector<PadAmounts> amounts = POM_TRY(amounts_of(*this));
  Shape shape = x.shape();
  for (std::size_t d = 0; d < shape.size(); ++d) {
    // How far an element may lie from x.
    Dim reach = *mode == "reflect" ? shape[d] - 1 : shape[d];
    for (Dim amount : {amounts[d].before, amounts[d].after}) {
      if (*mode == "constant" || !amount.known() || !reach.known() || amount == 0) continue;
      bool fits = *mode == "reflect" ? amount.value() <= reach.value() : reach.value() > 0;
      POM_REQUIRE(fits, "dim {} of x has {} elements, too few to {} {} more", d, shape[d].text(), *mode, amount.text());
    }
    shape[d] = shape[d] + amounts[d].before + amounts[d].after;
  }
  POM_TRY(check_sizes(shape));
  return Types{tensor_type(x.dtype(), std::move(shape))};
}
Result<Tensors> pad::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Tensor result = POM_TRY(make_tensor(type.dtype, type.shape));
  if (result.count() == 0) return Tensors{std::move(result)};
  std::vector<PadAmounts> amounts = POM_TRY(amounts_of(*this));
  if (*mode == "constant") {
    result = std::move(POM_TRY(filled({x.dtype(), *constant_val}, Types{type}))[0]);
    Selection inner = all_elements(result.sizes());
    inner.sizes = x.sizes();
    for (std::size_t d = 0; d < amounts.size(); ++d) inner.offset += amounts[d].before.value() * inner.strides[d];
    replace_elements(result, inner, x.tensor());
    return Tensors{std::move(result)};
  }
  std::vector<std::vector<std::int64_t>> indices;
  for (std::size_t d = 0; d < amounts.size(); ++d)
    indices.push_back(padded_indices(x.sizes()[d], amounts[d].before.value(), amounts[d].after.value(), *mode));
  return Tensors{pick_elements(x.tensor(), indices)};
}

Result<Types> shape::infer(const At&) const { return Types{tensor_type(DType::int32, {Dim(std::int64_t(x.rank()))})}; }
Result<Tensors> shape::eval(const At&) const { return Tensors{Tensor::ints(x.sizes())}; }
std::optional<std::vector<Dim>> shape::contents(const At&) const { return x.shape(); }

Result<Types> tile::infer(const At&) const {
  std::vector<Dim> times = POM_TRY(vector_contents(reps, x.rank()));
  Shape result = x.shape();
  for (std::size_t d = 0; d < result.size(); ++d) {
    POM_REQUIRE(!times[d].known() || times[d].value() >= 1, "reps[{}] is {}; it must be at least 1", d,
                times[d].value());
    POM_TRY(check_sizes({result[d], times[d]}));
    result[d] = result[d] * times[d];
  }
  POM_TRY(check_sizes(result));
  return Types{tensor_type(x.dtype(), std::move(result))};
}
Result<Tensors> tile::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Tensor result = POM_TRY(make_tensor(type.dtype, type.shape));
  if (result.count() == 0) return Tensors{std::move(result)};
  std::vector<std::vector<std::int64_t>> indices;
  for (std::size_t d = 0; d < type.rank(); ++d) {
    auto& list = indices.emplace_back();
    for (std::int64_t i = 0; i < type.shape[d].value(); ++i) list.push_back(i % x.sizes()[d]);
  }
  return Tensors{pick_elements(x.tensor(), indices)};
}
std::optional<std::vector<Dim>> tile::contents(const At& at) const {
  auto all = x.contents();
  auto types = infer(at);
  if (!all || !types || x.rank() != 1) return {};
  Dim length = (*types)[0].shape[0];
  if (!length.known() || length.value() > longest_contents) return {};
  std::vector<Dim> dims;
  for (std::int64_t i = 0; i < length.value(); ++i) dims.push_back((*all)[std::size_t(i) % all->size()]);
  return dims;
}

std::vector<const OpDef*> tensor_operation_chapter() {
  return op_list<argsort, band_part, concat, cumsum, fill, fill_like, flatten2d, identity, non_zero, one_hot, pad,
                 range_1d, shape, split, stack, tile, topk>();
}

}  // namespace pomona::mil
