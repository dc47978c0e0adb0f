// A small program over vectors: what a chain of elementwise ops becomes. It runs over chunks of elements that stay in
// the first-level cache, one instruction over a whole chunk at a time.
//
//   VectorProgram p = ...;                                  // made by vector_compile.h
//   run_vector_program(p, sources, destination, 0, count);  // result elements [0, count)
//
// A register holds one chunk of 32-bit lanes: floats, or int32 (bool: 0 or 1). Narrow integers are widened on loading
// and cut on storing. The destination may be one of the sources that are read element by element.
#pragma once
#include <cstdint>
#include <vector>

#include "ir/tensor.h"

namespace pomona::cpu {

enum class Opcode : std::uint8_t {
  // float from float; alpha and beta are the instruction's
  absolute,
  square_root,
  floor,
  ceil,
  round,
  sign,
  square,
  exp,
  log,         // log(x + alpha)
  rsqrt,       // 1 / sqrt(x + alpha)
  reciprocal,  // 1 / (x + alpha)
  tanh,
  erf,
  sigmoid,
  sigmoid_weighted,  // x * sigmoid(alpha * x)
  gelu,
  gelu_tanh,
  softplus,
  softsign,
  elu,
  leaky_relu,
  thresholded_relu,
  at_least,  // max(x, alpha)
  clip,
  clamped_relu,  // min(beta, leaky_relu(x))
  hard_sigmoid,  // clip(alpha * x + beta, 0, 1)
  scale,         // alpha * x
  shift,         // x + beta
  affine,        // alpha * x + beta
  call,          // function(x)
  // float from two floats
  add,
  subtract,
  multiply,
  divide,
  maximum,
  minimum,
  prelu,         // x where x > 0, else y * x
  call_two,      // function_of_two(x, y)
  multiply_add,  // x * y + z
  // bool from two floats
  equal,
  not_equal,
  less,
  less_equal,
  // integers
  integer_add,
  integer_subtract,
  integer_multiply,
  integer_maximum,
  integer_minimum,
  integer_equal,
  integer_not_equal,
  integer_less,
  integer_less_equal,
  integer_call,
  integer_call_two,
  logical_and,
  logical_or,
  logical_xor,
  logical_not,
  select,  // x != 0 ? y : z, of any lanes
  // conversions
  float_from_integer,
  integer_from_float,
  bool_from_float,
  bool_from_integer,
  int8_from_integer,
  uint8_from_integer,
  int16_from_integer,
  uint16_from_integer,
  copy,
};

using RegisterNumber = std::uint16_t;
constexpr RegisterNumber no_register = 0xFFFF;

union RareFunction {
  double (*of_one)(double) = nullptr;
  double (*of_two)(double, double);
  std::int64_t (*of_integer)(std::int64_t);
  std::int64_t (*of_two_integers)(std::int64_t, std::int64_t);
};

struct Instruction {
  Opcode op;
  bool rounds = false;  // to fp16's values, afterwards
  RegisterNumber result = no_register, x = no_register, y = no_register, z = no_register;
  float alpha = 0, beta = 0;
  RareFunction function = {};
};

// Where a register's elements come from when they are not computed.
struct VectorSource {
  enum class Kind : std::uint8_t {
    whole,     // one element per result element, in the same order
    scalar,    // one element for all
    periodic,  // the same elements for every run along the innermost dimension
    strided,
  } kind;
  DType dtype;                               // as stored
  Sizes strides;                             // in elements, per dimension of the program
  bool direct = false;                       // read where it lies, without a copy into a buffer
  std::vector<std::uint32_t> constant = {};  // the program's own elements; then it takes no pointer
};

struct VectorProgram {
  Sizes sizes;                        // of the result, dimensions that can be walked as one being one
  std::vector<VectorSource> sources;  // registers 0 .. sources.size() - 1
  std::vector<Instruction> code;
  std::vector<std::uint8_t> buffers;  // of each register
  std::size_t buffer_count = 0;
  DType result = DType::fp32;  // as stored; the last instruction makes it
  std::size_t run = 1;         // elements along the innermost dimension
  std::size_t chunk = 0;       // elements handled at a time; whole runs, or a part of one
};

constexpr std::size_t largest_chunk = 512;
constexpr std::size_t most_buffers = 24, most_registers = 96;

// Makes result elements [begin, begin + count). `sources` has a pointer per source that is not constant, in order.
// `begin` should be a multiple of `run` (then periodic sources are read once).
void run_vector_program(const VectorProgram& program, const void* const* sources, void* destination, std::size_t begin,
                        std::size_t count);
// The same for all result elements, on all threads.
void run_vector_program(const VectorProgram& program, const void* const* sources, void* destination);

}  // namespace pomona::cpu
