#include "api/mixed.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

#include "api/border.h"
#include "api/files.h"
#include "api/run.h"
#include "api/sample.h"
#include "api/tensors.h"
#include "base/half.h"
#include "cpu/runner.h"
#include "ir/naming.h"
#include "ir/walk.h"

namespace pomona::api {
namespace {

using Set = std::vector<std::size_t>;  // numbers of nodes, ascending

constexpr std::size_t most_trials = 80;

// What one op showed.
struct Seen {
  KeptOp op;
  double largest = 0;  // of its results and of what it takes
  bool computes = false, overflows = false, vanishes = false;
  std::vector<std::size_t> from;  // ops that make its inputs
};

double largest_of(const Tensor& tensor) {
  double largest = 0;
  for (std::size_t i = 0; i < tensor.count(); ++i) {
    double size = std::fabs(tensor.number(i));
    if (std::isfinite(size)) largest = std::max(largest, size);
  }
  return largest;
}

bool is_single(Value value) { return value.type().kind == Type::Kind::tensor && value.dtype() == DType::fp32; }

class Search {
 public:
  explicit Search(const MixedRequest& request) : request_(request) {}

  Result<MixedReport> run() {
    POM_TRY(measure());
    report_.ops = std::size_t(std::count_if(seen_.begin(), seen_.end(), [](const Seen& s) { return s.computes; }));
    POM_TRY(look_at_half());
    if (POM_TRY(holds({}))) {
      report_.note = "fp16 keeps the tolerance as it is: nothing has to stay in fp32";
      return std::move(report_);
    }
    for (const Set& tier : {out_of_range(), first_to_leave(), everything_off(), all()}) {
      if (tier.empty() || !POM_TRY(holds(tier))) continue;
      Set least = POM_TRY(reduced(tier));
      for (std::size_t number : least) {
        report_.kept.push_back(seen_[number].op);
        report_.kept.back().reason = reason(seen_[number]);
      }
      report_.note = fmt::format(
          "{} of {} ops stay in fp32 ({} trials{}); they leave the Neural Engine, which computes "
          "in fp16 only",
          least.size(), report_.ops, report_.trials, out_of_time() ? ", all there was time for" : "");
      return std::move(report_);
    }
    return fail("no set of ops in fp32 keeps the tolerance").advise("--precision fp32");
  }

 private:
  // The fp32 program's ranges, where precision is chosen, and the answers to hold others to.
  Status measure() {
    Model model = POM_TRY(request_.import());
    POM_TRY(draw_inputs(model.program));
    rewrite::PipelineOptions options = request_.pipeline;
    options.stay_single = [this, &model](Function& function) -> Result<std::unordered_set<const Node*>> {
      if (&function == &model.program.main()) POM_TRY(look_at(model.program, function));
      return std::unordered_set<const Node*>();
    };
    return optimised(model, options);
  }

  Status draw_inputs(const Program& program) {
    const Function& function = program.main();
    if (!request_.inputs.empty()) {
      given_ = POM_TRY(read_tensors(request_.inputs, program, function));
      return {};
    }
    cpu::Runner runner(function, {.rounding = cpu::Rounding::strict});
    auto answer = [&](const NamedTensors& given) { return call(runner, program, function, given); };
    given_ = POM_TRY(drawn_sample(program, function, {.seed = 0}, answer)).inputs;
    return {};
  }

  Status look_at(const Program& program, Function& function) {
    NamedTensors inputs = POM_TRY(program_inputs(program, function, given_));
    Values own = function.body.results();
    expose_all_tensors(function);
    Values every = function.body.results();
    auto ran = cpu::Runner(function, {.rounding = cpu::Rounding::strict}).run(inputs);
    function.body.set_results(own);
    Tensors tensors = POM_TRY(std::move(ran));
    std::unordered_map<const ValueInfo*, const Tensor*> made;
    for (std::size_t i = 0; i < every.size(); ++i) made[&every[i].info()] = &tensors[i];
    std::unordered_map<const Node*, std::size_t> numbers;
    each_node(function.body, [&](const Node& node) {
      numbers[&node] = seen_.size();
      Seen seen{
          {seen_.size(), std::string(node.op->name), node.output_count() ? node.output().name() : "", node.source, ""}};
      auto look = [&](Value value, bool result) {
        auto at = made.find(&value.info());
        if (at == made.end() || !is_single(value) || at->second->count() == 0) return;
        double largest = largest_of(*at->second);
        seen.largest = std::max(seen.largest, largest);
        seen.overflows = seen.overflows || largest > largest_half;
        seen.vanishes = seen.vanishes || (largest > 0 && largest < smallest_normal_half);
        if (result && !value.name().empty()) values_[plain_name(value.name())] = *at->second;
      };
      for (Value value : node.inputs()) {
        look(value, false);
        if (auto from = numbers.find(value.producer()); value.producer() && from != numbers.end())
          seen.from.push_back(from->second);
      }
      for (std::size_t i = 0; i < node.output_count(); ++i) {
        look(node.output(i), true);
        seen.computes = seen.computes || (!node.literal && !node.op->constexpr_op && is_single(node.output(i)));
      }
      seen_.push_back(std::move(seen));
    });
    return {};
  }

  static Status optimised(Model& model, rewrite::PipelineOptions options) {
    options.after = {};
    rewrite::Report report;
    return rewrite::optimise(model.program, options, report);
  }

  Result<Model> converted(const Set& kept) {
    Model model = POM_TRY(request_.import());
    rewrite::PipelineOptions options = request_.pipeline;
    MixedReport chosen;
    for (std::size_t number : kept) chosen.kept.push_back(seen_[number].op);
    options.stay_single = stay_single(chosen);
    POM_TRY(optimised(model, options));
    return model;
  }

  // Which named results of the fp16 program are not what they are in fp32.
  Status look_at_half() {
    Model model = POM_TRY(converted({}));
    Function& function = model.program.main();
    NamedTensors inputs = POM_TRY(program_inputs(model.program, function, given_));
    expose_all_tensors(function);
    Tensors tensors = POM_TRY(cpu::Runner(function, {.rounding = cpu::Rounding::strict}).run(inputs));
    off_.assign(seen_.size(), false);
    std::map<std::string, bool> off;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      std::string name = plain_name(function.body.results()[i].name());
      auto want = values_.find(name);
      if (want == values_.end()) continue;
      auto metrics = verify::compare(tensors[i], want->second);
      off[name] = metrics && !problem_of(*metrics, false, request_.tolerance).empty();
    }
    for (Seen& seen : seen_) off_[seen.op.number] = off[plain_name(seen.op.value)];
    values_.clear();
    return {};
  }

  bool out_of_time() const { return report_.trials >= most_trials || watch_.seconds() > request_.seconds; }

  Result<bool> holds(const Set& kept) {
    auto known = tried_.find(kept);
    if (known != tried_.end()) return known->second;
    ++report_.trials;
    NamedTensors got = POM_TRY(answers_of(POM_TRY(converted(kept))));
    if (expected_.empty()) POM_TRY(ask_for_expected());
    VerifyReport report;
    POM_TRY(add_lines(report, got, expected_, request_.tolerance));
    return tried_[kept] = report.passed;
  }
  Status ask_for_expected() {
    Model model = POM_TRY(request_.import());
    rewrite::PipelineOptions options = request_.pipeline;
    options.precision = rewrite::Precision::single;
    POM_TRY(optimised(model, options));
    expected_ = POM_TRY(answers_of(model));
    return {};
  }
  Result<NamedTensors> answers_of(const Model& model) const {
    cpu::Runner runner(model.program.main(), {.rounding = cpu::Rounding::strict});
    return call(runner, model.program, model.program.main(), given_);
  }

  template <class Wanted>
  Set those(Wanted wanted) const {
    Set set;
    for (const Seen& seen : seen_)
      if (seen.computes && wanted(seen)) set.push_back(seen.op.number);
    return set;
  }
  Set out_of_range() const {
    return those([](const Seen& s) { return s.overflows || s.vanishes; });
  }
  bool leaves_first(const Seen& s) const {
    return off_[s.op.number] && std::none_of(s.from.begin(), s.from.end(), [&](std::size_t n) { return off_[n]; });
  }
  // These and what is out of range, with what makes their inputs.
  template <class Wanted>
  Set with_producers(Wanted also) const {
    std::vector<bool> wanted(seen_.size(), false);
    for (const Seen& s : seen_) {
      if (!also(s) && !s.overflows && !s.vanishes) continue;
      wanted[s.op.number] = true;
      for (std::size_t n : s.from) wanted[n] = true;
    }
    return those([&](const Seen& s) { return wanted[s.op.number]; });
  }
  // What is off although its inputs are not.
  Set first_to_leave() const {
    return with_producers([&](const Seen& s) { return leaves_first(s); });
  }
  Set everything_off() const {
    return with_producers([&](const Seen& s) { return off_[s.op.number]; });
  }
  Set all() const {
    return those([](const Seen&) { return true; });
  }

  // Delta debugging: a part that holds by itself, or a rest that holds without a part, until neither is found.
  Result<Set> reduced(Set set) {
    for (std::size_t parts = 2; set.size() > 1 && !out_of_time();) {
      bool smaller = false;
      for (bool rest : {false, true}) {
        for (std::size_t i = 0; i < parts && !smaller && !out_of_time(); ++i) {
          Set candidate;
          for (std::size_t k = 0; k < set.size(); ++k)
            if ((k * parts / set.size() == i) != rest) candidate.push_back(set[k]);
          if (candidate.empty() || candidate.size() == set.size() || !POM_TRY(holds(candidate))) continue;
          set = std::move(candidate);
          parts = rest ? std::max<std::size_t>(parts - 1, 2) : 2;
          smaller = true;
        }
      }
      if (smaller) continue;
      if (parts >= set.size()) break;
      parts = std::min(parts * 2, set.size());
    }
    return set;
  }

  std::string reason(const Seen& seen) const {
    if (seen.overflows)
      return fmt::format("its numbers reach {:.3g}, and fp16's end at {}", seen.largest, largest_half);
    if (seen.vanishes) return fmt::format("its numbers are at most {:.3g}, where fp16 loses digits", seen.largest);
    if (leaves_first(seen)) return "its result is the first to leave the tolerance in fp16";
    return "without it another op's result leaves the tolerance in fp16";
  }

  const MixedRequest& request_;
  Stopwatch watch_;
  MixedReport report_;
  NamedTensors given_, expected_;
  std::vector<Seen> seen_;
  std::vector<bool> off_;
  std::map<std::string, Tensor> values_;
  std::map<Set, bool> tried_;
};

}  // namespace

Result<MixedReport> choose_mixed(const MixedRequest& request) { return Search(request).run(); }

rewrite::ChooseSingle stay_single(const MixedReport& report) {
  std::vector<bool> kept;
  for (const KeptOp& op : report.kept) {
    kept.resize(std::max(kept.size(), op.number + 1));
    kept[op.number] = true;
  }
  return [kept](Function& function) -> Result<std::unordered_set<const Node*>> {
    std::unordered_set<const Node*> nodes;
    std::size_t number = 0;
    each_node(function.body, [&](const Node& node) {
      if (number < kept.size() && kept[number]) nodes.insert(&node);
      ++number;
    });
    return nodes;
  };
}

}  // namespace pomona::api
