// Element types: one row each, with the names and numbers that MIL gives them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace pomona {

enum class DType : std::uint8_t {
  fp16,
  fp32,
  fp64,
  bf16,
  f8e4m3fn,
  f8e5m2,
  int4,
  int8,
  int16,
  int32,
  int64,
  uint1,
  uint2,
  uint3,
  uint4,
  uint6,
  uint8,
  uint16,
  uint32,
  uint64,
  boolean,
  string,
};
inline constexpr std::size_t dtype_count = 22;

struct DTypeInfo {
  std::string_view name;  // as MIL's text form and `dtype` strings spell it
  unsigned bits;          // per element in a file; string: 0
  bool floating, is_signed;
  int proto;  // MIL.proto's DataType
  int blob;   // the weight file's dtype, 0 where it has none
};
const DTypeInfo& info(DType dtype);
inline std::string_view name(DType dtype) { return info(dtype).name; }
inline bool is_float(DType dtype) { return info(dtype).floating; }
inline bool is_integer(DType d) { return !is_float(d) && d != DType::boolean && d != DType::string; }
inline bool is_sub_byte(DType d) { return info(d).bits < 8 && d != DType::string; }
// Bytes per element in memory, where sub-byte elements take one byte each and bool one byte. string: 0.
std::size_t element_size_bytes(DType dtype);
// Bytes of `count` elements in a file, sub-byte types packed.
std::uint64_t stored_size_bytes(DType dtype, std::uint64_t count);
// Smallest and largest value of an integer type or bool.
double lowest_value(DType dtype);
double highest_value(DType dtype);

std::optional<DType> dtype_named(std::string_view name);
std::optional<DType> dtype_of_proto(int number);
std::optional<DType> dtype_of_blob(int number);

// MIL operator sets; the number is also the oldest system that knows them.
enum class Target : std::uint8_t { never, iOS15, iOS16, iOS17, iOS18, iOS26 };
struct TargetInfo {
  std::string_view name, opset, macos;
  int spec_version;
};
const TargetInfo& info(Target target);
inline std::string_view name(Target target) { return info(target).name; }
// From "iOS18", "macOS15", "CoreML8", or any of the sister systems' names; case does not matter.
std::optional<Target> target_named(std::string_view name);

}  // namespace pomona
