#include "api/build.h"

#include "ir/call.h"
#include "ir/verify.h"
#include "rewrite/passes/passes.h"

namespace pomona::api {

Result<Model> built_model(Program program) {
  for (const auto& function : program.functions) erase_unused_constants(function->body);
  POM_TRY(rewrite::adapt_border(program, {}));
  rewrite::legal_names(program);
  POM_TRY(verify(program));
  return Model{std::move(program), "", std::string(package_name)};
}

}  // namespace pomona::api
