#include "api/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "api/border.h"
#include "api/convert_border.h"
#include "api/convert_checkpoint.h"
#include "api/convert_engine.h"
#include "api/convert_parts.h"
#include "api/dump.h"
#include "api/mixed.h"
#include "api/origin.h"
#include "ir/border.h"
#include "ir/op.h"
#include "ir/walk.h"
#include "rewrite/pipeline.h"

namespace pomona::api {
namespace {

// What is not asked for: a package keeps what it has, everything else becomes what most devices run well.
constexpr std::string_view usual_target = "iOS18", usual_precision = "fp16";

Result<std::optional<Target>> wanted_target(const ConvertOptions& options) {
  if (options.target->empty()) return std::optional<Target>();
  auto target = target_named(*options.target);
  POM_REQUIRE(target, "there is no target '{}'; targets are iOS15 to iOS18, iOS26 and the systems of those years",
              *options.target);
  return target;
}

Result<rewrite::PipelineOptions> pipeline_options(const ConvertOptions& options) {
  rewrite::PipelineOptions pipeline;
  std::string_view precision = options.precision->empty() ? usual_precision : std::string_view(*options.precision);
  // fp16 keeps in fp32 what is known to lose its meaning there; mixed measures what else does.
  if (precision == "fp16" || precision == "mixed")
    pipeline.precision = rewrite::Precision::half;
  else if (precision == "fp32")
    pipeline.precision = rewrite::Precision::single;
  else
    return fail("--precision is fp16, mixed or fp32, not '{}'", precision);
  POM_REQUIRE(*options.io_dtype == "fp32" || *options.io_dtype == "fp16", "--io-dtype is fp32 or fp16, not '{}'",
              *options.io_dtype);
  pipeline.half_border = *options.io_dtype == "fp16";
  return pipeline;
}

// A package has a target and a precision of its own, which change only when that is asked for.
Status aim(Program& program, bool core_ml, std::optional<Target> target, const ConvertOptions& options,
           rewrite::PipelineOptions& pipeline) {
  if (core_ml && options.precision->empty()) pipeline.precision = rewrite::Precision::kept;
  for (auto& function : program.functions) {
    if (core_ml && target) function->opset = *target;
    POM_REQUIRE(!pipeline.half_border || function->opset >= Target::iOS16,
                "fp16 inputs and outputs need iOS16 or later, the target is {}", name(function->opset));
    POM_REQUIRE(program.functions.size() == 1 || function->opset >= Target::iOS18,
                "a package of {} functions needs iOS18 or later, the target is {}", program.functions.size(),
                name(function->opset));
  }
  return {};
}

// One renaming of an input or output. `between` is a name that nothing else has, so that names can be exchanged.
struct Renaming {
  std::string before, after, between;
};

void rename(Program& program, const std::string& before, const std::string& after) {
  Function& function = program.main();
  auto rename_in = [&](Value value, std::vector<Feature>& features, bool is_input) {
    if (value.name() != before) return;
    value.set_name(after);
    for (Feature& feature : features)
      if (feature.name == before) feature.name = after;
    rename_source_feature(program.metadata, is_input, before, after);
  };
  for (std::size_t i = 0; i < function.body.input_count(); ++i)
    rename_in(function.body.input(i), function.inputs, true);
  for (Value result : function.body.results()) rename_in(result, function.outputs, false);
}

Status rename_all(Program& program, const Strings& options) {
  Function& function = program.main();
  std::multiset<std::string> names;
  for (std::size_t i = 0; i < function.body.input_count(); ++i) names.insert(function.body.input(i).name());
  for (Value result : function.body.results()) names.insert(result.name());
  std::vector<Renaming> renamings;
  for (const std::string& option : options) {
    auto [before, after] = POM_TRY(split_assignment(option, "--rename"));
    POM_REQUIRE(names.count(before), "--rename names '{}', which is neither an input nor an output", before);
    POM_REQUIRE(!after.empty(), "--rename gives '{}' an empty name", before);
    for (const Renaming& other : renamings)
      POM_REQUIRE(other.before != before, "--rename gives '{}' two names, '{}' and '{}'", before, other.after, after);
    renamings.push_back({before, after, "\n" + before});
  }
  for (const Renaming& each : renamings) names.erase(each.before);
  for (const Renaming& each : renamings) {
    POM_REQUIRE(!names.count(each.after), "--rename {}={}: an input or output is called '{}' already", each.before,
                each.after, each.after);
    names.insert(each.after);
  }
  for (const Renaming& each : renamings) rename(program, each.before, each.between);
  for (const Renaming& each : renamings) rename(program, each.between, each.after);
  return {};
}

RuleReport rule_report(const rewrite::Report& rewritten, const std::string& rule) {
  RuleReport report{0, rewritten.refusals};
  if (auto found = rewritten.rules.find(rule); found != rewritten.rules.end()) report.applied = found->second;
  std::stable_sort(report.refusals.begin(), report.refusals.end(),
                   [](const auto& a, const auto& b) { return a.depth > b.depth; });
  return report;
}

Status rewrite_program(Program& program, rewrite::PipelineOptions pipeline, const ConvertOptions& options,
                       ConvertReport& report) {
  POM_TRY(rename_all(program, options.rename));
  rewrite::Report rewritten;
  Dump dump = POM_TRY(Dump::asked(options.dump_after, report.output));
  if (dump.wanted())
    pipeline.after = [&](std::string_view pass, const Program& shown) { return dump.take(pass, shown); };
  pipeline.why = *options.why;
  pipeline.rules = options.rules;
  POM_TRY(rewrite::optimise(program, pipeline, rewritten));
  for (const rewrite::Rule* rule : options.rules) report.rules[std::string(rule->name)] = rewritten.rules[rule->name];
  POM_TRY(dump.check());
  report.dumps = dump.files();
  if (!options.why->empty()) report.why = rule_report(rewritten, options.why);
  for (std::string& sentence : assumptions(program.metadata)) report.border.push_back(std::move(sentence));
  report.border.insert(report.border.end(), rewritten.sentences.begin(), rewritten.sentences.end());
  note_shapes(program);
  for (const auto& function : program.functions) count_ops(function->body, report.ops);
  report.open_sizes = open_sizes(program.main());
  return {};
}

Status compress_program(Program& program, const ConvertOptions& options, ConvertReport& report) {
  compress::Request request{POM_TRY(compress::make_scheme(*options.compress))};
  report.weights = POM_TRY(compress::compress(program, request)).lines;
  return {};
}

// What a conversion has to reach: fp16 rounds, and compressed weights lose what was asked for.
Tolerance tolerance_of(const ConvertOptions& options, bool half) {
  if (!options.compress->empty()) return compressed_tolerance;
  return half ? half_tolerance : single_tolerance;
}

}  // namespace

Status set_metadata(Program& program, const std::string& source, const ConvertOptions& options) {
  Metadata& metadata = program.metadata;
  if (!options.author->empty()) metadata.author = options.author;
  if (!options.license->empty()) metadata.license = options.license;
  if (!options.model_version->empty()) metadata.version = options.model_version;
  if (!options.description->empty()) metadata.description = options.description;
  for (const std::string& each : *options.meta) {
    auto [key, value] = POM_TRY(split_assignment(each, "--meta"));
    metadata.user[key] = value;
  }
  if (!source.empty()) metadata.user[std::string(source_file_key)] = noted_source(source);
  return {};
}

void count_ops(const Block& block, std::map<std::string, std::size_t>& ops) {
  each_node(block, [&](const Node& node) {
    if (!node.literal) ++ops[std::string(node.op->name)];
  });
}

mlpackage::WriteOptions write_options(const ConvertOptions& options, const Progress& progress) {
  mlpackage::WriteOptions write{options.force, {}};
  if (progress)
    write.progress = [&progress](std::uint64_t done, std::uint64_t total) {
      progress("write", total ? double(done) / double(total) : 1);
    };
  return write;
}

Result<ConvertReport> convert(const std::string& source, const std::string& output, const ConvertOptions& options,
                              const Progress& progress) {
  if (!options.dry_run) POM_TRY(check_package_output(output, options.force));
  if (POM_TRY(is_checkpoint(source))) return convert_checkpoint(source, output, options, progress);
  std::string foreign = checkpoint_option_given(options);
  POM_REQUIRE(foreign.empty(), "{} is for checkpoints of language models, and '{}' is none", foreign, source);
  auto target = POM_TRY(wanted_target(options));
  POM_REQUIRE(options.against->empty() || *options.against == "onnxruntime", "--against takes 'onnxruntime', not '{}'",
              *options.against);
  auto pipeline = POM_TRY(pipeline_options(options));
  pipeline.engine = POM_TRY(engine_limits(options));
  BorderRequest border = POM_TRY(border_request(options));

  ConvertReport report;
  Stages stage(report, progress);
  OpenOptions open{target.value_or(*target_named(usual_target)), border.shapes, border.constants, border.custom_ops};
  Model model = POM_TRY(stage("read", [&] { return open_model(source, open); }));
  std::vector<std::string> fixed;
  if (pipeline.engine) {
    auto [again, said] = POM_TRY(stage("read", [&] { return fix_sizes(std::move(model), source, open, border); }));
    model = std::move(again);
    fixed = std::move(said);
  }
  report.source_format = model.format;
  report.source_bytes = size_on_disk(source);
  report.output = output;
  report.border = POM_TRY(apply(border, model.program));
  report.border.insert(report.border.begin(), fixed.begin(), fixed.end());
  // A package keeps saying what it was made from in the first place.
  POM_TRY(set_metadata(model.program, is_core_ml(model) ? "" : model.path, options));
  POM_TRY(aim(model.program, is_core_ml(model), target, options, pipeline));
  bool half = computes_in_half(model.program.main().body);
  if (*options.precision == "mixed") {
    auto import = [&]() -> Result<Model> {
      Model again = POM_TRY(open_model(source, open));
      POM_TRY(apply(border, again.program));
      rewrite::PipelineOptions same = pipeline;
      POM_TRY(aim(again.program, is_core_ml(again), target, options, same));
      return again;
    };
    Strings inputs;
    if (!options.calibrate->empty()) inputs.push_back(options.calibrate);
    MixedRequest request{import, pipeline, inputs, half_tolerance, options.verify_seconds};
    report.mixed = POM_TRY(stage("measure", [&] { return choose_mixed(request); }));
    pipeline.stay_single = stay_single(*report.mixed);
  }
  POM_TRY(stage("rewrite", [&] { return rewrite_program(model.program, pipeline, options, report); }));
  half = half || computes_in_half(model.program.main().body);
  if (!options.compress->empty())
    POM_TRY(stage("compress", [&] { return compress_program(model.program, options, report); }));
  if (options.dry_run) {
    report.peak_memory = peak_memory_bytes();
    return report;
  }
  mlpackage::WriteOptions write = write_options(options, progress);
  Unfinished draft = POM_TRY(stage("write", [&] { return mlpackage::write_draft(model.program, output, write); }));
  report.output_bytes = size_on_disk(draft.path());
  report.peak_memory = peak_memory_bytes();
  if (!options.no_verify) {
    Model import = POM_TRY(open_model(source, open));
    POM_TRY(apply(border, import.program));
    ConversionCheck check{
        draft.path(), &import.program, options.against, source, tolerance_of(options, half), options.verify_seconds,
        half};
    report.verification = POM_TRY(stage("verify", [&] { return verify_conversion(check); }));
  }
  report.written = !report.verification || report.verification->passed || options.keep;
  if (report.written) POM_TRY(draft.move_to(output));
  return report;
}

}  // namespace pomona::api
