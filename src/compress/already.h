// What a program's weights were stored as before they were decoded, for storing them in fewer bits still: zeros stay
// zeros, and tables stay and become int8.
//
//   Already already = already_compressed(program);       // then decompress(program), compress() with it
//
// As coremltools' joint_compression: a sparse weight becomes sparse codes or sparse indices, a table of a weight that
// is indices into one is quantised linearly.
#pragma once
#include <set>

#include "compress/scheme.h"

namespace pomona::compress {

struct Already {
  std::set<std::string> sparse;                 // names of weights
  std::map<std::string, SchemeOptions> tables;  // how the tables lie: options of palettize
};
Already already_compressed(const Program& program);

// The scheme for a weight that was compressed so: the one given, or one that keeps what was there.
Result<std::shared_ptr<const Scheme>> keeping(const Already& already, const std::string& weight,
                                              const std::shared_ptr<const Scheme>& scheme);

}  // namespace pomona::compress
