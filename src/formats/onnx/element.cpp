#include "formats/onnx/element.h"

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
};
constexpr std::string_view all_names[] = {
    "undefined", "float",      "uint8",      "int8",         "uint16",         "int16",      "int32",
    "int64",     "string",     "bool",       "float16",      "double",         "uint32",     "uint64",
    "complex64", "complex128", "bfloat16",   "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz",
    "uint4",     "int4",       "float4e2m1", "float8e8m0",   "uint2",          "int2"};

}  // namespace

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
