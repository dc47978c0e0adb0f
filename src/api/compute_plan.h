// Where Core ML ran each operation, as people bring it from a Mac.
//
//   auto placed = POM_TRY(read_compute_plan(text));       // placed[0].op, placed[0].device
//
// Three forms: JSON with an object per operation (tools/export-compute-plan.py, exports of MLComputePlan and of Xcode's
// performance report: a name or outputs, and a device), Xcode's analytics.mil (a line per operation with
// SelectedBackend), and CoreMLInspect's listing ("0.68% G|C  x = ios16.gather(...)").
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pomona::api {

struct PlacedOperation {
  std::vector<std::string> names;  // of the operation and its results
  std::string device;              // "Neural Engine", "GPU" or "CPU"
};

// Empty when `text` has none of the forms.
std::vector<PlacedOperation> read_compute_plan(std::string_view text);

}  // namespace pomona::api
