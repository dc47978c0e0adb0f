#include "python/arrays.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <optional>

#include "python/errors.h"

namespace pomona::python {
namespace {

namespace nb = nanobind;

// The letters of the struct module that name one element.
struct Letter {
  char letter;
  DType dtype;
};
constexpr Letter letters[] = {{'f', DType::fp32},  {'d', DType::fp64},   {'e', DType::fp16},  {'?', DType::boolean},
                              {'b', DType::int8},  {'B', DType::uint8},  {'h', DType::int16}, {'H', DType::uint16},
                              {'i', DType::int32}, {'I', DType::uint32}, {'q', DType::int64}, {'Q', DType::uint64}};
static_assert(sizeof(long) == 4 || sizeof(long) == 8);

std::optional<DType> dtype_of(const char* format) {
  if (!format) return DType::uint8;
  if (*format == '<' || *format == '=' || *format == '@') ++format;
  if (!*format || format[1]) return {};
  if (*format == 'l') return sizeof(long) == 8 ? DType::int64 : DType::int32;
  if (*format == 'L') return sizeof(long) == 8 ? DType::uint64 : DType::uint32;
  for (const Letter& each : letters)
    if (each.letter == *format) return each.dtype;
  return {};
}

// A view that is given back when nobody reads it any more, whichever thread that is on.
struct View {
  Py_buffer buffer{};
  ~View() {
    if (!buffer.obj) return;
    PyGILState_STATE state = PyGILState_Ensure();
    PyBuffer_Release(&buffer);
    PyGILState_Release(state);
  }
};

Tensor text_tensor(nb::handle array) {
  nb::object flat = array.attr("ravel")().attr("tolist")();
  std::vector<std::string> texts;
  for (nb::handle each : flat) {
    if (!nb::isinstance<nb::str>(each)) throw_error(fail("an array of objects holds something that is no text"));
    texts.push_back(nb::cast<std::string>(each));
  }
  Sizes sizes;
  for (nb::handle size : array.attr("shape")) sizes.push_back(nb::cast<std::int64_t>(size));
  return Tensor::strings(std::move(sizes), std::move(texts));
}

// A buffer of a dtype that we have; nothing otherwise.
std::optional<Tensor> shared_tensor(nb::handle value) {
  auto view = std::make_shared<View>();
  if (PyObject_GetBuffer(value.ptr(), &view->buffer, PyBUF_FORMAT | PyBUF_STRIDES) != 0) {
    PyErr_Clear();
    return {};
  }
  const Py_buffer& buffer = view->buffer;
  auto dtype = dtype_of(buffer.format);
  if (!dtype || buffer.itemsize != Py_ssize_t(element_size_bytes(*dtype))) return {};
  Sizes sizes(buffer.shape, buffer.shape + buffer.ndim);
  if (!PyBuffer_IsContiguous(&buffer, 'C')) {
    Tensor copy(*dtype, sizes);
    if (PyBuffer_ToContiguous(copy.mutable_data(), const_cast<Py_buffer*>(&buffer), buffer.len, 'C') != 0)
      throw nb::python_error();
    return copy;
  }
  std::span<const std::uint8_t> bytes(static_cast<const std::uint8_t*>(buffer.buf), std::size_t(buffer.len));
  if (*dtype == DType::boolean)
    for (std::uint8_t byte : bytes)
      if (byte > 1) throw_error(fail("an array of truth values holds the byte {}", byte));
  return Tensor(*dtype, std::move(sizes), Bytes(std::move(view), bytes));
}

nb::dlpack::dtype dlpack_dtype(DType dtype) {
  using Code = nb::dlpack::dtype_code;
  std::uint8_t bits = std::uint8_t(element_size_bytes(dtype) * 8);
  Code code = is_float(dtype)           ? Code::Float
              : dtype == DType::boolean ? Code::Bool
              : info(dtype).is_signed   ? Code::Int
                                        : Code::UInt;
  return {std::uint8_t(code), bits, 1};
}

// Element types that NumPy has not become the next larger one that holds all their values.
DType numpy_dtype(DType dtype, bool wide) {
  if (dtype == DType::bf16 || (wide && dtype == DType::fp16)) return DType::fp32;
  if (dtype == DType::f8e4m3fn || dtype == DType::f8e5m2) return wide ? DType::fp32 : DType::fp16;
  if (dtype == DType::int4) return DType::int8;
  if (is_sub_byte(dtype)) return DType::uint8;
  return dtype;
}

nb::object text_array(const Tensor& tensor) {
  nb::list texts;
  for (const std::string& text : tensor.text()) texts.append(text_of(text));
  nb::object numpy = nb::module_::import_("numpy");
  nb::list shape;
  for (std::int64_t size : tensor.sizes()) shape.append(size);
  return numpy.attr("array")(texts, nb::arg("dtype") = "object").attr("reshape")(nb::tuple(shape));
}

nb::object dictionary_of(const Tensor& tensor) {
  nb::dict result;
  const Tensor &keys = tensor.elements()[0], &values = tensor.elements()[1];
  for (std::size_t i = 0; i < values.count(); ++i) {
    nb::object key =
        keys.dtype() == DType::string ? nb::object(text_of(keys.text()[i])) : nb::object(nb::int_(keys.integers()[i]));
    result[key] = values.number(i);
  }
  return result;
}

}  // namespace

Tensor tensor_of(nb::handle value) {
  if (auto tensor = shared_tensor(value)) return *std::move(tensor);
  nb::object array = nb::module_::import_("numpy").attr("asarray")(value);
  if (array.ptr() != value.ptr())
    if (auto tensor = shared_tensor(array)) return *std::move(tensor);
  nb::object dtype = array.attr("dtype");
  nb::str kind_text = nb::str(nb::object(dtype.attr("kind")));
  std::string_view kind = kind_text.c_str();
  if (kind == "U" || kind == "O" || kind == "T") return text_tensor(array);
  // The other byte order.
  if (auto tensor = shared_tensor(array.attr("astype")(dtype.attr("newbyteorder")("=")))) return *std::move(tensor);
  throw_error(fail("an array of {} cannot be an input", nb::str(dtype).c_str()));
}

NamedTensors tensors_of(const nb::dict& arrays) {
  NamedTensors tensors;
  for (auto [key, value] : arrays) {
    if (!nb::isinstance<nb::str>(key)) throw_error(fail("a name is no text"));
    tensors[nb::cast<std::string>(key)] = tensor_of(value);
  }
  return tensors;
}

nb::object array_of(Tensor tensor, bool wide) {
  if (tensor.is_dictionary()) return dictionary_of(tensor);
  if (tensor.is_list()) {
    nb::list all;
    for (const Tensor& element : tensor.elements()) all.append(array_of(element, wide));
    return all;
  }
  if (tensor.dtype() == DType::string) return text_array(tensor);
  DType dtype = numpy_dtype(tensor.dtype(), wide);
  if (dtype != tensor.dtype()) tensor = tensor.converted(dtype);
  std::vector<std::size_t> shape(tensor.sizes().begin(), tensor.sizes().end());
  auto* owner = new Tensor(std::move(tensor));
  nb::capsule capsule(owner, [](void* p) noexcept { delete static_cast<Tensor*>(p); });
  // Copies when an input, a weight or a state has the same memory: what is returned is the caller's own.
  void* data = owner->mutable_data();
  return nb::cast(nb::ndarray<nb::numpy>(data, shape.size(), shape.data(), capsule, nullptr, dlpack_dtype(dtype)),
                  nb::rv_policy::reference);
}

}  // namespace pomona::python
