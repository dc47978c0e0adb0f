// Reads an ONNX model as a Program of MIL ops.
//
//   Program program = POM_TRY(read_onnx("model.onnx", {.target = iOS17}));
//
// Inputs and outputs keep their names and get the dtype that computes: float and double fp32, float16 fp16, integers
// int32, bool bool; scalars keep rank 0. Making them what Core ML takes at its border is a rewriting; what they were is
// noted as ir/border.h says. A dimension with a name becomes that symbol; one without, "<input>_<axis>". An initialiser
// that is an input as well becomes an optional input with that default, when all its elements are equal; else it is a
// constant (as it is in files older than IR version 4, where every initialiser had to be an input).
//
// Everything that cannot be converted is reported at once: operators without a rule with their counts, then nodes that
// a rule refused.
#pragma once
#include <functional>
#include <map>
#include <string>

#include "base/bytes.h"
#include "ir/program.h"

namespace pomona::onnx {

// A node of an operator that its user lowers.
struct CustomNode {
  std::string place;  // "ONNX my.domain::Swish 'act1'"
  Target target;
  std::map<std::string, Attribute> attributes;
  std::map<std::string, Tensor> tensors;  // attributes that are tensors
  Values inputs;                          // an empty handle where one is left out; a literal where it is known
};
// What a node stands for: MIL text (custom.h), or a function that writes it. The written program has an input for each
// of the node's that is neither left out nor known, in their order; a known one may be among its constants, where
// `known` says which.
struct CustomBody {
  Program program;
  std::vector<std::pair<Value, std::size_t>> known;  // a value of the program, and which input it is
};
struct CustomOp {
  std::string text;
  std::function<Result<CustomBody>(const CustomNode&)> write;  // empty: the text counts
};

struct ImportOptions {
  Target target = Target::iOS18;
  // Shapes to give inputs; a symbol that they fix is fixed everywhere. A negative size leaves the model's own.
  std::map<std::string, Sizes> shapes;
  // Inputs that become constants: axes, sizes and the like that the model takes at run time but Core ML needs at once.
  // Tensors in the stored dtype of the input's element type; the inputs are no features of the program any more.
  std::map<std::string, Tensor> constants;
  // Operators by "DOMAIN::NAME" (or "NAME" in ONNX's own domain). They come before ours.
  std::map<std::string, CustomOp> custom_ops;
};

Result<Program> read_onnx(const std::string& path, const ImportOptions& options = {});
// From bytes; external data is looked for in `folder`.
Result<Program> read_onnx(const Bytes& file, const std::string& folder, const ImportOptions& options = {});

}  // namespace pomona::onnx
