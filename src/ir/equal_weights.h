// Weights that a file stores twice with the same bytes, found so that a program holds them once.
//
//   EqualWeights equal;
//   weight = equal.first_of(weight);   // an earlier one with these contents, if there was one
//
// A few bytes of each tell most of them apart; only what agrees in those is compared as a whole.
#pragma once
#include <string>
#include <unordered_map>

#include "ir/weight.h"

namespace pomona {

class EqualWeights {
 public:
  // Weights in memory and those that are computed are given back as they are: their identity tells what they hold.
  Weight first_of(const Weight& weight);

 private:
  std::unordered_multimap<std::string, Weight> seen_;  // by dtype, sizes and some bytes
};

}  // namespace pomona
