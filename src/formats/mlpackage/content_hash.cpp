#include "formats/mlpackage/content_hash.h"

#include <fmt/format.h>

#include <cstring>

namespace pomona::mlpackage {

void ContentHash::add(std::span<const std::uint8_t> bytes) {
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data() + at, 8);
    add_word(word);
  }
  std::uint64_t tail = 0;
  for (std::size_t i = 0; at + i < bytes.size(); ++i) tail |= std::uint64_t(bytes[at + i]) << (8 * i);
  add_word(tail);
  add_word(bytes.size());
}
void ContentHash::add(const ContentHash& other) {
  add_word(other.a_);
  add_word(other.b_);
}
std::string ContentHash::text() const { return fmt::format("{:016x}{:016x}", a_, b_); }

}  // namespace pomona::mlpackage
