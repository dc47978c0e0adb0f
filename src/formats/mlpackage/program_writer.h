// The IR into MILSpec.Program, with a plan of the weight file.
//
//   BlobPlan plan;
//   std::string bytes = POM_TRY(program_bytes(program, plan));
//   for (const PlannedBlob& blob : plan.blobs) ...       // to be written at blob.offset
//
// As coremltools does: attributes are const ops named OP_FIELD_0 before their op; constants that feed only constexpr
// ops are written in place; tensors of ten elements and more go to the weight file when their dtype may. Weights of
// equal identity share one blob, across functions too.
#pragma once
#include <string>
#include <unordered_map>
#include <vector>

#include "formats/mlpackage/blob.h"
#include "formats/mlpackage/mil_value.h"
#include "ir/program.h"

namespace pomona::mlpackage {

struct PlannedBlob {
  Weight weight;
  std::uint64_t offset;  // of its record
};
struct BlobPlan {
  BlobLayout layout;
  std::vector<PlannedBlob> blobs;
  std::unordered_map<std::string, BlobPlace> places;  // by identity
};

Result<std::string> program_bytes(const Program& program, BlobPlan& plan);

}  // namespace pomona::mlpackage
