// Programs that are made in memory, by hand: the last step before they are models.
//
//   Model model = POM_TRY(built_model(std::move(program)));      // a Core ML model without a path
#pragma once
#include "api/model.h"

namespace pomona::api {

// Gives inputs and outputs what Core ML asks of them (dtypes, ranks, legal names, features) and checks the program.
Result<Model> built_model(Program program);

}  // namespace pomona::api
