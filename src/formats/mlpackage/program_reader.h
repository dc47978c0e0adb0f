// MILSpec.Program, MIL's protobuf form, into the IR.
//
//   POM_TRY(read_program(message, weight_files, program));
//
// Accepts what writers other than coremltools do: omitted defaults, values bound in place anywhere, operands of
// constexpr ops as attributes or inputs, constants of any numeric dtype and rank for attributes.
#pragma once
#include "formats/mlpackage/mil_value.h"
#include "formats/mlpackage/wire.h"
#include "ir/program.h"

namespace pomona::mlpackage {

// Adds the functions and the build information; errors name function and op.
Status read_program(Message message, WeightFiles& files, Program& program);

}  // namespace pomona::mlpackage
