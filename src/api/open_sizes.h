// Which sizes of a program are open until it runs, what each of them comes from, and which ops have results of such
// sizes: the Neural Engine compiles ops for known shapes.
//
//   for (const OpenSize& open : open_sizes(program.main())) open.text(ops);
#pragma once
#include <map>

#include "ir/program.h"

namespace pomona::api {

struct OpenSize {
  std::string size;     // the name it has in shapes
  Strings inputs;       // "axis 0 of 'input_ids'"; empty when values decide it
  std::string first;    // the first op whose result has it
  std::size_t ops = 0;  // whose results have it
  std::map<std::string, std::size_t> by_op;

  std::string text(std::size_t of_ops) const;
};
// In the order in which they come up: those of inputs before those that values decide.
std::vector<OpenSize> open_sizes(const Function& function);

}  // namespace pomona::api
