// Calls into the library from Python: other Python threads run meanwhile, and Ctrl-C stops them.
//
//   ConvertReport report = without_gil([&] { return api::convert(source, output, options, progress.callback()); });
//
// A callback that raises stops the work as Ctrl-C does, and its exception is what the caller sees.
#pragma once
#include <nanobind/nanobind.h>

#include <utility>

#include "api/convert.h"
#include "base/interrupt.h"
#include "python/errors.h"

namespace pomona::python {

// True when a signal's handler has raised, or a callback; the exception is then pending in this thread.
bool python_wants_to_stop();

// The result, an error included; throws only what a signal's handler or a callback raised.
template <class Work>
auto try_without_gil(Work&& work) {
  auto result = [&] {
    nanobind::gil_scoped_release released;
    InterruptCheck asking(python_wants_to_stop);
    return work();
  }();
  if (PyErr_Occurred()) throw nanobind::python_error();
  return result;
}
template <class Work>
auto without_gil(Work&& work) {
  return value_or_throw(try_without_gil(std::forward<Work>(work)));
}

// Passes progress on to a callable(stage, share), where share is a float or None; empty for None.
api::Progress progress_to(nanobind::handle callable);

}  // namespace pomona::python
