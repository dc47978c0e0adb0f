// Reading protobuf in place: a message as a sequence of fields, each checked before it is used.
//
//   WireField field;
//   for (WireReader reader(message); POM_TRY(reader.next(field));)
//     switch (field.number) {
//       case 1: name = POM_TRY(field.text()); break;
//       case 2: POM_TRY(read_type(POM_TRY(field.message()))); break;
//     }
//
// Nothing is copied: texts and messages are views of the file. Errors say at which byte of the file they are. What
// protozero throws stays inside WireReader::next.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pomona::mlpackage {

// A (part of a) message; `origin` is the first byte of the file, for error messages.
struct Message {
  std::string_view bytes;
  const char* origin = nullptr;
  static Message whole(std::string_view file) { return {file, file.data()}; }
  std::uint64_t place() const { return std::uint64_t(bytes.data() - origin); }
};

struct WireField {
  enum class Kind : std::uint8_t { varint, fixed32, fixed64, bytes };
  std::uint32_t number = 0;
  Kind kind = Kind::varint;
  std::uint64_t value = 0;  // of a number
  Message contents;         // of bytes

  Result<std::int64_t> integer() const;
  Result<bool> boolean() const;
  Result<double> real() const;  // fixed32 is a float, fixed64 a double
  Result<std::string_view> text() const;
  Result<Message> message() const;
  // Appends to a repeated field: one number, or packed ones.
  Status append_integers(std::vector<std::int64_t>& out) const;
  // Adds to the little-endian elements of repeated floats (width 4) or doubles (width 8).
  Status append_fixed(std::string& out, std::size_t width) const;
};

class WireReader {
 public:
  explicit WireReader(Message message) : rest_(message) {}
  // False at the end.
  Result<bool> next(WireField& field);

 private:
  Message rest_;
};

// How deep messages that hold messages of their own kind may go.
constexpr int deepest_nesting = 64;

}  // namespace pomona::mlpackage
