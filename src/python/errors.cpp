#include "python/errors.h"

#include <nanobind/stl/string.h>

namespace pomona::python {
namespace nb = nanobind;

namespace {

const char* kind_of(Fault fault) {
  switch (fault) {
    case Fault::request:
      return "request";
    case Fault::environment:
      return "environment";
    case Fault::bug:
      break;
  }
  return "bug";
}

}  // namespace

nb::str text_of(std::string_view text) {
  return nb::steal<nb::str>(PyUnicode_DecodeUTF8(text.data(), Py_ssize_t(text.size()), "replace"));
}

void throw_error(const Error& error) {
  nb::list places, advice;
  for (const std::string& place : error.places) places.append(text_of(place));
  for (const std::string& sentence : error.advice) advice.append(text_of(sentence));
  nb::object type = nb::module_::import_("pomona._errors").attr("Error");
  nb::object exception =
      type(text_of(error.what), nb::arg("kind") = kind_of(error.fault), nb::arg("places") = nb::tuple(places),
           nb::arg("hint") = nb::str("; ").attr("join")(advice));
  PyErr_SetObject(type.ptr(), exception.ptr());
  throw nb::python_error();
}

void add_place(nb::python_error& error, const std::string& place) {
  nb::object value = nb::borrow<nb::object>(error.value());
  if (nb::hasattr(value, "places"))
    value.attr("places") = value.attr("places") + nb::object(nb::make_tuple(text_of(place)));
  else if (nb::hasattr(value, "add_note"))  // from Python 3.11 on
    value.attr("add_note")(text_of("at " + place));
}

}  // namespace pomona::python
