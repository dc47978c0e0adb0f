// Operators put together from other operators: what a fused or quantised one means, said with the rules there are.
//
//   Entry sum = POM_TRY(apply(g, "Add", {a, b}));
//   Entry y = POM_TRY(apply(g, "Softmax", {sum}, {whole("axis", -1)}));
//   return g.result(y.value, y.elem);
//
// The operators are those of one operator set of ai.onnx, whatever the model's own is.
#pragma once
#include "formats/onnx/lowering.h"

namespace pomona::onnx {

constexpr int composing_opset = 23;

using Entries = std::vector<Entry>;
using AttributeProtos = std::vector<AttributeProto>;

// All results; an empty entry is an optional input left out.
Result<Entries> apply_all(Lowering& g, Text op, const Entries& inputs, const AttributeProtos& attributes = {},
                          std::size_t outputs = 1);
Result<Entry> apply(Lowering& g, Text op, const Entries& inputs, const AttributeProtos& attributes = {});

AttributeProto whole(Text name, std::int64_t value);
AttributeProto wholes(Text name, std::vector<std::int64_t> values);
AttributeProto real(Text name, double value);
AttributeProto text(Text name, Text value);  // the text is not copied

inline Entry entry_of(const InputField& field) {
  Entry entry{field, field.elem()};
  entry.absent = !entry.value;
  return entry;
}

}  // namespace pomona::onnx
