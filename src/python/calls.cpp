#include "python/calls.h"

namespace pomona::python {
namespace nb = nanobind;

bool python_wants_to_stop() {
  nb::gil_scoped_acquire acquired;
  return PyErr_Occurred() || PyErr_CheckSignals() != 0;
}

api::Progress progress_to(nb::handle callable) {
  if (callable.is_none()) return {};
  return [callable](std::string_view stage, double share) {
    nb::gil_scoped_acquire acquired;
    if (PyErr_Occurred()) return;
    nb::object text = text_of(stage);
    nb::object number = share < 0 ? nb::object(nb::none()) : nb::object(nb::float_(share));
    PyObject* result = PyObject_CallFunctionObjArgs(callable.ptr(), text.ptr(), number.ptr(), nullptr);
    Py_XDECREF(result);
  };
}

}  // namespace pomona::python
