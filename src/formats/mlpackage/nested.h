// A message inside a message. protozero's own nested writers leave out messages without contents, but MIL means
// something by them: an unknown dimension, a tensor without elements.
//
//   add_nested(tensor, 3, [&](pbf_writer& dimension) { ... });
#pragma once
#include <protozero/pbf_writer.hpp>
#include <string>

namespace pomona::mlpackage {

template <class Fill>
void add_nested(protozero::pbf_writer& out, protozero::pbf_tag_type tag, Fill&& fill) {
  std::string bytes;
  {
    protozero::pbf_writer message(bytes);
    fill(message);
  }
  out.add_message(tag, bytes);
}
inline void add_empty(protozero::pbf_writer& out, protozero::pbf_tag_type tag) { out.add_message(tag, nullptr, 0); }

}  // namespace pomona::mlpackage
