// ONNX's element types: how each is stored, and which dtype computes with it in a program.
//
// Core ML computes in fp16, fp32, int32 and bool. double and bfloat16 compute in fp32; every integer computes in
// int32, and results of narrow types are wrapped to their range where arithmetic could leave it.
//
//   elem_info(Elem::int64).compute   // DType::int32
//
// What it does not do: convert values (tensor.h), or decide what the model's users see (ir/border.h).
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "ir/dtype.h"

namespace pomona::onnx {

// The numbers of TensorProto.DataType.
enum class Elem : std::uint8_t {
  undefined = 0,
  float32 = 1,
  uint8 = 2,
  int8 = 3,
  uint16 = 4,
  int16 = 5,
  int32 = 6,
  int64 = 7,
  string = 8,
  boolean = 9,
  float16 = 10,
  float64 = 11,
  uint32 = 12,
  uint64 = 13,
  bfloat16 = 16,
  float8e4m3fn = 17,
  float8e4m3fnuz = 18,
  float8e5m2 = 19,
  float8e5m2fnuz = 20,
  uint4 = 21,
  int4 = 22,
  float4e2m1 = 23,
  float8e8m0 = 24,
  uint2 = 25,
  int2 = 26,
};

struct ElemInfo {
  Elem elem;
  std::string_view name;  // as ONNX spells it
  DType stored;           // what a file's bytes hold
  DType compute;          // what a program computes with
  unsigned bits;          // of an integer; else 0
  bool is_signed;
  // Bits an element takes in a file when `stored` has no such dtype; its contents are decoded when they are read.
  unsigned packed_bits = 0;
};

// A floating-point format narrower than fp32. Bit patterns of all ones in the exponent mean infinity and NaN when
// `infinite`; else only what `nan` says is no number.
struct NarrowFloat {
  int mantissa_bits, smallest_exponent;  // of normal numbers
  double largest;
  bool infinite;  // overflow gives infinity, else NaN
  bool saturates_always;
  bool negative_zero;
};
// Null for types that are none.
const NarrowFloat* narrow_float(Elem elem);
// The number a packed element stands for.
double unpacked(Elem elem, unsigned bits);

// Null for types no program of ours can hold (complex).
const ElemInfo* find_elem(int data_type);
const ElemInfo& elem_info(Elem elem);
// The name of any number, known or not, for messages.
std::string_view elem_name(int data_type);
inline bool is_narrow_integer(Elem e) {
  return e == Elem::uint8 || e == Elem::int8 || e == Elem::uint16 || e == Elem::int16 || e == Elem::uint4 ||
         e == Elem::int4 || e == Elem::uint2 || e == Elem::int2;
}
inline bool is_unsigned_integer(Elem e) { return elem_info(e).bits != 0 && !elem_info(e).is_signed; }
inline bool is_integer_elem(Elem e) { return elem_info(e).bits != 0; }

}  // namespace pomona::onnx
