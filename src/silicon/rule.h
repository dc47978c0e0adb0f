// Placement rules: why an operation would not, or hardly, or only when written otherwise run on an engine of the chip.
//
//   for (const PlacementRule& rule : placement_rules()) if (rule.matches(at)) ...
//
// A rule is a record: what it is about, its verdict, where it comes from and how sure that is. Confidence A is Apple's
// own text or source, B several independent reports or a documented error, C one report. To add a rule: a row in the
// rules_*.cpp of its topic.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ir/program.h"
#include "silicon/chips.h"

namespace pomona::silicon {

enum class Engine : std::uint8_t { ane, gpu, cpu };
inline constexpr std::size_t engine_count = 3;
std::string_view name(Engine engine);  // "Neural Engine", "GPU", "CPU"

enum class Verdict : std::uint8_t {
  can,
  prefers,    // runs, but would rather have the form that `mend` names
  rewritten,  // only after the change that `mend` names
  unlikely,
  cannot,
};
std::string_view name(Verdict verdict);
inline bool runs(Verdict verdict) { return verdict <= Verdict::prefers; }

// What a rule may look at. Sizes are those of the plan: flexible dimensions have their default.
struct RuleAt {
  const Node& node;
  const Chip& chip;
  Target system;                    // the OS generation the program will run on
  bool flexible;                    // a result or operand has a dimension that is not fixed
  bool enumerated;                  // and it takes listed sizes only
  const std::vector<Sizes>& sizes;  // of the operands, then of the results

  std::string_view op() const;
  Value operand(std::string_view field) const;
  std::optional<Sizes> sizes_of(Value value) const;
  bool is_any_of(std::initializer_list<std::string_view> names) const;
  // The constexpr op that decodes the operand (the last of a chain), or null.
  static const Node* decoder(Value value);
};

struct PlacementRule {
  std::string_view id;  // "ane.stride"
  Engine engine;
  Verdict verdict;
  char confidence;
  std::string_view why;     // a sentence
  std::string_view mend;    // what to do; empty: nothing is known
  std::string_view source;  // where it is from
  bool (*matches)(const RuleAt& at);
  bool mended_by_convert = false;  // `convert --for ane` makes the change
};

// Every rule, in the order in which reasons are told.
std::span<const PlacementRule> placement_rules();
const PlacementRule* find_rule(std::string_view id);
// What to do about the rule, and whether `convert --for ane` does it; may be empty.
std::string mend_text(const PlacementRule& rule);

// Whether a constexpr op scales by blocks: by more than one axis.
bool scales_blocks(const Node& decoder);

// The topics, in rules_*.cpp.
std::span<const PlacementRule> dtype_and_shape_rules();
std::span<const PlacementRule> op_rules();
std::span<const PlacementRule> weight_rules();
std::span<const PlacementRule> state_rules();

}  // namespace pomona::silicon
