// A 128-bit hash that names contents, fast enough for gigabytes. Not for security.
//
//   ContentHash hash;
//   hash.add(bytes);
//   hash.text()        // 32 hexadecimal digits
//
// Two chains of multiply and xor-shift, after the finalizer of MurmurHash3, each over all 8-byte words; long
// contents go through four such pairs in turn.
#pragma once
#include <cstdint>
#include <span>
#include <string>

namespace pomona {

class ContentHash {
 public:
  void add(std::span<const std::uint8_t> bytes);
  void add(const ContentHash& other);
  std::string text() const;

 private:
  void add_word(std::uint64_t word) {
    a_ = (a_ ^ word) * 0xFF51AFD7ED558CCD;
    a_ ^= a_ >> 32;
    b_ = (b_ + word) * 0xC4CEB9FE1A85EC53;
    b_ ^= b_ >> 29;
  }
  std::uint64_t a_ = 0x9E3779B97F4A7C15, b_ = 0xD1B54A32D192ED03;
};

}  // namespace pomona
