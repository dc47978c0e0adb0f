
#include "formats/mlpackage/mil_value.h"
#include "formats/mlpackage/nested.h"

namespace pomona::mlpackage {
namespace {

using protozero::pbf_writer;

// Protobuf's own limit is 2 GB for a whole message.
constexpr std::uint64_t largest_immediate_bytes = 1ULL << 30;

void add_dimension(pbf_writer& out, protozero::pbf_tag_type tag, Dim dim) {
  add_nested(out, tag, [&](pbf_writer& dimension) {
    if (dim.known())
      add_nested(dimension, 1, [&](pbf_writer& constant) {
        if (dim.value() != 0) constant.add_uint64(1, std::uint64_t(dim.value()));
      });
    else
      add_empty(dimension, 2);
  });
}

void write_tensor_type(pbf_writer& out, DType dtype, const Shape& shape) {
  pbf_writer tensor(out, 1);
  tensor.add_enum(1, info(dtype).proto);
  if (!shape.empty()) tensor.add_int64(2, std::int64_t(shape.size()));
  for (Dim dim : shape) add_dimension(tensor, 3, dim);
}

void write_type(pbf_writer& out, const Type& type) {
  switch (type.kind) {
    case Type::Kind::tensor:
      return write_tensor_type(out, type.dtype, type.shape);
    case Type::Kind::list: {
      pbf_writer list(out, 2);
      {
        pbf_writer element(list, 1);
        write_tensor_type(element, type.dtype, type.shape);
      }
      add_dimension(list, 2, type.length);
      return;
    }
    case Type::Kind::dictionary: {
      pbf_writer dictionary(out, 4);
      {
        pbf_writer key(dictionary, 1);
        write_tensor_type(key, type.key, {});
      }
      pbf_writer value(dictionary, 2);
      write_tensor_type(value, type.dtype, type.shape);
      return;
    }
    case Type::Kind::state: {
      pbf_writer state(out, 5);
      pbf_writer wrapped(state, 1);
      write_tensor_type(wrapped, type.dtype, type.shape);
    }
  }
}

// The elements in the member of TensorValue that the dtype asks for.
void write_elements(pbf_writer& value, const Tensor& tensor) {
  auto add_raw = [&](protozero::pbf_tag_type member, const Bytes& bytes) {
    add_nested(value, member, [&](pbf_writer& repeated) {
      if (bytes.size()) repeated.add_bytes(1, reinterpret_cast<const char*>(bytes.data()), bytes.size());
    });
  };
  switch (tensor.dtype()) {
    case DType::fp32:
      return add_raw(1, stored_form(tensor));
    case DType::fp64:
      return add_raw(6, stored_form(tensor));
    case DType::string:
      return add_nested(value, 4, [&](pbf_writer& strings) {
        for (const std::string& text : tensor.text()) strings.add_string(1, text);
      });
    case DType::boolean:
      return add_raw(3, stored_form(tensor));  // a varint of 0 or 1 is that byte
    case DType::int16:
    case DType::uint16:
    case DType::int32:
      return add_nested(value, 2, [&](pbf_writer& ints) {
        std::vector<std::int64_t> values = tensor.integers();
        if (!values.empty()) ints.add_packed_int64(1, values.begin(), values.end());
      });
    case DType::int64:
    case DType::uint64:
      return add_nested(value, 5, [&](pbf_writer& ints) {
        auto values = tensor.view<std::int64_t>();
        if (!values.empty()) ints.add_packed_int64(1, values.begin(), values.end());
      });
    default:
      return add_raw(7, stored_form(tensor));
  }
}

void write_immediate(pbf_writer& out, const Tensor& tensor) {
  {
    pbf_writer type(out, 2);
    write_type(type, tensor.type());
  }
  pbf_writer immediate(out, 3);
  if (!tensor.is_list()) {
    pbf_writer value(immediate, 1);
    return write_elements(value, tensor);
  }
  add_nested(immediate, 3, [&](pbf_writer& list) {
    for (const Tensor& element : tensor.elements()) {
      pbf_writer value(list, 1);
      write_immediate(value, element);
    }
  });
}

void write_reference(pbf_writer& out, const Type& weight_type, const BlobPlace& place) {
  {
    pbf_writer type(out, 2);
    write_type(type, weight_type);
  }
  pbf_writer blob(out, 5);
  blob.add_string(1, weight_file_reference);
  blob.add_uint64(2, place.offset);
}

void write_text(pbf_writer& out, const std::string& text) { write_immediate(out, Tensor::strings({}, {text})); }

void write_text_dictionary(pbf_writer& out, const std::map<std::string, std::string>& entries) {
  {
    pbf_writer type(out, 2);
    write_type(type, {DType::string, {}, Type::Kind::dictionary});
  }
  pbf_writer immediate(out, 3);
  pbf_writer dictionary(immediate, 4);
  for (const auto& [key, value] : entries) {
    pbf_writer pair(dictionary, 1);
    {
      pbf_writer first(pair, 1);
      write_text(first, key);
    }
    pbf_writer second(pair, 2);
    write_text(second, value);
  }
}

}  // namespace

std::string value_type_bytes(const Type& type) {
  std::string bytes;
  pbf_writer writer(bytes);
  write_type(writer, type);
  return bytes;
}

Result<std::string> value_bytes(const Weight& weight, const BlobPlace* place) {
  std::string bytes;
  pbf_writer writer(bytes);
  if (place) {
    write_reference(writer, weight.type(), *place);
    return bytes;
  }
  POM_REQUIRE(weight.stored_size() <= largest_immediate_bytes, "a {} is too large to be written in the program itself",
              weight.type().text());
  Tensor tensor = POM_TRY(weight.materialise());
  POM_REQUIRE(!tensor.is_dictionary(), "a dictionary is not a constant");
  write_immediate(writer, tensor);
  return bytes;
}

std::string text_value_bytes(const std::string& text) {
  std::string bytes;
  pbf_writer writer(bytes);
  write_text(writer, text);
  return bytes;
}

std::string text_dictionary_bytes(const std::map<std::string, std::string>& entries) {
  std::string bytes;
  pbf_writer writer(bytes);
  write_text_dictionary(writer, entries);
  return bytes;
}

}  // namespace pomona::mlpackage
