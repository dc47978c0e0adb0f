// Open sizes of a program's inputs, closed.
//
//   POM_TRY(fix_shapes(program, {{"input_ids", {1, 128}}}));      // in every function that has such an input
//
// Types are inferred again from there on; nothing else changes. States and pictures' colours are not touched.
#pragma once
#include <map>
#include <string>

#include "ir/program.h"

namespace pomona::rewrite {

// A negative size leaves the program's own. Errors: no function has such an input; a size is not one that the input
// allows; an op cannot take it.
Status fix_shapes(Program& program, const std::map<std::string, Sizes>& shapes);

}  // namespace pomona::rewrite
