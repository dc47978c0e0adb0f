// Cuts a package into a chain of smaller ones.
//
//   SplitReport r = POM_TRY(split("model.mlpackage", "folder", {.max_bytes = "1900MB"}));
//
// The folder is a model like any other: everything that opens models takes it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "api/convert.h"

namespace pomona::api {

struct SplitOptions {
  POM_OPTION(parts, std::int64_t, "how many packages") = 0;
  POM_OPTION(max_bytes, std::string, "the most a package may have: 1900000000, 1900MB, 1.9GB");
  POM_OPTION(embedding_apart, bool, "the first package has the embedding alone");
  POM_OPTION(no_verify, bool, "do not run the parts against the whole");
  POM_OPTION(force, bool, "replace an existing output");
};
struct SplitPart {
  std::string package;
  std::uint64_t weight_bytes = 0, bytes = 0;
  std::vector<std::string> takes, gives;  // what passes between parts, of the default function
};
struct SplitReport {
  std::uint64_t bytes_before = 0, bytes_after = 0;
  std::vector<SplitPart> parts;
  std::size_t compared = 0;  // outputs that were found equal
  double seconds = 0;
};
Result<SplitReport> split(const std::string& input, const std::string& output, const SplitOptions& options,
                          const Progress& progress);

}  // namespace pomona::api
