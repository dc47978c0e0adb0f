// Core ML's weight file ("blob storage", version 2): a header, then per tensor a record of 64 bytes and its data. All
// numbers are little endian, everything starts on a 64-byte boundary.
//
//   header   u32 count | u32 version = 2 | zeros
//   record   u32 0xDEADBEEF | u32 dtype | u64 size | u64 data offset | u64 unused bits at the end | zeros
//
//   Weight w = POM_TRY(read_blob(file, 64, DType::fp16, {24, 3}));     // a view of the mapped file
//   std::uint64_t offset = layout.add(DType::fp16, 72);                // where it will be; data follows the record
//
// A value in the program names the offset of the record, not of the data.
#pragma once
#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "ir/weight.h"

namespace pomona::mlpackage {

inline constexpr std::uint64_t blob_alignment = 64;

// The tensor whose record is at `offset`. Errors: the record is none, or of another dtype or size, or reaches past the
// end of the file.
Result<Weight> read_blob(const Bytes& file, std::uint64_t offset, DType dtype, const Sizes& sizes);

using BlobRecord = std::array<std::uint8_t, blob_alignment>;
BlobRecord blob_header(std::uint32_t count);
BlobRecord blob_record(DType dtype, std::uint64_t elements, std::uint64_t record_offset);

// Assigns places to tensors in the order they are added.
struct BlobLayout {
  std::uint32_t count = 0;
  std::uint64_t size = blob_alignment;  // of the file so far
  // The offset of the record.
  std::uint64_t add(DType dtype, std::uint64_t elements);
};

}  // namespace pomona::mlpackage
