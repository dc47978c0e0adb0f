// A program with one function while Python adds ops to it.
//
//   BuiltProgram built("main", Target::iOS18);
//   Symbol x = built.add_input("x", sizes, "fp32");
//   ... built.graph is called ...
//   SharedModel model = built.finish(outputs);
#pragma once
#include "python/graph.h"

namespace pomona::python {

struct BuiltProgram {
  Program program;
  Function* function;
  std::shared_ptr<Graph> graph;

  BuiltProgram(const std::string& name, Target target);
  ~BuiltProgram() { graph->close(); }
  BuiltProgram(const BuiltProgram&) = delete;
  BuiltProgram& operator=(const BuiltProgram&) = delete;

  // Sizes are numbers, or (lower, upper) with None for no bound.
  Symbol add_input(const std::string& name, nanobind::handle sizes, const std::string& dtype);
  Symbol add_state(const std::string& name, nanobind::handle sizes, const std::string& dtype);
  void set_outputs(const nanobind::dict& outputs);
  SharedModel finish(const nanobind::dict& outputs);
};

}  // namespace pomona::python
