// Graphs that Python code adds ops to: a program being built, what a custom operator stands for, a rule's replacement.
//
//   Graph graph(function.body);                     // in Python: y = p.relu(x=x), or y = p["x"] * 2
//
// A Symbol is a value of such a graph in Python's hands. It knows whether its graph is still being added to, as Python
// may keep it for longer; using it afterwards, or in another graph, is an error. Ops, their inputs and parameters are
// those of the catalogue; numbers and arrays take the dtype of the values that they meet.
#pragma once
#include <nanobind/nanobind.h>

#include <memory>
#include <string>

#include "ir/call.h"
#include "python/model.h"

namespace pomona::python {

class Graph;
// A block that is being added to; values of the blocks around it may be used in it.
struct Scope {
  Graph* graph = nullptr;  // null when it is complete
  std::shared_ptr<Scope> outer = nullptr;
};
struct Symbol {
  Value value;
  std::shared_ptr<Scope> scope;
};

class Graph {
 public:
  // Appends to the block, or inserts before `place`.
  explicit Graph(Block& block, Node* place = nullptr, std::shared_ptr<Scope> outer = nullptr);
  ~Graph() { close(); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // An op by its name: a Symbol, or a tuple of them, or None.
  nanobind::object call(const std::string& op, const nanobind::dict& fields, const std::string& name);
  Symbol constant(nanobind::handle value, const std::string& name);
  // A value of this block, in Python's hands; and back.
  Symbol wrap(Value value) const { return {value, scope_}; }
  Value unwrap(const Symbol& symbol) const;
  // What a function of Python gave: Symbols, numbers, arrays; or a list or tuple of them.
  Values values_of(nanobind::handle result);
  void check_open() const;
  // Nothing is added any more, and its values are of no use.
  void close() { scope_->graph = nullptr; }

 private:
  CallOperand operand(nanobind::handle value, std::optional<DType> wanted);
  CallArgument argument(const OpDef& op, const std::string& field, nanobind::handle value,
                        const nanobind::dict& fields);
  Status fill_blocks(Node& node, const nanobind::dict& functions);
  // What `work` adds to the end of the block comes to its place.
  template <class Work>
  auto placed(Work&& work);
  Block* block_;
  Node* place_;
  std::shared_ptr<Scope> scope_;
};

// The Python object that has the ops as methods.
nanobind::object ops_object(const std::shared_ptr<Graph>& graph);

void bind_graph(nanobind::module_& m);
void bind_build(nanobind::module_& m);

}  // namespace pomona::python
