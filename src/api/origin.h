// Which file a package was made from: said in the package as far as that is nobody's secret, remembered in full here.
//
// A package says the path as it was given when that was relative, and the file's name alone when it was absolute: where
// a folder lies on the machine of its maker is no part of a model. This machine remembers the rest in its cache, by the
// package's contents, so that `verify --against onnxruntime` finds the file again.
#pragma once
#include "api/model.h"

namespace pomona::api {

// What the metadata of a package made from `source` says.
std::string noted_source(const std::string& source);
// Notes here where the source of a package lies. Best effort: nothing depends on it but convenience.
void remember_source(const std::string& package, const std::string& source);
// The file that a model was made from (an ONNX model: itself): as it says, beside the package, or as remembered.
Result<std::string> find_source(const Model& model);

}  // namespace pomona::api
