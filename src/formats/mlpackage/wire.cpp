#include "formats/mlpackage/wire.h"

#include <bit>
#include <cstring>
#include <protozero/pbf_reader.hpp>

namespace pomona::mlpackage {
namespace {

Error wrong_kind(const WireField& field, const char* wanted) {
  static constexpr const char* kinds[] = {"an integer", "a 32-bit number", "a 64-bit number", "bytes"};
  return fail("byte {}: field {} is {}, not {}", field.contents.place(), field.number, kinds[int(field.kind)], wanted);
}

}  // namespace

Result<bool> WireReader::next(WireField& field) {
  if (rest_.bytes.empty()) return false;
  field.contents = {rest_.bytes.substr(0, 0), rest_.origin};
  try {
    protozero::pbf_reader reader(rest_.bytes.data(), rest_.bytes.size());
    reader.next();
    field.number = reader.tag();
    switch (reader.wire_type()) {
      case protozero::pbf_wire_type::varint:
        field.kind = WireField::Kind::varint;
        field.value = reader.get_uint64();
        break;
      case protozero::pbf_wire_type::fixed64:
        field.kind = WireField::Kind::fixed64;
        field.value = reader.get_fixed64();
        break;
      case protozero::pbf_wire_type::fixed32:
        field.kind = WireField::Kind::fixed32;
        field.value = reader.get_fixed32();
        break;
      default: {
        field.kind = WireField::Kind::bytes;
        protozero::data_view view = reader.get_view();
        field.contents.bytes = {view.data(), view.size()};
      }
    }
    rest_.bytes.remove_prefix(rest_.bytes.size() - reader.length());
  } catch (const std::exception& error) {
    return fail("byte {} is damaged protobuf: {}", rest_.place(), error.what());
  }
  return true;
}

Result<std::int64_t> WireField::integer() const {
  if (kind != Kind::varint) return wrong_kind(*this, "an integer");
  return std::int64_t(value);
}
Result<bool> WireField::boolean() const { return POM_TRY(integer()) != 0; }
Result<double> WireField::real() const {
  if (kind == Kind::fixed32) return double(std::bit_cast<float>(std::uint32_t(value)));
  if (kind == Kind::fixed64) return std::bit_cast<double>(value);
  return wrong_kind(*this, "a number of 32 or 64 bits");
}
Result<std::string_view> WireField::text() const {
  if (kind != Kind::bytes) return wrong_kind(*this, "a text");
  return contents.bytes;
}
Result<Message> WireField::message() const {
  if (kind != Kind::bytes) return wrong_kind(*this, "a message");
  return contents;
}

Status WireField::append_integers(std::vector<std::int64_t>& out) const {
  if (kind == Kind::varint) {
    out.push_back(std::int64_t(value));
    return {};
  }
  if (kind != Kind::bytes) return wrong_kind(*this, "integers");
  const char *at = contents.bytes.data(), *end = at + contents.bytes.size();
  try {
    while (at != end) out.push_back(std::int64_t(protozero::decode_varint(&at, end)));
  } catch (const std::exception& error) {
    return fail("byte {} is damaged protobuf: {}", contents.place(), error.what());
  }
  return {};
}

Status WireField::append_fixed(std::string& out, std::size_t width) const {
  if (kind == Kind::bytes) {
    POM_REQUIRE(contents.bytes.size() % width == 0, "byte {}: {} bytes are not numbers of {} bytes", contents.place(),
                contents.bytes.size(), width);
    out.append(contents.bytes);
    return {};
  }
  if (kind != (width == 4 ? Kind::fixed32 : Kind::fixed64)) return wrong_kind(*this, "numbers");
  out.append(reinterpret_cast<const char*>(&value), width);
  return {};
}

}  // namespace pomona::mlpackage
