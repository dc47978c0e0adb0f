// A model as MIL text, which parses back.
//
//   std::string text = POM_TRY(show("encoder.mlpackage", {.function = "main"}));
//
// Constants of more than 64 elements are left out unless `full`: what was left out parses, and cannot be computed.
#pragma once
#include "api/model.h"
#include "base/record.h"

namespace pomona::api {

struct ShowOptions {
  POM_OPTION(function, std::string, "only this function");
  POM_OPTION(full, bool, "print every element of every constant");
};
Result<std::string> show(const std::string& path, const ShowOptions& options);

}  // namespace pomona::api
