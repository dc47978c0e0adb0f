// Where the operations of a function would run on a chip, why, how long they take and in how much memory. A prediction.
//
//   Placement p = POM_TRY(place(program.main(), {.chip = find_chip("M4"), .units = Units::all}));
//   p.ops[i].engine                  // with the verdict of every engine and the rules that gave it
//   p.segments                       // runs of ops on one engine; between them are copies
//
// Engines are chosen as Core ML is reported to choose them: an op goes to the Neural Engine when nothing speaks against
// it, unless it would stand alone there: starting an engine and copying to it costs time, and the plan minimises the
// sum over the program (a shortest path over ops and engines, linear in their number). So small graphs stay on the CPU.
//
// Times are bytes and operations over measured ceilings, the Neural Engine's own for the Neural Engine. They have an
// interval of a factor of two either way; for language models speed.h knows better.
#pragma once
#include <map>
#include <optional>
#include <vector>

#include "silicon/rule.h"

namespace pomona::silicon {

enum class Units : std::uint8_t { all, cpu_ne, cpu_gpu, cpu };

struct MemoryUse {
  std::uint64_t weights = 0;      // as stored
  std::uint64_t activations = 0;  // the most alive at once
  std::uint64_t states = 0;
  std::uint64_t total() const { return weights + activations + states; }
};

struct PlaceOptions {
  const Chip* chip = nullptr;
  int gpu_cores = 0;  // 0: the full bin
  Units units = Units::all;
  Target system = Target::iOS26;
  std::map<std::string, std::int64_t> sizes = {};  // of flexible dimensions, by name; others have their default
  std::optional<MemoryUse> memory = {};            // as a plan of the same function and sizes found it
};

struct OpPlacement {
  const Node* node = nullptr;
  Engine engine = Engine::cpu;
  Verdict verdicts[engine_count] = {};
  std::vector<const PlacementRule*> rules;  // that fired
  double seconds = 0;                       // on `engine`
  double flops = 0;
  std::uint64_t weight_bytes = 0, activation_bytes = 0;
  bool free = false;  // computes sizes only: no part of any engine's work
};

struct Segment {
  Engine engine;
  std::size_t begin = 0, end = 0;  // of ops
  double seconds = 0;              // starting the engine and copying to it included
  std::uint64_t copied_bytes = 0;  // at its start
};

// Ops that end a segment of the Neural Engine, all of one kind.
struct Break {
  const OpPlacement* op;      // the first one
  const PlacementRule* rule;  // why; null: it is cheaper elsewhere
  std::size_t count = 0;
  double seconds = 0;  // what they cost together, in copies and starts
};

struct Placement {
  std::vector<OpPlacement> ops;  // in an order that keeps engines together where the graph leaves it open
  std::vector<Segment> segments;
  std::vector<Break> breaks;
  double seconds = 0, low_seconds = 0, high_seconds = 0;
  MemoryUse memory;
  std::size_t count(Engine engine) const;  // ops, free ones left out
  std::size_t counted() const;
  std::string note;  // "small: ..." and the like; may be empty
};

// Errors: no chip.
Result<Placement> place(const Function& function, const PlaceOptions& options);

}  // namespace pomona::silicon
