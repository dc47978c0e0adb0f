// A weight as a program will hold it: a plain constant, or constants and the constexpr op that decodes them.
//
//   EncodedWeight w = ...;                               // a reader that keeps a file's 4-bit blocks as they are
//   Value v = add_encoded(g, w, "layers.0.mlp.up");      // one const, or operands and constexpr_blockwise_shift_scale
//
// Readers of quantised files make these, and so may anything that encodes weights; nothing here knows an op by name.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "ir/builder.h"

namespace pomona {

struct EncodedWeight {
  const OpDef* op = nullptr;          // null: `operands` is one plain weight
  std::vector<Attribute> attributes;  // one per attribute field of the op
  std::vector<Weight> operands;       // one per input field of the op; without contents where it is absent
  // Makes the operand `data`, which then has no contents; null where that is a constant.
  std::shared_ptr<const EncodedWeight> data;
  std::string scheme;  // in words: "uint4 per block of 32 (Q4_1)"
  std::string note;    // what differs from the source: "decoded: a scale leaves the range of fp16"
};

// The weight's value, behind new nodes; the operands are named after `name`.
Value add_encoded(Builder& g, const EncodedWeight& weight, const std::string& name);
// Bytes in a package.
std::uint64_t stored_size(const EncodedWeight& weight);

}  // namespace pomona
