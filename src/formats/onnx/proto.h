// An ONNX file as it is: the messages of onnx.proto that a converter needs, read in place.
//
// Names and tensor contents are views into the mapped file; nothing large is copied. The fields keep the names they
// have in onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
//
//   Bytes file = POM_TRY(map_file("model.onnx"));
//   ModelProto model = POM_TRY(parse_model(file));
//   for (const NodeProto& node : model.graph.node) ...
//
// It does not interpret anything: operators, types and tensor contents are looked at elsewhere. The bytes are not
// trusted; an error names the byte where they stop making sense, and the node they belong to.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace pomona::onnx {

using Text = std::string_view;

struct TensorProto {
  Text name;
  int data_type = 0;
  std::vector<std::int64_t> dims;
  std::optional<Text> raw_data;
  // Chunks of the typed fields, each the contents of one packed field or the bytes of one unpacked element.
  std::vector<Text> float_data, int32_data, int64_data, double_data, uint64_data;
  std::vector<Text> string_data;
  std::vector<Text> external_keys, external_values;
  int data_location = 0;     // 1: external
  std::uint64_t offset = 0;  // of this message in the file
};

struct DimensionProto {
  std::optional<std::int64_t> dim_value;
  Text dim_param;
};
struct ValueInfoProto {
  Text name;
  enum class Kind : std::uint8_t { none, tensor, sequence, map, optional, sparse, opaque } kind = Kind::none;
  int elem_type = 0;
  bool has_shape = false;
  std::vector<DimensionProto> shape;
};

struct GraphProto;
struct AttributeProto {
  Text name, ref_attr_name;
  int type = 0;
  float f = 0;
  std::int64_t i = 0;
  Text s;
  std::shared_ptr<TensorProto> t;
  std::shared_ptr<GraphProto> g;
  std::vector<float> floats;
  std::vector<std::int64_t> ints;
  std::vector<Text> strings;
};
struct NodeProto {
  Text name, op_type, domain, overload;
  std::vector<Text> input, output;
  std::vector<AttributeProto> attribute;
  std::uint64_t offset = 0;
};
struct GraphProto {
  Text name;
  std::vector<NodeProto> node;
  std::vector<TensorProto> initializer;
  std::vector<ValueInfoProto> input, output, value_info;
  std::vector<Text> sparse_initializer;  // names
};
struct OperatorSetId {
  Text domain;
  std::int64_t version = 0;
};
struct FunctionProto {
  Text name, domain, overload;
  std::vector<Text> input, output, attribute;
  std::vector<AttributeProto> attribute_proto;  // with default values
  std::vector<NodeProto> node;
  std::vector<OperatorSetId> opset_import;
};
struct ModelProto {
  Bytes file;  // what all views point into
  std::int64_t ir_version = 0;
  std::vector<OperatorSetId> opset_import;
  Text producer_name, producer_version, domain, doc_string;
  std::int64_t model_version = 0;
  std::vector<std::pair<Text, Text>> metadata_props;
  std::vector<FunctionProto> functions;
  GraphProto graph;
  bool has_graph = false;
};

// Numbers of AttributeProto.type.
enum AttributeType : int { FLOAT = 1, INT = 2, STRING = 3, TENSOR = 4, GRAPH = 5, FLOATS = 6, INTS = 7, STRINGS = 8 };

Result<ModelProto> parse_model(const Bytes& file);
// A file that holds one TensorProto, as test data does.
Result<TensorProto> parse_tensor(const Bytes& file);

// Reads the varints, or fixed-width numbers, of the chunks of a typed field. Errors: a chunk ends inside a number.
Result<std::vector<std::int64_t>> varints_of(const std::vector<Text>& chunks);

}  // namespace pomona::onnx
