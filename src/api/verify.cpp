#include "api/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "api/bisect.h"
#include "api/border.h"
#include "api/files.h"
#include "api/onnxruntime.h"
#include "api/origin.h"
#include "api/run.h"
#include "api/tensors.h"
#include "api/verify_language_model.h"
#include "base/half.h"
#include "cpu/runner.h"
#include "ir/evaluate.h"
#include "ir/walk.h"
#include "verify/inputs.h"

namespace pomona::api {
namespace {

constexpr std::string_view onnxruntime_name = "onnxruntime";

constexpr std::int64_t any_size = std::numeric_limits<std::int64_t>::max();

using Limits = decltype(verify::InputChoice::limits);

// What the program made from `source` allows for sizes that the source leaves open.
Limits::mapped_type limit_of(Value input, const Feature* feature, std::size_t d) {
  if (input.shape()[d].known()) return {input.shape()[d].value(), input.shape()[d].value()};
  if (!feature || feature->kind == Feature::Kind::image) return {1, any_size};
  if (!feature->enumerated.empty() && d < feature->shape.size()) return {feature->shape[d], feature->shape[d]};
  if (d >= feature->ranges.size()) return {1, any_size};
  const Feature::Range& range = feature->ranges[d];
  return {range.lower, range.upper < 0 ? any_size : range.upper};
}
Limits limits_of(const Program& program, const Function& function, const Program& source) {
  Limits limits;
  const Block& open = source.main().body;
  for (std::size_t i = 0; i < open.input_count(); ++i)
    for (std::size_t k = 0; k < function.body.input_count(); ++k) {
      Value theirs = open.input(i), mine = function.body.input(k);
      if (source_name(source, true, theirs.name()) != source_name(program, true, mine.name())) continue;
      if (mine.type().kind != Type::Kind::tensor || theirs.rank() != mine.rank()) continue;
      for (std::size_t d = 0; d < mine.rank(); ++d)
        if (auto symbol = theirs.shape()[d].symbol())
          limits[*symbol] = limit_of(mine, find_feature(function.inputs, mine.name()), d);
    }
  return limits;
}

constexpr const char* deadline_words = "the time for verifying is over";
// The import's answers op by op, or an error with deadline_words.
Result<NamedTensors> evaluate(const Program& program, const Function& function, const NamedTensors& given,
                              const Stopwatch& watch, double limit, std::size_t& done) {
  Evaluation reference(function);
  done = 0;
  reference.observe = [&](const Node&, const Tensors&) -> Status {
    ++done;
    POM_REQUIRE(watch.seconds() < limit, "{}", deadline_words);
    return {};
  };
  NamedTensors inputs = POM_TRY(program_inputs(program, function, given));
  return source_outputs(program, function, POM_TRY(reference(inputs)));
}

void add_note(VerifyReport& report, const std::string& note) {
  if (report.note.find(note) == std::string::npos) report.note += (report.note.empty() ? "" : "; ") + note;
}

void compare_shapes_only(VerifyReport& report) {
  add_note(report, "the model draws random numbers: only the shapes of its outputs were compared");
  report.passed = true;
  for (OutputLine& line : report.lines) {
    if (line.problem.find("sizes differ") != std::string::npos || line.problem.find("missing") != std::string::npos)
      report.passed = false;
    else
      line.problem.clear();
  }
}

Result<std::string> source_of(const Model& model, const VerifyOptions& options) {
  if (!options.source->empty()) return *options.source;
  return find_source(model);
}

// The other side of a comparison.
struct Reference {
  std::string words;
  std::optional<Model> model;
  std::string source;  // for ONNX Runtime
  NamedTensors stored;
  std::optional<cpu::Runner> runner;
  ModelFunction answer;

  Result<NamedTensors> operator()(const NamedTensors& given) {
    if (answer) return answer(given);
    if (!source.empty()) return run_onnxruntime(source, given);
    if (model) return call(*runner, model->program, model->program.main(), given);
    return stored;
  }
};

bool is_stored_tensors(const std::string& path) {
  auto bytes = map_file(path);
  if (!bytes) return false;
  if (bytes->text().starts_with("\x93NUMPY")) return true;
  if (bytes->text().starts_with("PK")) return bool(read_tensor_file(path));
  return path.ends_with(".json");
}

Result<Reference> reference_for(const Model& model, const VerifyOptions& options) {
  Reference reference;
  const std::string& against = *options.against;
  if (options.answer) {
    POM_REQUIRE(!options.bisect, "a function gives its outputs only; to find where two part takes a model");
    reference.answer = options.answer;
    reference.words = "a function";
    return reference;
  }
  POM_REQUIRE(!against.empty(), "--against says what to compare with: a model, an .npz, or 'onnxruntime'");
  if (against == onnxruntime_name) {
    reference.source = POM_TRY(source_of(model, options));
    reference.words = fmt::format("ONNX Runtime on '{}'", reference.source);
  } else if (is_stored_tensors(against)) {
    reference.stored = POM_TRY(read_tensor_file(against));
    reference.words = fmt::format("the outputs in '{}'", against);
    POM_REQUIRE(!options.inputs->empty() || options.given,
                "expected outputs need the inputs they were made from: --inputs in.npz");
  } else {
    reference.model = POM_TRY(open_model(against));
    reference.words = fmt::format("'{}' ({}), run here", against, reference.model->format);
    reference.runner.emplace(reference.model->program.main(), cpu::RunOptions{.rounding = cpu::Rounding::strict});
  }
  return reference;
}

void join(VerifyReport& all, VerifyReport one, int number, int count) {
  for (OutputLine& line : one.lines) {
    if (count > 1) line.name += fmt::format(" #{}", number + 1);
    all.lines.push_back(std::move(line));
  }
  all.passed = all.passed && one.passed;
}

}  // namespace

bool draws_numbers(const Block& block) {
  return any_node(block, [](const Node& node) { return node.op->random; });
}

bool computes_in_half(const Block& block) {
  return any_node(block, [](const Node& node) {
    for (std::size_t i = 0; i < node.output_count(); ++i)
      if (node.output(i).dtype() == DType::fp16) return true;
    return false;
  });
}

namespace {

// A cosine does not see a factor. Vectors of one size at that cosine differ by sqrt(2 (1 - cosine)) of it; three times
// as much is another size.
bool differs_in_size(const verify::Metrics& metrics, double min_cosine) {
  double difference = std::pow(10, -metrics.snr_db / 20), of_angle = std::sqrt(2 * std::max(0.0, 1 - min_cosine));
  return min_cosine > 0.5 && difference > std::max(3 * of_angle, 1e-3);
}

void judge(OutputLine& line, const Tensor& got, const Tensor& want, const Tolerance& tolerance) {
  auto metrics = verify::compare(got, want);
  if (!metrics) {
    line.problem = metrics.error().what;
    return;
  }
  line.metrics = *metrics;
  line.exact = is_compared_exactly(got, want);
  line.problem = problem_of(*metrics, line.exact, tolerance);
}

}  // namespace

bool is_compared_exactly(const Tensor& got, const Tensor& expected) {
  auto exact = [](const Tensor& t) { return is_integer(t.dtype()) || t.dtype() == DType::boolean; };
  return exact(got) || exact(expected);
}

std::string problem_of(const verify::Metrics& metrics, bool exact, const Tolerance& tolerance) {
  if (exact) {
    double share = metrics.count ? 1 - double(metrics.unequal) / double(metrics.count) : 1;
    if (metrics.unequal == 0 || share >= tolerance.min_equal) return {};
    return fmt::format("{} of {} elements are not equal", metrics.unequal, metrics.count);
  }
  if (metrics.non_finite > 0)
    return fmt::format("{} elements are NaN or infinite on one side only", metrics.non_finite);
  if (metrics.cosine < tolerance.min_cosine) return fmt::format("the cosine is below {}", tolerance.min_cosine);
  if (differs_in_size(metrics, tolerance.min_cosine)) return "the direction agrees, but not the size";
  if (tolerance.max_abs > 0 && metrics.max_abs > tolerance.max_abs)
    return fmt::format("the largest difference is above {}", tolerance.max_abs);
  return {};
}

Status add_lines(VerifyReport& report, const NamedTensors& got, const NamedTensors& expected,
                 const Tolerance& tolerance) {
  for (const auto& [name, want] : expected) {
    OutputLine line;
    line.name = name;
    auto found = got.find(name);
    // Two models of different makers call a single output by different names.
    if (found == got.end() && got.size() == 1 && expected.size() == 1) {
      found = got.begin();
      add_note(report, fmt::format("the only output, '{}', is compared with the reference's only one, '{}'",
                                   found->first, name));
    }
    if (found == got.end()) {
      line.problem = "is missing";
    } else if (want.dtype() == DType::string || want.is_list() || want.is_dictionary()) {
      bool equal = want.dtype() == DType::string && found->second.dtype() == DType::string &&
                   want.text() == found->second.text();
      if (want.dtype() == DType::string && !equal) line.problem = "the texts differ";
      if (want.dtype() != DType::string) continue;
    } else {
      judge(line, found->second, want, tolerance);
    }
    report.passed = report.passed && line.problem.empty();
    report.lines.push_back(std::move(line));
  }
  POM_REQUIRE(!report.lines.empty(), "there is no output that could be compared");
  return {};
}

namespace {

// A model that rounds what it computes (one with dynamic quantisation) answers by leaps: the last bit of an input may
// move its output further than any tolerance. Such a model is held to what its reference does itself when the inputs
// change by `noise`, a share that the precision loses anyway.
Status allow_for_leaps(VerifyReport& report, const NamedTensors& inputs, const NamedTensors& expected, double noise,
                       const ModelFunction& answer) {
  constexpr double as_close_db = 3, least_cosine = 0.5;  // what moves further says nothing any more
  auto excusable = [](const OutputLine& line) {
    return !line.problem.empty() && !line.exact && line.metrics.count > 0 && line.metrics.non_finite == 0;
  };
  if (std::none_of(report.lines.begin(), report.lines.end(), excusable)) return {};
  auto other_inputs = verify::disturbed(inputs, noise);
  if (!other_inputs) return {};
  const NamedTensors moved = POM_TRY(answer(*other_inputs));
  report.passed = true;
  for (OutputLine& line : report.lines) {
    auto before = expected.find(line.name), after = moved.find(line.name);
    if (excusable(line) && before != expected.end() && after != moved.end()) {
      auto own = verify::compare(after->second, before->second);
      if (own && own->non_finite == 0 && own->cosine >= least_cosine &&
          line.metrics.snr_db >= own->snr_db - as_close_db) {
        line.problem.clear();
        add_note(report, fmt::format("'{}' of the reference moves as far (cosine {:.5f}, {:.1f} dB) when the inputs "
                                     "change by a share of {:.0e}",
                                     line.name, own->cosine, own->snr_db, noise));
      }
    }
    report.passed = report.passed && line.problem.empty();
  }
  return {};
}
constexpr double single_noise = 1e-5, half_noise = 0x1p-11;

}  // namespace

Result<VerifyReport> verify(const std::string& path, const VerifyOptions& options) {
  Stopwatch watch;
  Model model = POM_TRY(open_model(path));
  Function& function = *POM_TRY(function_of(model.program, options.function));
  Reference reference = POM_TRY(reference_for(model, options));
  cpu::Runner runner(
      function, {.rounding = cpu::Rounding::strict, .accumulate_half = POM_TRY(accumulates_half(options.accumulate))});
  VerifyReport report;
  report.reference = reference.words;
  Tolerance tolerance{options.min_cosine, options.max_abs, options.min_equal};
  POM_REQUIRE(*options.random >= 1, "--random takes a number of at least 1");
  bool drawn = options.inputs->empty() && !options.given;
  int sets = drawn ? int(options.random) : 1;
  bool plain = drawn && !options.bisect && options.function->empty();
  if (plain && reference.model && are_forms_of_a_language_model(model.program, reference.model->program)) {
    for (int i = 0; i < sets; ++i)
      join(report,
           POM_TRY(verify_language_models(
               {model.program, reference.model->program, tolerance, std::uint64_t(*options.seed + i)})),
           i, sets);
    report.seconds = watch.seconds();
    return report;
  }
  NamedTensors last_inputs;
  for (int i = 0; i < sets; ++i) {
    Sample s;
    if (drawn) {
      // An import knows more of its inputs (sizes that are equal, tables that are indexed) than a package does.
      bool other = reference.model && reference.model->format == "ONNX";
      const Program& program = other ? reference.model->program : model.program;
      Limits limits = other ? limits_of(model.program, function, program) : Limits();
      s = POM_TRY(drawn_sample(program, other ? program.main() : function,
                               {.seed = std::uint64_t(*options.seed + i), .limits = std::move(limits)},
                               [&](const NamedTensors& given) { return reference(given); }));
    } else {
      s.inputs = options.given ? *options.given : POM_TRY(read_tensors(*options.inputs, model.program, function));
      s.expected = POM_TRY_IN(reference(s.inputs), "the reference, {}", reference.words);
    }
    NamedTensors got = POM_TRY_IN(call(runner, model.program, function, s.inputs), "'{}'", path);
    VerifyReport one;
    POM_TRY(add_lines(one, got, s.expected, tolerance));
    if (reference.stored.empty())
      POM_TRY(allow_for_leaps(one, s.inputs, s.expected, computes_in_half(function.body) ? half_noise : single_noise,
                              [&](const NamedTensors& given) { return reference(given); }));
    if (draws_numbers(function.body)) compare_shapes_only(one);
    if (!one.note.empty()) add_note(report, one.note);
    join(report, std::move(one), i, sets);
    last_inputs = std::move(s.inputs);
  }
  if (options.bisect) {
    std::string other = reference.model ? *options.against : POM_TRY(source_of(model, options));
    report.divergence = POM_TRY(bisect(path, other, last_inputs, tolerance));
  }
  report.seconds = watch.seconds();
  return report;
}

namespace {

// Outputs that are almost 0 everywhere (a detector's, on noise) are below what fp16 has normal numbers for.
void pass_over_tiny_differences(VerifyReport& report) {
  report.passed = true;
  for (OutputLine& line : report.lines) {
    bool tiny = !line.exact && line.metrics.count > 0 && line.metrics.non_finite == 0 &&
                line.metrics.max_abs <= smallest_normal_half;
    if (tiny && !line.problem.empty()) {
      line.problem.clear();
      add_note(report, fmt::format("'{}' differs by less than fp16's smallest normal number", line.name));
    }
    report.passed = report.passed && line.problem.empty();
    if (line.exact && line.problem.empty() && line.metrics.unequal > 0)
      add_note(report, fmt::format("{} of {} elements of '{}' are not equal: fp16 decides near ties otherwise",
                                   line.metrics.unequal, line.metrics.count, line.name));
  }
}

}  // namespace

Result<VerifyReport> verify_conversion(const ConversionCheck& check) {
  Stopwatch watch;
  VerifyReport report;
  const Function& function = check.import->main();
  std::optional<cpu::Runner> fallback;
  report.reference = "the import, evaluated op by op";
  auto answer = [&](const NamedTensors& given) -> Result<NamedTensors> {
    if (!check.against.empty()) {
      report.reference = fmt::format("ONNX Runtime on '{}'", check.source);
      return run_onnxruntime(check.source, given);
    }
    if (!fallback) {
      std::size_t done = 0;
      auto expected = evaluate(*check.import, function, given, watch, check.seconds, done);
      if (expected || expected.error().what != deadline_words) return expected;
      report.reference = "the import, run by the fast runtime";
      add_note(report,
               fmt::format("evaluating op by op took more than {} s ({} of {} ops done), so the import was run by "
                           "the fast runtime",
                           check.seconds, done, function.body.nodes().size()));
      fallback.emplace(function, cpu::RunOptions{.rounding = cpu::Rounding::strict});
    }
    return call(*fallback, *check.import, function, given);
  };
  Sample s = POM_TRY(drawn_sample(*check.import, function, {.seed = 0}, answer));
  Model written = POM_TRY_IN(open_model(check.package), "reading back what was written");
  cpu::Runner runner(written.program.main(), {.rounding = cpu::Rounding::strict});
  NamedTensors got =
      POM_TRY_IN(call(runner, written.program, written.program.main(), s.inputs), "running what was written");
  POM_TRY(add_lines(report, got, s.expected, check.tolerance));
  if (check.half) pass_over_tiny_differences(report);
  POM_TRY(allow_for_leaps(report, s.inputs, s.expected, check.half ? half_noise : single_noise, answer));
  if (draws_numbers(function.body)) compare_shapes_only(report);
  report.seconds = watch.seconds();
  return report;
}

}  // namespace pomona::api
