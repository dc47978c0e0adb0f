// Between Python's arrays and ours.
//
//   Tensor tensor = tensor_of(array);         // shares the array's memory where it is dense and of a dtype we have
//   nb::object array = array_of(tensor);      // a NumPy array that owns the tensor's memory
//
// Whatever has the buffer protocol is taken as it is; anything else (lists, numbers, frameworks' tensors) goes through
// numpy.asarray. Texts become lists of str, a classifier's dictionary a dict, lists of tensors a list of arrays.
#pragma once
#include <nanobind/nanobind.h>

#include "ir/tensor.h"

namespace pomona::python {

// Throws pomona.Error when `value` is no array of numbers, truth values or texts.
Tensor tensor_of(nanobind::handle value);
NamedTensors tensors_of(const nanobind::dict& arrays);
// `wide`: float16 becomes float32, as Core ML's Python interface has it.
nanobind::object array_of(Tensor tensor, bool wide = false);

}  // namespace pomona::python
