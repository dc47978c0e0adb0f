// Keyword arguments as the library's records of options, by the names that the records have.
//
//   auto options = options_of<api::PlanOptions>(given);      // {"chip": "M4", "memory": 16}
#pragma once
#include <nanobind/nanobind.h>

#include <map>
#include <string>

#include "base/record.h"
#include "python/errors.h"

namespace pomona::python {

using NamedAttributes = std::map<std::string, Attribute>;

// Throws pomona.Error for what is no number, text, truth value or list of them.
NamedAttributes attributes_of(const nanobind::dict& options);

template <class Options>
Options options_of(const nanobind::dict& given) {
  Options options;
  value_or_throw(set_fields(options, attributes_of(given)));
  return options;
}

// The options that a record has, with what they mean.
template <class Options>
nanobind::dict described() {
  nanobind::dict all;
  for (const FieldInfo* field : record_of<Options>().fields) all[text_of(field->name)] = text_of(field->doc);
  return all;
}

}  // namespace pomona::python
