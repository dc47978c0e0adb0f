// Loops whose number of rounds is not known before the model runs, as MIL's while_loop. What each round gives is
// collected in lists.
//
//   auto body = [&](Block& block, const Entries& in) { return g.graphs().lower_graph(graph, block, in); };
//   WhileLoop loop{.body = body, .states = entries, .rounds = m, .first = cond, .counts = true};
//   std::vector<Entry> all = POM_TRY(loop.lower(g));      // the states, then what was collected
//
// The dims of a state may change from round to round: they are left open then.
#pragma once
#include <functional>

#include "formats/onnx/lowering.h"

namespace pomona::onnx {

struct ScanInput {
  Entry entry;
  std::size_t axis = 0;
  bool backward = false;
};
struct ScanOutput {
  std::int64_t axis = 0;
  bool backward = false;
};

// What each round gives, by its type.
struct Collected {
  Type type;
  Elem elem;
};

struct WhileLoop {
  // Lowers a round into a block. It may be called several times.
  std::function<Result<std::vector<Entry>>(Block& block, const std::vector<Entry>& inputs)> body;
  std::vector<Entry> states;
  Value rounds, first;  // empty: no limit; true
  bool counts = true;   // the body takes the number of the round and a condition, and gives a condition (Loop)
  std::vector<ScanInput> inputs;
  std::vector<ScanOutput> outputs;  // of what is collected; empty: along the first axis

  Result<std::vector<Entry>> lower(Lowering& g) const;

 private:
  Result<bool> attempt(Lowering& g, std::vector<Type>& types, std::vector<Collected>& collected,
                       std::vector<std::unique_ptr<Block>>& blocks) const;
  Values variables(Lowering& g, const std::vector<Collected>& collected) const;
  Result<Entry> gathered(Lowering& g, Value list, const Collected& one, std::size_t i, Value count) const;
};

}  // namespace pomona::onnx
