// A program as a chain of programs that run one after another, each with a share of the weights; and whole again.
//
//   Chain chain = POM_TRY(cut_into_chain(program, {.parts = 4}));      // or {.most_bytes = 1'900'000'000}
//   Program whole = POM_TRY(join_chain(chain));
//
// Every function is cut at the same places: between the same weights, where the least passes from one part to the next
// (in a transformer: between its layers). What passes is an output of one part and an input, of the same name, of later
// ones. What comes of a few small inputs alone (masks, positions) is not passed but computed in each part; a state, and
// all that reads or writes it, stays in one part. Weights that several parts need are in each of them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "ir/program.h"

namespace pomona::rewrite {

struct ChainLimits {
  std::size_t parts = 0;         // 0: as many as `most_bytes` asks for
  std::uint64_t most_bytes = 0;  // of a part's weights; 0: no limit
  // The first part has the tables that rows are looked up in at the beginning, and nothing else; with neither of the
  // above, the second has all the rest.
  bool embedding_apart = false;
};
// What the whole program's users see of a function, in order.
struct ChainBorder {
  std::string function;
  std::vector<std::string> inputs, outputs, states;
};
struct Chain {
  std::vector<Program> parts;
  std::vector<ChainBorder> borders;
  std::vector<std::uint64_t> weight_bytes;  // of each part
  std::string default_function;
};

// Errors: the program has no so many places to be cut at; a part cannot be made small enough; it does not begin with an
// embedding, which was to be apart.
Result<Chain> cut_into_chain(const Program& program, const ChainLimits& limits);
// Errors: a part wants what none before it gives.
Result<Program> join_chain(const Chain& chain);

}  // namespace pomona::rewrite
