// Our errors as Python's: one exception class, pomona.Error, with kind, places and hint.
//
//   Model model = value_or_throw(api::open_model(path));
//
// What stops a long call from outside (Ctrl-C, an exception in a progress callback) is kept as the Python exception it
// is.
#pragma once
#include <nanobind/nanobind.h>

#include "base/error.h"

namespace pomona::python {

// What is not UTF-8 is replaced: names in a damaged file may be any bytes.
nanobind::str text_of(std::string_view text);

[[noreturn]] void throw_error(const Error& error);
// Says where an exception that is on its way happened: to ours a place, to others a note.
void add_place(nanobind::python_error& error, const std::string& place);

template <class T>
T value_or_throw(Result<T> result) {
  if (!result) throw_error(result.error());
  return *std::move(result);
}
inline void value_or_throw(Status status) {
  if (!status) throw_error(status.error());
}

}  // namespace pomona::python
