// What is likely to go wrong with a program on the systems and chips it is meant for, before it does.
//
//   for (const Concern& c : concerns_of(program, {.target = Target::iOS17})) c.text, c.advice
//
// Checks are records, like placement rules; they look at whole programs.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "ir/program.h"
#include "silicon/chips.h"

namespace pomona::silicon {

enum class Weightiness : std::uint8_t { note, warning, failure };
std::string_view name(Weightiness weight);

struct CheckAt {
  const Program& program;
  Target target;     // the oldest system that has to run it
  const Chip& chip;  // whose Neural Engine
};
struct Concern {
  std::string_view check;
  Weightiness weight;
  std::string place;  // "op 'x'", "input 'y'"; may be empty
  std::string text, advice;
  std::string_view source;
  char confidence = 'A';
};
struct Check {
  std::string_view id;
  std::string_view what;
  void (*run)(const CheckAt& at, std::vector<Concern>& found);
};
std::span<const Check> checks();
// What the program's constants take in its file, each stored once.
std::uint64_t weight_file_bytes(const Program& program);
// The heaviest first.
std::vector<Concern> concerns_of(const CheckAt& at);

}  // namespace pomona::silicon
