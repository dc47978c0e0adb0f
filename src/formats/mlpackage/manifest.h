// Manifest.json of a package: which items it has, and which of them is the model.
#pragma once
#include <string>

#include "base/error.h"

namespace pomona::mlpackage {

struct PackageFiles {
  std::string model;           // path of model.mlmodel
  std::string weights_folder;  // empty when the package has none
};
// The files of the package at `path`; they are known to exist and to be inside it.
Result<PackageFiles> read_manifest(const std::string& path);

inline constexpr const char *author = "com.apple.CoreML", *model_name = "model.mlmodel", *weights_name = "weights";
// A manifest of a model and its weights. The identifiers are made of the hash, so that equal packages are equal files.
std::string manifest_text(const std::string& content_hash);

}  // namespace pomona::mlpackage
