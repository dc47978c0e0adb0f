#include "ops/list.h"

#include <algorithm>
#include <charconv>

#include "ops/axes.h"
#include "ops/catalogue.h"
#include "ops/shape_rules.h"

namespace pomona::mil {
namespace {

// Far above any real list; keeps a damaged index from asking for all memory.
constexpr std::int64_t longest_list = std::int64_t(1) << 24;

Result<Shape> element_shape(const IntsOrStrings& sizes) {
  if (const Ints* numbers = std::get_if<Ints>(&sizes)) return to_shape(*numbers);
  Shape shape;
  for (const std::string& size : std::get<Strings>(sizes)) {
    std::int64_t number = 0;
    auto [end, failed] = std::from_chars(size.data(), size.data() + size.size(), number);
    POM_REQUIRE(!size.empty(), "a size in elem_shape is empty");
    bool whole = failed == std::errc() && end == size.data() + size.size();
    shape.push_back(whole ? Dim(number) : Dim::named(size));
  }
  return shape;
}

Status check_element(const Type& list, DType dtype, std::span<const Dim> shape) {
  bool fits = dtype == list.dtype && shape.size() == list.rank();
  // A list made with an unknown size has 0 there until its first element is written.
  for (std::size_t d = 0; fits && d < shape.size(); ++d)
    fits = may_equal(shape[d], list.shape[d]) || list.shape[d] == 0;
  POM_REQUIRE(fits, "the list holds {}, but the value is {}", tensor_type(list.dtype, list.shape).text(),
              tensor_type(dtype, Shape(shape.begin(), shape.end())).text());
  return {};
}

Status check_indices(const InputField& indices) {
  POM_REQUIRE(indices.rank() == 1, "indices have rank {}, not 1", indices.rank());
  return {};
}
Status check_index(const InputField& index) {
  POM_REQUIRE(index.rank() == 0 || element_count(index.shape()) == 1, "index has shape {}, not one element",
              to_string(index.shape()));
  return {};
}

Result<const Tensor*> element_at(const Tensor& list, std::int64_t index) {
  std::int64_t length = std::int64_t(list.elements().size());
  POM_REQUIRE(index >= 0 && index < length, "index {} is outside a list of {} elements", index, length);
  return &list.elements()[std::size_t(index)];
}

// elements[index] = value; grows the list with zeros when it must. Whether a list may grow is not part of its type,
// so a list of fixed length grows as well.
Status put(std::vector<Tensor>& elements, std::int64_t index, Tensor value) {
  POM_REQUIRE(index >= 0 && index < longest_list, "index {} is outside a list of {} elements", index, elements.size());
  auto unsized = [&](const Tensor& element) { return element.sizes() != value.sizes(); };
  if (std::any_of(elements.begin(), elements.end(), unsized))
    std::replace_if(elements.begin(), elements.end(), unsized, Tensor(value.dtype(), value.sizes()));
  if (std::size_t(index) >= elements.size())
    elements.resize(std::size_t(index) + 1, Tensor(value.dtype(), value.sizes()));
  elements[std::size_t(index)] = std::move(value);
  return {};
}

// Row k of a tensor as a tensor of its own.
Tensor row_of(const Tensor& tensor, std::size_t k) {
  Tensor row(tensor.dtype(), Sizes(tensor.sizes().begin() + 1, tensor.sizes().end()));
  std::uint8_t* to = row.mutable_data();
  std::copy_n(tensor.data() + k * row.size_bytes(), row.size_bytes(), to);
  return row;
}

}  // namespace

Result<Types> make_list::infer(const At&) const {
  auto element = dtype_named(*dtype);
  bool allowed = element && dtypes::fp_ib.accepts(*element, iOS15);
  POM_REQUIRE(allowed, "dtype is '{}', not bool, fp16, fp32 or int32", *dtype);
  Type type{*element, POM_TRY(element_shape(*elem_shape)), Type::Kind::list};
  POM_TRY(check_sizes(type.shape));
  type.length = 1;
  if (init_length) {
    POM_TRY(check_index(init_length));
    auto known = init_length.contents();
    type.length = known && known->size() == 1 ? (*known)[0] : Dim::unknown();
    Dim length = type.length;
    POM_REQUIRE(!length.known() || (length.value() >= 0 && length.value() <= longest_list),
                "init_length is {}, not between 0 and {}", length.text(), longest_list);
  }
  return Types{type};
}
Result<Tensors> make_list::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Sizes sizes;
  for (Dim dim : type.shape) sizes.push_back(dim.known() ? dim.value() : 0);
  POM_TRY(check_memory(type.dtype, to_shape(sizes)));
  std::vector<Tensor> elements(std::size_t(type.length.value()), Tensor(type.dtype, sizes));
  return Tensors{Tensor::list(type.dtype, sizes, std::move(elements))};
}

Result<Types> list_length::infer(const At&) const { return Types{tensor_type(DType::int32, {})}; }
Result<Tensors> list_length::eval(const At&) const {
  return Tensors{Tensor::scalar(DType::int32, double(ls.tensor().elements().size()))};
}

Result<Types> list_read::infer(const At&) const {
  POM_TRY(check_index(index));
  return Types{tensor_type(ls.dtype(), ls.shape())};
}
Result<Tensors> list_read::eval(const At& at) const {
  POM_TRY(infer(at));
  return Tensors{*POM_TRY(element_at(ls.tensor(), index.tensor().integers()[0]))};
}

Result<Types> list_write::infer(const At&) const {
  POM_TRY(check_index(index));
  POM_TRY(check_element(ls.type(), value.dtype(), value.shape()));
  return Types{ls.type()};
}
Result<Tensors> list_write::eval(const At& at) const {
  POM_TRY(infer(at));
  std::vector<Tensor> elements = ls.tensor().elements();
  POM_TRY(put(elements, index.tensor().integers()[0], value.tensor()));
  return Tensors{Tensor::list(ls.dtype(), value.sizes(), std::move(elements))};
}

Result<Types> list_gather::infer(const At&) const {
  POM_TRY(check_indices(indices));
  Shape shape = ls.shape();
  shape.insert(shape.begin(), indices.shape()[0]);
  POM_TRY(check_sizes(shape));
  return Types{tensor_type(ls.dtype(), std::move(shape))};
}
Result<Tensors> list_gather::eval(const At& at) const {
  Type type = POM_TRY(infer(at))[0];
  Tensor out = POM_TRY(make_tensor(type.dtype, type.shape));
  std::uint8_t* to = out.mutable_data();
  for (std::int64_t index : indices.tensor().integers()) {
    const Tensor& element = *POM_TRY(element_at(ls.tensor(), index));
    to = std::copy_n(element.data(), element.size_bytes(), to);
  }
  return Tensors{out};
}

Result<Types> list_scatter::infer(const At&) const {
  POM_TRY(check_indices(indices));
  POM_REQUIRE(value.rank() >= 1 && may_equal(value.shape()[0], indices.shape()[0]),
              "there are {} indices, but value has shape {}", indices.shape()[0].text(), to_string(value.shape()));
  POM_TRY(check_element(ls.type(), value.dtype(), std::span(value.shape()).subspan(1)));
  return Types{ls.type()};
}
Result<Tensors> list_scatter::eval(const At& at) const {
  POM_TRY(infer(at));
  std::vector<Tensor> elements = ls.tensor().elements();
  std::vector<std::int64_t> places = indices.tensor().integers();
  for (std::size_t k = 0; k < places.size(); ++k) POM_TRY(put(elements, places[k], row_of(value.tensor(), k)));
  Sizes sizes = places.empty() ? ls.tensor().sizes() : Sizes(value.sizes().begin() + 1, value.sizes().end());
  return Tensors{Tensor::list(ls.dtype(), std::move(sizes), std::move(elements))};
}

std::vector<const OpDef*> list_chapter() {
  return op_list<make_list, list_length, list_read, list_write, list_gather, list_scatter>();
}

}  // namespace pomona::mil
