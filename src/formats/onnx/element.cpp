#include "formats/onnx/element.h"

#include <cmath>

namespace pomona::onnx {
namespace {

constexpr ElemInfo rows[] = {
    {Elem::undefined, "undefined", DType::fp32, DType::fp32, 0, false},
    {Elem::float32, "float", DType::fp32, DType::fp32, 0, true},
    {Elem::uint8, "uint8", DType::uint8, DType::int32, 8, false},
    {Elem::int8, "int8", DType::int8, DType::int32, 8, true},
    {Elem::uint16, "uint16", DType::uint16, DType::int32, 16, false},
    {Elem::int16, "int16", DType::int16, DType::int32, 16, true},
    {Elem::int32, "int32", DType::int32, DType::int32, 32, true},
    {Elem::int64, "int64", DType::int64, DType::int32, 64, true},
    {Elem::string, "string", DType::string, DType::string, 0, false},
    {Elem::boolean, "bool", DType::boolean, DType::boolean, 0, false},
    {Elem::float16, "float16", DType::fp16, DType::fp16, 0, true},
    {Elem::float64, "double", DType::fp64, DType::fp32, 0, true},
    {Elem::uint32, "uint32", DType::uint32, DType::int32, 32, false},
    {Elem::uint64, "uint64", DType::uint64, DType::int32, 64, false},
    {Elem::bfloat16, "bfloat16", DType::bf16, DType::fp32, 0, true},
    {Elem::float8e4m3fn, "float8e4m3fn", DType::f8e4m3fn, DType::fp32, 0, true},
    {Elem::float8e5m2, "float8e5m2", DType::f8e5m2, DType::fp32, 0, true},
    {Elem::uint4, "uint4", DType::uint4, DType::int32, 4, false},
    {Elem::int4, "int4", DType::int4, DType::int32, 4, true},
    {Elem::float8e4m3fnuz, "float8e4m3fnuz", DType::fp32, DType::fp32, 0, true, 8},
    {Elem::float8e5m2fnuz, "float8e5m2fnuz", DType::fp32, DType::fp32, 0, true, 8},
    {Elem::float4e2m1, "float4e2m1", DType::fp32, DType::fp32, 0, true, 4},
    {Elem::float8e8m0, "float8e8m0", DType::fp32, DType::fp32, 0, true, 8},
    {Elem::uint2, "uint2", DType::uint8, DType::int32, 2, false, 2},
    {Elem::int2, "int2", DType::int8, DType::int32, 2, true, 2},
};
constexpr std::string_view all_names[] = {
    "undefined", "float",      "uint8",      "int8",         "uint16",         "int16",      "int32",
    "int64",     "string",     "bool",       "float16",      "double",         "uint32",     "uint64",
    "complex64", "complex128", "bfloat16",   "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz",
    "uint4",     "int4",       "float4e2m1", "float8e8m0",   "uint2",          "int2"};

struct FloatRow {
  Elem elem;
  NarrowFloat format;
};
constexpr FloatRow floats[] = {
    {Elem::bfloat16, {7, -126, 0x1.FEp127, true, false, true}},
    {Elem::float8e4m3fn, {3, -6, 448, false, false, true}},
    {Elem::float8e4m3fnuz, {3, -7, 240, false, false, false}},
    {Elem::float8e5m2, {2, -14, 57344, true, false, true}},
    {Elem::float8e5m2fnuz, {2, -15, 57344, false, false, false}},
    {Elem::float4e2m1, {1, 0, 6, false, true, true}},
};

}  // namespace

const NarrowFloat* narrow_float(Elem elem) {
  for (const FloatRow& row : floats)
    if (row.elem == elem) return &row.format;
  return nullptr;
}

double unpacked(Elem elem, unsigned bits) {
  const ElemInfo& info = elem_info(elem);
  unsigned width = info.packed_bits, sign = bits >> (width - 1) & 1;
  if (info.bits) return info.is_signed && sign ? double(bits) - double(1u << width) : double(bits);
  if (elem == Elem::float8e8m0) return bits == 255 ? std::nan("") : std::ldexp(1.0, int(bits) - 127);
  const NarrowFloat& f = *narrow_float(elem);
  // Without a negative zero, its pattern is the one that is no number.
  if (!f.negative_zero && bits == 1u << (width - 1)) return std::nan("");
  unsigned mantissa = bits & ((1u << f.mantissa_bits) - 1);
  unsigned exponent = (bits & ((1u << (width - 1)) - 1)) >> f.mantissa_bits;
  double value = exponent == 0 ? std::ldexp(mantissa, f.smallest_exponent - f.mantissa_bits)
                               : std::ldexp(mantissa + (1u << f.mantissa_bits),
                                            int(exponent) - 1 + f.smallest_exponent - f.mantissa_bits);
  return sign ? -value : value;
}

const ElemInfo* find_elem(int data_type) {
  for (const ElemInfo& row : rows)
    if (int(row.elem) == data_type && row.elem != Elem::undefined) return &row;
  return nullptr;
}
const ElemInfo& elem_info(Elem elem) {
  for (const ElemInfo& row : rows)
    if (row.elem == elem) return row;
  return rows[0];
}
std::string_view elem_name(int data_type) {
  if (data_type < 0 || std::size_t(data_type) >= std::size(all_names)) return "an unknown type";
  return all_names[data_type];
}

}  // namespace pomona::onnx
