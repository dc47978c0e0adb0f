#include "formats/mlpackage/blob.h"

#include <cstring>

namespace pomona::mlpackage {
namespace {

constexpr std::uint32_t sentinel = 0xDEADBEEF, storage_version = 2;

template <class T>
T number_at(const Bytes& bytes, std::size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}
template <class T>
void put(BlobRecord& record, std::size_t offset, T value) {
  std::memcpy(record.data() + offset, &value, sizeof(T));
}

}  // namespace

Result<Weight> read_blob(const Bytes& file, std::uint64_t offset, DType dtype, const Sizes& sizes) {
  Bytes header = POM_TRY_IN(file.slice(0, blob_alignment), "header of the weight file");
  auto version = number_at<std::uint32_t>(header, 4);
  POM_REQUIRE(version == storage_version, "the weight file has version {}; only 2 is read", version);
  Bytes record = POM_TRY_IN(file.slice(offset, blob_alignment), "weight record at {}", offset);
  POM_REQUIRE(number_at<std::uint32_t>(record, 0) == sentinel, "there is no weight record at {}", offset);
  auto stored_dtype = dtype_of_blob(int(number_at<std::uint32_t>(record, 4)));
  POM_REQUIRE(stored_dtype == dtype, "the weight record at {} is {}, but {} is wanted", offset,
              stored_dtype ? name(*stored_dtype) : "of an unknown dtype", name(dtype));
  auto size = number_at<std::uint64_t>(record, 8), begin = number_at<std::uint64_t>(record, 16);
  POM_REQUIRE(begin % blob_alignment == 0, "the data of the weight record at {} begins at {}, not at a multiple of 64",
              offset, begin);
  Bytes data = POM_TRY_IN(file.slice(begin, size), "data of the weight record at {}", offset);
  Weight weight = POM_TRY_IN(Weight::stored(data, dtype, sizes), "weight record at {}", offset);
  POM_REQUIRE(weight.stored_size() == size, "the weight record at {} has {} bytes, but {} {} need {}", offset, size,
              name(dtype), to_string(sizes), weight.stored_size());
  return weight;
}

BlobRecord blob_header(std::uint32_t count) {
  BlobRecord header{};
  put(header, 0, count);
  put(header, 4, storage_version);
  return header;
}

BlobRecord blob_record(DType dtype, std::uint64_t elements, std::uint64_t record_offset) {
  BlobRecord record{};
  std::uint64_t size = stored_size_bytes(dtype, elements);
  put(record, 0, sentinel);
  put(record, 4, std::uint32_t(info(dtype).blob));
  put(record, 8, size);
  put(record, 16, record_offset + blob_alignment);
  put(record, 24, std::uint64_t(8 * size - elements * info(dtype).bits));
  return record;
}

std::uint64_t BlobLayout::add(DType dtype, std::uint64_t elements) {
  std::uint64_t offset = (size + blob_alignment - 1) / blob_alignment * blob_alignment;
  size = offset + blob_alignment + stored_size_bytes(dtype, elements);
  ++count;
  return offset;
}

}  // namespace pomona::mlpackage
