// Contents of ONNX tensors: from a TensorProto, inline or in an external data file, to a Weight.
//
//   TensorFiles files("/models");                       // the model's folder; external files are mapped on first use
//   Weight w = POM_TRY(stored_weight(proto, files));    // as stored: int64, bfloat16, ...
//   Weight c = POM_TRY(compute_weight(w, Elem::int64)); // as the program computes: int32, fp32, ...
//
// Weights are lazy: large ones stay where they are in the mapped file until materialised. Integers outside int32 are an
// error when looked at, except those at the end of int64's range ("no limit"), which become int32's limits.
#pragma once
#include <map>
#include <string>

#include "formats/onnx/element.h"
#include "formats/onnx/proto.h"
#include "ir/equal_weights.h"
#include "ir/weight.h"

namespace pomona::onnx {

class TensorFiles {
 public:
  // `folder`: of the model file. `model`: what inline contents point into.
  TensorFiles(std::string folder, Bytes model) : folder_(std::move(folder)), model_(std::move(model)) {}
  // The range of an external file. Errors: the path leaves the folder, no such file, the range reaches past its end.
  Result<Bytes> external(const TensorProto& tensor);
  Bytes inline_bytes(Text view) const;
  // One weight for all tensors with these contents.
  Weight shared(const Weight& weight) { return weights_.first_of(weight); }

 private:
  std::string folder_;
  Bytes model_;
  EqualWeights weights_;
  std::map<std::string, Bytes> open_;
};

// The contents in the dtype they are stored in; the element type is checked to be one we can hold.
Result<Weight> stored_weight(const TensorProto& tensor, TensorFiles& files);
Result<Elem> elem_of(const TensorProto& tensor);
// The same numbers in the dtype a program computes with.
Result<Weight> compute_weight(const Weight& stored, Elem elem);
// Strings of a string tensor.
std::vector<std::string> strings_of(const TensorProto& tensor);

// A file with one TensorProto, as ONNX test data has: contents in the stored dtype.
struct TensorFile {
  std::string name;
  Elem elem;
  Tensor tensor;
};
Result<TensorFile> read_tensor_file(const std::string& path);

}  // namespace pomona::onnx
