// Evaluates a function op by op with each op's `eval`: slow and right. Every other way of running a program, and
// every rewriting, is held against this one.
//
//   Evaluation run(function);
//   Tensors outputs = POM_TRY(run({{"x", x}}));
//
// States start as zeros and live as long as the Evaluation. Control flow and lists are followed.
#pragma once
#include <functional>
#include <unordered_map>

#include "ir/op.h"

namespace pomona {

class Evaluation : public Interpreter {
 public:
  explicit Evaluation(const Function& function, std::uint64_t seed = 0) : function_(&function), random_(seed) {}
  // Results in the order of the body's results. Errors: an input is missing or has another dtype or rank.
  Result<Tensors> operator()(const NamedTensors& inputs);
  // Called after each node with its results; returning an error stops.
  std::function<Status(const Node&, const Tensors&)> observe;

  Result<Tensors> run(const Block& block, std::span<const Tensor> arguments) override;
  Tensor& state(Value state) override;
  std::uint64_t random() override;

 private:
  Result<Tensor> value_of(Value value);
  Status run_node(const Node& node);
  const Function* function_;
  std::uint64_t random_;
  std::unordered_map<const ValueInfo*, Tensor> values_;
  std::map<std::string, Tensor> states_;
};

// Errors: results of these types would be larger than the machine's memory. Of an open size nothing is said.
Status check_fits_memory(const Node& node, std::span<const Type> results);
// One node's results from its operands' tensors.
Result<Tensors> evaluate_node(const Node& node, std::span<const Tensor> inputs, const At& at);

}  // namespace pomona
