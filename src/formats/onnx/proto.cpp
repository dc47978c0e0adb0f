#include "formats/onnx/proto.h"

#include <fmt/format.h>

#include <protozero/pbf_reader.hpp>

namespace pomona::onnx {
namespace {

using protozero::pbf_reader;
using protozero::pbf_wire_type;

constexpr std::uint32_t bytes_field(std::uint32_t tag) {
  return protozero::tag_and_type(tag, pbf_wire_type::length_delimited);
}
constexpr std::uint32_t varint_field(std::uint32_t tag) { return protozero::tag_and_type(tag, pbf_wire_type::varint); }
constexpr std::uint32_t fixed32_field(std::uint32_t tag) {
  return protozero::tag_and_type(tag, pbf_wire_type::fixed32);
}
constexpr std::uint32_t fixed64_field(std::uint32_t tag) {
  return protozero::tag_and_type(tag, pbf_wire_type::fixed64);
}

// Graphs nest through attributes of If, Loop and Scan; nobody nests deeper.
constexpr int deepest_graph = 32;

// Thrown and caught within this file, beside protozero's own exceptions.
struct Malformed {
  std::string what;
};

Text view(pbf_reader& r) {
  auto v = r.get_view();
  return {v.data(), v.size()};
}

struct Parser {
  const char* begin = nullptr;
  const char* at = nullptr;  // start of the field in hand
  std::string node;          // what the field in hand belongs to
  int depth = 0;

  bool next(pbf_reader& r) {
    at = r.data().data();
    return r.next();
  }
  std::uint64_t offset() const { return at ? std::uint64_t(at - begin) : 0; }

  TensorProto tensor(pbf_reader r) {
    TensorProto t;
    t.offset = std::uint64_t(r.data().data() - begin);
    while (next(r)) switch (r.tag_and_type()) {
        case bytes_field(1):
          for (std::int64_t d : r.get_packed_int64()) t.dims.push_back(d);
          break;
        case varint_field(1):
          t.dims.push_back(r.get_int64());
          break;
        case varint_field(2):
          t.data_type = r.get_int32();
          break;
        case bytes_field(4):
          t.float_data.push_back(view(r));
          break;
        case fixed32_field(4):
          t.float_data.push_back(fixed(r, 4));
          break;
        case bytes_field(5):
          t.int32_data.push_back(view(r));
          break;
        case varint_field(5):
          t.int32_data.push_back(varint(r));
          break;
        case bytes_field(6):
          t.string_data.push_back(view(r));
          break;
        case bytes_field(7):
          t.int64_data.push_back(view(r));
          break;
        case varint_field(7):
          t.int64_data.push_back(varint(r));
          break;
        case bytes_field(8):
          t.name = view(r);
          break;
        case bytes_field(9):
          t.raw_data = view(r);
          break;
        case bytes_field(10):
          t.double_data.push_back(view(r));
          break;
        case fixed64_field(10):
          t.double_data.push_back(fixed(r, 8));
          break;
        case bytes_field(11):
          t.uint64_data.push_back(view(r));
          break;
        case varint_field(11):
          t.uint64_data.push_back(varint(r));
          break;
        case bytes_field(13): {
          auto [key, value] = string_pair(r.get_message());
          t.external_keys.push_back(key);
          t.external_values.push_back(value);
          break;
        }
        case varint_field(14):
          t.data_location = r.get_int32();
          break;
        default:
          r.skip();
      }
    if (t.dims.size() > 64) throw Malformed{fmt::format("a tensor has {} dimensions", t.dims.size())};
    return t;
  }
  // The bytes of one unpacked element.
  Text varint(pbf_reader& r) {
    const char* first = r.data().data();
    r.skip();
    return {first, std::size_t(r.data().data() - first)};
  }
  Text fixed(pbf_reader& r, std::size_t) { return varint(r); }

  std::pair<Text, Text> string_pair(pbf_reader r) {
    std::pair<Text, Text> pair;
    while (next(r)) switch (r.tag_and_type()) {
        case bytes_field(1):
          pair.first = view(r);
          break;
        case bytes_field(2):
          pair.second = view(r);
          break;
        default:
          r.skip();
      }
    return pair;
  }
  OperatorSetId opset(pbf_reader r) {
    OperatorSetId id;
    while (next(r)) switch (r.tag_and_type()) {
        case bytes_field(1):
          id.domain = view(r);
          break;
        case varint_field(2):
          id.version = r.get_int64();
          break;
        default:
          r.skip();
      }
    return id;
  }
  DimensionProto dimension(pbf_reader r) {
    DimensionProto d;
    while (next(r)) switch (r.tag_and_type()) {
        case varint_field(1):
          d.dim_value = r.get_int64();
          break;
        case bytes_field(2):
          d.dim_param = view(r);
          // Exporters write "?" for each size they do not know; it is no name that makes sizes equal.
          if (d.dim_param == "?") d.dim_param = {};
          break;
        default:
          r.skip();
      }
    return d;
  }
  void tensor_type(pbf_reader r, ValueInfoProto& info) {
    while (next(r)) switch (r.tag_and_type()) {
        case varint_field(1):
          info.elem_type = r.get_int32();
          break;
        case bytes_field(2): {
          info.has_shape = true;
          pbf_reader shape = r.get_message();
          while (next(shape)) {
            if (shape.tag_and_type() == bytes_field(1))
              info.shape.push_back(dimension(shape.get_message()));
            else
              shape.skip();
          }
          break;
        }
        default:
          r.skip();
      }
  }
  ValueInfoProto value_info(pbf_reader r) {
    using Kind = ValueInfoProto::Kind;
    ValueInfoProto info;
    while (next(r)) switch (r.tag_and_type()) {
        case bytes_field(1):
          info.name = view(r);
          break;
        case bytes_field(2): {
          pbf_reader type = r.get_message();
          while (next(type)) {
            switch (type.tag_and_type()) {
              case bytes_field(1):
                info.kind = Kind::tensor;
                tensor_type(type.get_message(), info);
                continue;
              case bytes_field(4):
                info.kind = Kind::sequence;
                break;
              case bytes_field(5):
                info.kind = Kind::map;
                break;
              case bytes_field(9):
                info.kind = Kind::optional;
                break;
              case bytes_field(8):
                info.kind = Kind::sparse;
                break;
              case bytes_field(7):
                info.kind = Kind::opaque;
                break;
              default:
                break;
            }
            type.skip();
          }
          break;
        }
        default:
          r.skip();
      }
    return info;
  }
  AttributeProto attribute(pbf_reader r) {
    AttributeProto a;
    while (next(r)) switch (r.tag_and_type()) {
        case bytes_field(1):
          a.name = view(r);
          break;
        case fixed32_field(2):
          a.f = r.get_float();
          break;
        case varint_field(3):
          a.i = r.get_int64();
          break;
        case bytes_field(4):
          a.s = view(r);
          break;
        case bytes_field(5):
          a.t = std::make_shared<TensorProto>(tensor(r.get_message()));
          break;
        case bytes_field(6):
          a.g = std::make_shared<GraphProto>(graph(r.get_message()));
          break;
        case bytes_field(7):
          for (float f : r.get_packed_float()) a.floats.push_back(f);
          break;
        case fixed32_field(7):
          a.floats.push_back(r.get_float());
          break;
        case bytes_field(8):
          for (std::int64_t i : r.get_packed_int64()) a.ints.push_back(i);
          break;
        case varint_field(8):
          a.ints.push_back(r.get_int64());
          break;
        case bytes_field(9):
          a.strings.push_back(view(r));
          break;
        case varint_field(20):
          a.type = r.get_int32();
          break;
        case bytes_field(21):
          a.ref_attr_name = view(r);
          break;
        default:
          r.skip();
      }
    if (a.type == 0 && a.ref_attr_name.empty()) a.type = guessed_type(a);
    return a;
  }
  // Files of IR version 1 leave the type out.
  static int guessed_type(const AttributeProto& a) {
    if (a.t) return TENSOR;
    if (a.g) return GRAPH;
    if (!a.floats.empty()) return FLOATS;
    if (!a.ints.empty()) return INTS;
    if (!a.strings.empty()) return STRINGS;
    if (!a.s.empty()) return STRING;
    return a.f != 0 ? FLOAT : INT;
  }
  NodeProto node_proto(pbf_reader r) {
    NodeProto n;
    n.offset = std::uint64_t(r.data().data() - begin);
    std::string outer = std::exchange(node, fmt::format("the node at byte {}", n.offset));
    while (next(r)) switch (r.tag_and_type()) {
        case bytes_field(1):
          n.input.push_back(view(r));
          break;
        case bytes_field(2):
          n.output.push_back(view(r));
          break;
        case bytes_field(3):
          n.name = view(r);
          if (!n.name.empty()) node = fmt::format("node '{}'", n.name);
          break;
        case bytes_field(4):
          n.op_type = view(r);
          break;
        case bytes_field(5):
          n.attribute.push_back(attribute(r.get_message()));
          break;
        case bytes_field(7):
          n.domain = view(r);
          break;
        case bytes_field(8):
          n.overload = view(r);
          break;
        default:
          r.skip();
      }
    if (n.op_type.empty()) throw Malformed{"a node has no operator"};
    node = std::move(outer);
    return n;
  }
  GraphProto graph(pbf_reader r) {
    if (++depth > deepest_graph) throw Malformed{fmt::format("graphs nest deeper than {}", deepest_graph)};
    GraphProto g;
    while (next(r)) switch (r.tag_and_type()) {
        case bytes_field(1):
          g.node.push_back(node_proto(r.get_message()));
          break;
        case bytes_field(2):
          g.name = view(r);
          break;
        case bytes_field(5):
          g.initializer.push_back(tensor(r.get_message()));
          break;
        case bytes_field(11):
          g.input.push_back(value_info(r.get_message()));
          break;
        case bytes_field(12):
          g.output.push_back(value_info(r.get_message()));
          break;
        case bytes_field(13):
          g.value_info.push_back(value_info(r.get_message()));
          break;
        case bytes_field(15):
          g.sparse_initializer.push_back(view(r));
          break;
        default:
          r.skip();
      }
    --depth;
    return g;
  }
  FunctionProto function(pbf_reader r) {
    FunctionProto f;
    while (next(r)) switch (r.tag_and_type()) {
        case bytes_field(1):
          f.name = view(r);
          break;
        case bytes_field(4):
          f.input.push_back(view(r));
          break;
        case bytes_field(5):
          f.output.push_back(view(r));
          break;
        case bytes_field(6):
          f.attribute.push_back(view(r));
          break;
        case bytes_field(7):
          f.node.push_back(node_proto(r.get_message()));
          break;
        case bytes_field(9):
          f.opset_import.push_back(opset(r.get_message()));
          break;
        case bytes_field(10):
          f.domain = view(r);
          break;
        case bytes_field(11):
          f.attribute_proto.push_back(attribute(r.get_message()));
          break;
        case bytes_field(13):
          f.overload = view(r);
          break;
        default:
          r.skip();
      }
    return f;
  }
  ModelProto model(pbf_reader r) {
    ModelProto m;
    while (next(r)) switch (r.tag_and_type()) {
        case varint_field(1):
          m.ir_version = r.get_int64();
          break;
        case bytes_field(2):
          m.producer_name = view(r);
          break;
        case bytes_field(3):
          m.producer_version = view(r);
          break;
        case bytes_field(4):
          m.domain = view(r);
          break;
        case varint_field(5):
          m.model_version = r.get_int64();
          break;
        case bytes_field(6):
          m.doc_string = view(r);
          break;
        case bytes_field(7):
          m.graph = graph(r.get_message());
          m.has_graph = true;
          break;
        case bytes_field(8):
          m.opset_import.push_back(opset(r.get_message()));
          break;
        case bytes_field(14):
          m.metadata_props.push_back(string_pair(r.get_message()));
          break;
        case bytes_field(25):
          m.functions.push_back(function(r.get_message()));
          break;
        default:
          r.skip();
      }
    return m;
  }
};

// Runs a parse and turns what protozero throws into an error that says where.
template <class Message>
Result<Message> guarded(const Bytes& file, Message (Parser::*parse)(pbf_reader)) {
  Parser parser;
  std::string problem;
  try {
    parser.begin = parser.at = reinterpret_cast<const char*>(file.data());
    return (parser.*parse)(pbf_reader(protozero::data_view(parser.begin, file.size())));
  } catch (const Malformed& e) {
    problem = e.what;
  } catch (const protozero::end_of_buffer_exception&) {
    problem = "a field reaches past the end of its message";
  } catch (const protozero::exception& e) {
    problem = fmt::format("the bytes are no protobuf message ({})", e.what());
  }
  Error error = fail("at byte {}: {}", parser.offset(), problem);
  return parser.node.empty() ? error : std::move(error).in(parser.node);
}

}  // namespace

Result<ModelProto> parse_model(const Bytes& file) {
  ModelProto model = POM_TRY(guarded(file, &Parser::model));
  POM_REQUIRE(model.has_graph, "this is not an ONNX model: it has no graph");
  model.file = file;
  return model;
}

Result<TensorProto> parse_tensor(const Bytes& file) { return guarded(file, &Parser::tensor); }

Result<std::vector<std::int64_t>> varints_of(const std::vector<Text>& chunks) {
  std::vector<std::int64_t> values;
  try {
    for (Text chunk : chunks) {
      const char* at = chunk.data();
      const char* end = at + chunk.size();
      while (at != end) values.push_back(std::int64_t(protozero::decode_varint(&at, end)));
    }
  } catch (const protozero::exception& e) {
    return fail("a packed integer is malformed ({})", e.what());
  }
  return values;
}

}  // namespace pomona::onnx
