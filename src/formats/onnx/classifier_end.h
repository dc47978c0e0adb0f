// The end of a model that gives a label in words, or a map from labels to scores: Core ML's `classify`, which does so
// for one row.
#pragma once
#include "formats/onnx/rule.h"

namespace pomona::onnx {

class ClassifierEnd {
 public:
  // Notes an output that is such a label or map; false for any other.
  Result<bool> takes(std::string_view output, const Entry& entry);
  // The name of the number of rows, where that is open and nothing else; else empty.
  std::string open_rows() const;
  // Adds the op and its results to the function, in front of the other results.
  Status finish(Function& main, Values& results) const;

 private:
  std::string label_, map_;  // names of the outputs
  std::shared_ptr<const NamedClasses> classes_;
  bool made_ = false;  // the label's scores are not the model's
};

}  // namespace pomona::onnx
