#include "formats/onnx/compose.h"

namespace pomona::onnx {

Result<Entries> apply_all(Lowering& g, Text op, const Entries& inputs, const AttributeProtos& attributes,
                          std::size_t outputs) {
  if (!g.status()) return g.status().error();
  const Rule* rule = find_rule({}, op, composing_opset);
  POM_REQUIRE(rule, "the operator '{}', of which this one is made, has no rule", op);
  NodeProto proto;
  proto.op_type = op;
  proto.output.assign(outputs, "result");
  NodeCall call;
  call.proto = &proto;
  call.inputs = inputs;
  call.attributes = attributes;
  call.source = g.call().source;
  Lowering inner(g.block(), call, composing_opset, g.graphs());
  Status lowered = rule->lower(inner, call);
  if (!inner.status()) return inner.status().error();
  if (!lowered) return std::move(lowered).error();
  POM_REQUIRE(inner.outputs().size() >= outputs, "the operator '{}' gives {} results instead of {}", op,
              inner.outputs().size(), outputs);
  return inner.outputs();
}

Result<Entry> apply(Lowering& g, Text op, const Entries& inputs, const AttributeProtos& attributes) {
  return POM_TRY(apply_all(g, op, inputs, attributes))[0];
}

AttributeProto whole(Text name, std::int64_t value) {
  AttributeProto a;
  a.name = name;
  a.type = INT;
  a.i = value;
  return a;
}
AttributeProto wholes(Text name, std::vector<std::int64_t> values) {
  AttributeProto a;
  a.name = name;
  a.type = INTS;
  a.ints = std::move(values);
  return a;
}
AttributeProto real(Text name, double value) {
  AttributeProto a;
  a.name = name;
  a.type = FLOAT;
  a.f = float(value);
  return a;
}
AttributeProto text(Text name, Text value) {
  AttributeProto a;
  a.name = name;
  a.type = STRING;
  a.s = value;
  return a;
}

}  // namespace pomona::onnx
