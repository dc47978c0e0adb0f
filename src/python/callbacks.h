// Python functions that the library calls while it works: lowerings of operators, rewrite rules.
//
//   options.custom_bodies = custom_bodies(given);      // {"my.domain::Swish": lower}
//   UserRules rules(given);                            // lasts as long as options.rules is used
//   options.rules = rules.pointers();
//
// What a function raises is what the caller of the conversion sees.
#pragma once
#include <nanobind/nanobind.h>

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "formats/onnx/import.h"
#include "python/errors.h"
#include "rewrite/rule.h"

namespace pomona::python {

// `functions`: names to callables f(p, inputs, attributes).
std::map<std::string, onnx::CustomOp> custom_bodies(const nanobind::dict& functions);

// `given`: tuples of name, Pattern, replace(p, match) and condition(match) or None.
class UserRules {
 public:
  explicit UserRules(nanobind::handle given);
  UserRules(const UserRules&) = delete;
  UserRules& operator=(const UserRules&) = delete;
  std::vector<const rewrite::Rule*> pointers() const;

 private:
  std::deque<std::string> texts_;  // names, and reasons of conditions
  std::deque<rewrite::Rule> rules_;
};

// Runs Python code from a thread of the library's. What it raises stays pending, and comes as an error of `place` here.
template <class Work>
auto with_python(const std::string& place, Work&& work) -> Result<decltype(work())> {
  nanobind::gil_scoped_acquire acquired;
  if (PyErr_Occurred()) return fail("stopped").blame(Fault::environment);
  try {
    return work();
  } catch (nanobind::python_error& error) {
    add_place(error, place);
    error.restore();
    return fail("a function of the user's raised an exception").in(place).blame(Fault::environment);
  }
}

void bind_callbacks(nanobind::module_& m);

}  // namespace pomona::python
