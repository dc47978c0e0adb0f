// The element types of GGUF tensors. Apart from plain numbers, a block of elements has whole-number codes and, for each
// group of them, a scale and perhaps a shift:
//
//   value = scale * code + shift         in fp32, the product rounded before the sum
//
// All block formats are of this kind when a format's table (IQ4_NL, MXFP4) or grid (IQ2, IQ3, IQ1) is taken as part of
// its codes; so one decoder serves them all, and whoever keeps codes and scales apart needs no other form.
//
//   const BlockType& t = *entry.type;                       // Q4_K: 256 elements in 144 bytes, a scale per 32
//   Weight w = POM_TRY(decoded(entry));                     // bit for bit what ggml's own conversion to float gives
#pragma once
#include <span>

#include "formats/gguf/gguf.h"
#include "ir/weight.h"

namespace pomona::gguf {

struct BlockType {
  std::uint32_t id;
  std::string_view name;
  unsigned elements, bytes;  // of a block
  // The element type of plain numbers, else what holds the codes: int4, uint4, int8 or uint8.
  DType dtype;
  unsigned group = 0;  // elements per scale, 0 for plain numbers
  bool shifted = false;
  // The values that codes take, ascending, when they are fewer than their dtype has.
  std::span<const std::int8_t> values = {};
  void (*read_codes)(const std::uint8_t* block, std::uint8_t* codes) = nullptr;            // `elements` of them
  void (*read_scales)(const std::uint8_t* block, float* scales, float* shifts) = nullptr;  // elements / group of each
};

// Errors: a number that no type has, or a type that was taken out of the format (which is named).
Result<const BlockType*> block_type(std::uint32_t id);
std::span<const BlockType> block_types();

// The tensor as floating-point numbers: fp16 and bf16 as they are stored, everything else as fp32.
Result<Weight> decoded(const TensorEntry& tensor);

// `count` consecutive blocks; shifts are written only by types that have them.
void read_codes(const BlockType& type, const std::uint8_t* blocks, std::size_t count, std::uint8_t* codes);
void read_scales(const BlockType& type, const std::uint8_t* blocks, std::size_t count, float* scales, float* shifts);

}  // namespace pomona::gguf
