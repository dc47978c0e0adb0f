#include "base/content_hash.h"

#include <fmt/format.h>

#include <cstring>

namespace pomona {

namespace {

std::uint64_t word_at(const std::uint8_t* bytes) {
  std::uint64_t word;
  std::memcpy(&word, bytes, 8);
  return word;
}

}  // namespace

void ContentHash::add(std::span<const std::uint8_t> bytes) {
  std::size_t at = 0;
  // Each chain waits for its last product; four beside each other keep the multiplier busy.
  if (bytes.size() >= 4096) {
    ContentHash a, b, c, d;
    for (; at + 32 <= bytes.size(); at += 32) {
      a.add_word(word_at(bytes.data() + at));
      b.add_word(word_at(bytes.data() + at + 8));
      c.add_word(word_at(bytes.data() + at + 16));
      d.add_word(word_at(bytes.data() + at + 24));
    }
    for (const ContentHash* each : {&a, &b, &c, &d}) add(*each);
  }
  for (; at + 8 <= bytes.size(); at += 8) add_word(word_at(bytes.data() + at));
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

}  // namespace pomona
