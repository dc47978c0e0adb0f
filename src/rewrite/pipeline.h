// The order in which passes and rules make an imported program fit for Core ML: pipeline.cpp is that order.
//
//   Report report;
//   POM_TRY(optimise(program, {.precision = Precision::half}, report));
//
// The target is each function's own operator set.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <unordered_set>
#include <vector>

#include "ir/program.h"
#include "rewrite/rule.h"

namespace pomona::rewrite {

enum class Precision : std::uint8_t {
  half,    // fp32 becomes fp16 where that keeps its meaning
  single,  // fp16 becomes fp32
  kept     // as the program has it
};

// Says which nodes of a function, which computes in fp32 still, are to stay as they are.
using ChooseSingle = std::function<Result<std::unordered_set<const Node*>>(Function& function)>;

struct PipelineOptions {
  Precision precision = Precision::half;
  bool half_border = false;  // fp16 inputs and outputs
  // With half precision: the nodes it names compute in fp32 all the same. Asked once for each function.
  ChooseSingle stay_single = {};
  bool check_each_pass = false;  // an error names the first pass that leaves a broken program
  // Called after each pass, with its name as the report has it.
  std::function<Status(std::string_view pass, const Program&)> after = {};
  RuleList rules = {};   // the user's, applied before all others
  std::string why = {};  // a rule whose refusals are reported
};

struct Report {
  std::vector<std::string> sentences;  // what changed at the border, for the user
  struct PassTime {
    std::string_view pass;
    double seconds;
  };
  std::vector<PassTime> times;
  std::map<std::string_view, std::size_t> rules;  // how often each rewrite rule applied
  std::vector<Refusal> refusals;                  // of the rule that was asked for
};

Status optimise(Program& program, const PipelineOptions& options, Report& report);

}  // namespace pomona::rewrite
