#include "rewrite/pipeline.h"

#include <algorithm>
#include <chrono>

#include "base/interrupt.h"
#include "base/record.h"
#include "ir/verify.h"
#include "rewrite/passes/passes.h"
#include "rewrite/rules/rules.h"

namespace pomona::rewrite {
namespace {

// Runs passes, notes how long each took, and shows the program to whoever wants to see it after each.
class Runner {
 public:
  Runner(Program& program, const PipelineOptions& options, Report& report)
      : program_(program), options_(options), report_(report) {}
  template <class Pass>
  auto operator()(std::string_view name, Pass&& pass) {
    struct Note {
      Runner& runner;
      std::string_view name;
      std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
      ~Note() {
        runner.report_.times.push_back(
            {name, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()});
        if (runner.options_.after && runner.shown_) runner.shown_ = runner.options_.after(name, runner.program_);
      }
    } note{*this, name};
    return pass();
  }
  // The first failure of showing.
  Status shown() { return std::move(shown_); }

 private:
  Program& program_;
  const PipelineOptions& options_;
  Report& report_;
  Status shown_;
};

// What holds between passes, too; the border and the ranks are made right by passes of their own.
Status check_contract(const Program& program, std::string_view pass) {
  constexpr std::string_view promised[] = {"order", "types", "constants"};
  for (const auto& function : program.functions)
    for (const Finding& finding : findings_of(*function))
      if (std::find(std::begin(promised), std::end(promised), finding.rule) != std::end(promised))
        return fail("after {}, {}: {}", pass, finding.place, finding.text).blame(Fault::bug);
  return {};
}

}  // namespace

Status optimise(Program& program, const PipelineOptions& options, Report& report) {
  std::vector<std::string_view> known;
  for (const Rule* rule : all_rules()) known.push_back(rule->name);
  for (const Rule* rule : options.rules) known.push_back(rule->name);
  if (!options.why.empty() && std::find(known.begin(), known.end(), options.why) == known.end()) {
    std::string near = nearest_word(options.why, known);
    return fail("there is no rule '{}'", options.why).advise(near.empty() ? "one of those in src/rewrite/rules" : near);
  }
  Runner run(program, options, report);
  RuleTrace trace{options.why, {}};
  auto check = [&](std::string_view pass) {
    return options.check_each_pass ? check_contract(program, pass) : Status();
  };
  auto add_sentences = [&](std::vector<std::string> found) {
    report.sentences.insert(report.sentences.end(), found.begin(), found.end());
  };
  auto clean = [&]() -> Status {
    run("remove_dead", [&] { remove_dead(program); });
    POM_TRY(run("fold_constants", [&] { return fold_constants(program); }));
    run("merge_equal", [&] { merge_equal(program); });
    return check("fold_constants and merge_equal");
  };
  auto apply = [&](std::string_view topic, std::initializer_list<RuleList> lists) -> Status {
    POM_TRY(check_interrupt());
    std::vector<const Rule*> rules;
    for (RuleList list : lists) rules.insert(rules.end(), list.begin(), list.end());
    auto applied =
        POM_TRY(run(topic, [&] { return apply_rules(program, rules, options.why.empty() ? nullptr : &trace); }));
    for (std::size_t i = 0; i < rules.size(); ++i)
      if (applied[i]) report.rules[rules[i]->name] += applied[i];
    return check(topic);
  };
  POM_TRY(clean());
  if (!options.rules.empty()) POM_TRY(apply("rules_of_the_user", {options.rules}));
  // One spelling first, so that patterns need not know all of them.
  POM_TRY(apply("cleaning", {cleaning_rules()}));
  POM_TRY(clean());
  POM_TRY(apply("activations_and_norms", {cleaning_rules(), activation_rules(), norm_rules()}));
  POM_TRY(apply("attention", {attention_rules()}));
  POM_TRY(run("cancel_transposes", [&] { return cancel_transposes(program); }));
  POM_TRY(check("cancel_transposes"));
  // Scales are pairs of a mul and a constant to every rule before this; here they go into weights.
  POM_TRY(apply("fusions", {cleaning_rules(), fusion_rules()}));
  POM_TRY(run("limit_rank", [&] { return limit_rank(program); }));
  POM_TRY(check("limit_rank"));
  POM_TRY(run("fit_target", [&] { return fit_target(program); }));
  if (options.engine) {
    POM_TRY(clean());  // so that what is constant is seen to be
    add_sentences(POM_TRY(run("suit_engine", [&] { return suit_engine(program, *options.engine); })));
    POM_TRY(check("suit_engine"));
  }
  POM_TRY(apply("cleaning", {cleaning_rules()}));
  POM_TRY(clean());
  if (options.precision == Precision::half)
    add_sentences(POM_TRY(run("use_half", [&] { return use_half(program, {.stay_single = options.stay_single}); })));
  if (options.precision == Precision::single) POM_TRY(run("use_single", [&] { return use_single(program); }));
  POM_TRY(check("use_half"));
  add_sentences(POM_TRY(run("adapt_border", [&] { return adapt_border(program, {.half = options.half_border}); })));
  // Casts that meet cancel.
  POM_TRY(apply("casts", {cleaning_rules()}));
  POM_TRY(clean());
  run("remove_dead", [&] { remove_dead(program); });
  POM_TRY(run("widen_selects", [&] { return widen_selects(program); }));
  run("merge_equal", [&] { merge_equal(program); });
  add_sentences(run("legal_names", [&] { return legal_names(program); }));
  report.refusals = std::move(trace.refusals);
  return run.shown();
}

}  // namespace pomona::rewrite
