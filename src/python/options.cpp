#include "python/options.h"

#include <nanobind/stl/string.h>

namespace pomona::python {
namespace nb = nanobind;
namespace {

// Lists: of texts, of integers, or of numbers. An empty one is a list of texts, as most options are.
Attribute attribute_of_list(nb::handle value, const std::string& name) {
  Strings texts;
  Ints integers;
  Floats numbers;
  std::size_t count = 0;
  for (nb::handle each : nb::borrow<nb::object>(value)) {
    ++count;
    if (nb::isinstance<nb::str>(each)) texts.push_back(nb::cast<std::string>(each));
    if (nb::isinstance<nb::int_>(each)) integers.push_back(nb::cast<std::int64_t>(each));
    if (nb::isinstance<nb::int_>(each) || nb::isinstance<nb::float_>(each)) numbers.push_back(nb::cast<double>(each));
  }
  if (texts.size() == count) return texts;
  if (integers.size() == count) return integers;
  if (numbers.size() == count) return numbers;
  throw_error(fail("option '{}' is a list of neither texts nor numbers", name));
}

Attribute attribute_of(nb::handle value, const std::string& name) {
  if (nb::isinstance<nb::bool_>(value)) return nb::cast<bool>(value);
  if (nb::isinstance<nb::int_>(value)) return nb::cast<std::int64_t>(value);
  if (nb::isinstance<nb::float_>(value)) return nb::cast<double>(value);
  if (nb::isinstance<nb::str>(value)) return nb::cast<std::string>(value);
  if (nb::isinstance<nb::list>(value) || nb::isinstance<nb::tuple>(value)) return attribute_of_list(value, name);
  throw_error(fail("option '{}' is a {}, not a number, a text, a truth value or a list of them", name,
                   nb::cast<std::string>(nb::str(value.type().attr("__name__")))));
}

}  // namespace

NamedAttributes attributes_of(const nb::dict& options) {
  NamedAttributes attributes;
  for (auto [key, value] : options) {
    std::string name = nb::cast<std::string>(key);
    if (!value.is_none()) attributes[name] = attribute_of(value, name);
  }
  return attributes;
}

}  // namespace pomona::python
