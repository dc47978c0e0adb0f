// A matrix that a checkpoint holds quantised, whatever the format: whole-number codes and, for each group of them along
// a row, a scale and perhaps an offset. From this one form come the decoded weight and the form that a program keeps.
//
//   value = scale * code                   Offset::none
//   value = scale * code + offset          Offset::shift      (GGUF's minima, MLX's biases)
//   value = scale * (code - offset)        Offset::zero       (AWQ, GPTQ: whole numbers)
//   value = scale * table[code]            (NF4, FP8)
//
//   Quantised q = ...;                                   // made by the readers of checkpoints
//   tensor.decoded = decoded(q);
//   tensor.keep = [q](const KeepOptions& o) { return kept(q, o); };
//
// Nothing is read before it is asked for, and then row by row.
#pragma once
#include <functional>
#include <memory>
#include <span>

#include "llm/checkpoint.h"

namespace pomona::llm {

enum class Offset : std::uint8_t { none, shift, zero };

struct Quantised {
  std::string storage;        // in words: "Q4_K", "AWQ int4 g128"
  Sizes sizes;                // the last one counts the columns
  std::int64_t group = 32;    // columns per scale; divides them
  DType codes = DType::int8;  // int4, uint4, int8 or uint8: what holds every code
  Offset offset = Offset::none;
  // When codes are indices: what they stand for, an entry for every value of `codes` (16 or 256).
  std::vector<float> table;
  std::vector<std::int8_t> values;  // ascending: the values that codes take, where they are few; else empty
  std::vector<Weight> sources;
  // Codes of rows [begin, begin + count), a byte each; scales and offsets likewise, row by row. `offsets` may be null
  // when there are none.
  std::function<void(std::span<const Tensor>, std::size_t begin, std::size_t count, std::uint8_t* codes)> read_codes;
  std::function<void(std::span<const Tensor>, std::size_t begin, std::size_t count, float* scales, float* offsets)>
      read_scales;
  std::string what;  // everything that changes the result beside the sources; part of the weights' identity

  std::size_t columns() const { return std::size_t(sizes.back()); }
  std::size_t rows() const { return columns() ? std::size_t(element_count(sizes)) / columns() : 0; }
  std::size_t groups() const { return columns() / std::size_t(group); }  // per row
};

// fp32, as the format's reference decodes it.
Weight decoded(const Quantised& quantised);
// What a program holds: codes unchanged, scales and offsets in the decoded weight's dtype. The note says where that
// could not be, and why.
Result<EncodedWeight> kept(const Quantised& quantised, const KeepOptions& options);

// With row i of the result being row rows[i] of the source.
Quantised with_rows(const Quantised& quantised, std::shared_ptr<const std::vector<std::size_t>> rows,
                    const std::string& what);
Weight with_rows(const Weight& matrix, std::shared_ptr<const std::vector<std::size_t>> rows, const std::string& what);

}  // namespace pomona::llm
