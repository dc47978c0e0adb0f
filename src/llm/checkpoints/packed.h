// Codes packed into 32-bit words, as the quantisers of PyTorch's world write them: a stream of bits along a column of
// words (GPTQ) or along a row of them (AWQ, compressed-tensors, MLX).
#pragma once
#include <cstdint>
#include <cstring>

namespace pomona::llm {

inline std::uint32_t word_at(const std::uint8_t* words, std::size_t index) {
  std::uint32_t word;
  std::memcpy(&word, words + 4 * index, 4);
  return word;
}

// Code `index` of a stream of `bits` each, whose words lie `step` words apart, the first one at `first`.
inline std::uint32_t code_at(const std::uint8_t* words, std::size_t first, std::size_t step, std::size_t index,
                             unsigned bits) {
  std::size_t at = index * bits, word = first + at / 32 * step;
  unsigned shift = unsigned(at % 32);
  std::uint64_t both = word_at(words, word);
  if (shift + bits > 32) both |= std::uint64_t(word_at(words, word + step)) << 32;
  return std::uint32_t(both >> shift & ((1u << bits) - 1));
}

// The same where no code goes over from one word to the next: of 3 bits, ten are in each.
inline std::uint32_t whole_code_at(const std::uint8_t* words, std::size_t first, std::size_t step, std::size_t index,
                                   unsigned bits) {
  std::size_t each = 32 / bits;
  return word_at(words, first + index / each * step) >> (index % each * bits) & ((1u << bits) - 1);
}

}  // namespace pomona::llm
