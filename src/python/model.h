// A model in memory, and what runs a function of it.
//
// `Model` is the program with where it came from. `Runner` plans and runs one function; it serves one call at a time,
// so calls from several threads wait for each other. `State` is what a stateful function keeps between calls: any
// number of them may exist, and each call says which one it reads and updates.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/stl/shared_ptr.h>

#include <memory>
#include <mutex>

#include "api/model.h"
#include "cpu/runner.h"

namespace pomona::python {

// Says what api::Model does not say of itself: it cannot be copied.
struct OpenedModel : api::Model {
  explicit OpenedModel(api::Model model) : api::Model(std::move(model)) {}
  OpenedModel(const OpenedModel&) = delete;
};
using SharedModel = std::shared_ptr<OpenedModel>;

struct State {
  NamedTensors tensors;  // by name, in the dtypes of the program
};

class Runner {
 public:
  Runner(SharedModel model, const std::string& function, bool strict);
  // `border`: inputs and outputs as the model's source had them; otherwise as the program has them.
  nanobind::dict run(const nanobind::dict& inputs, State* state, bool border, bool wide);
  State make_state() const;

 private:
  Result<NamedTensors> call(NamedTensors inputs, State* state, bool border);
  Result<NamedTensors> call_locked(const NamedTensors& inputs, bool border);
  SharedModel model_;
  const Function* function_;
  std::mutex mutex_;
  cpu::Runner runner_;
};

void bind_model(nanobind::module_& m);
void bind_verbs(nanobind::module_& m);
void bind_plans(nanobind::module_& m);
void bind_language(nanobind::module_& m);

}  // namespace pomona::python
