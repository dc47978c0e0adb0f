#include "api/convert.h"

#include <fmt/format.h>

#include "api/border.h"
#include "api/convert_border.h"
#include "api/files.h"
#include "formats/mlpackage/package.h"
#include "ir/border.h"
#include "ir/op.h"
#include "rewrite/pipeline.h"

namespace pomona::api {
namespace {

// What a conversion must reach. fp16 has 11 bits, so that errors of a few 1e-4 of the range are its own.
// Compressed weights lose what was asked for: with them only what is broken is caught.
constexpr double single_cosine = 0.99999, half_cosine = 0.999, compressed_cosine = 0.9;

class Stages {
 public:
  Stages(ConvertReport& report, const Progress& progress) : report_(report), progress_(progress) {}
  template <class Work>
  auto operator()(const char* name, Work&& work) {
    if (progress_) progress_(name, -1);
    Stopwatch watch;
    auto result = work();
    report_.stages.push_back({name, watch.seconds()});
    return result;
  }

 private:
  ConvertReport& report_;
  const Progress& progress_;
};

Result<rewrite::PipelineOptions> pipeline_options(const ConvertOptions& options, Target target) {
  rewrite::PipelineOptions pipeline;
  // fp16 keeps in fp32 what would lose its meaning there, which is what others call mixed.
  if (*options.precision == "fp16" || *options.precision == "mixed")
    pipeline.precision = rewrite::Precision::half;
  else if (*options.precision == "fp32")
    pipeline.precision = rewrite::Precision::single;
  else
    return fail("--precision is fp16, mixed or fp32, not '{}'", *options.precision);
  POM_REQUIRE(*options.io_dtype == "fp32" || *options.io_dtype == "fp16", "--io-dtype is fp32 or fp16, not '{}'",
              *options.io_dtype);
  pipeline.half_border = *options.io_dtype == "fp16";
  POM_REQUIRE(!pipeline.half_border || target >= Target::iOS16, "fp16 inputs and outputs need iOS16 or later");
  return pipeline;
}

Status rename(Program& program, const std::string& option) {
  auto [before, after] = POM_TRY(split_assignment(option, "--rename"));
  Function& function = program.main();
  bool found = false;
  auto rename_in = [&](Value value, std::vector<Feature>& features, bool is_input) {
    if (value.name() != before) return;
    value.set_name(after);
    for (Feature& feature : features)
      if (feature.name == before) feature.name = after;
    rename_source_feature(program.metadata, is_input, before, after);
    found = true;
  };
  for (std::size_t i = 0; i < function.body.input_count(); ++i)
    rename_in(function.body.input(i), function.inputs, true);
  for (Value result : function.body.results()) rename_in(result, function.outputs, false);
  POM_REQUIRE(found, "--rename names '{}', which is neither an input nor an output", before);
  return {};
}

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
  metadata.user[std::string(source_file_key)] = source;
  return {};
}

void count_ops(const Block& block, std::map<std::string, std::size_t>& ops) {
  for (const auto& node : block.nodes()) {
    if (!node->literal) ++ops[std::string(node->op->name)];
    for (const auto& inner : node->blocks) count_ops(*inner, ops);
  }
}

Status rewrite_program(Program& program, const rewrite::PipelineOptions& pipeline, const ConvertOptions& options,
                       ConvertReport& report) {
  for (const std::string& each : *options.rename) POM_TRY(rename(program, each));
  rewrite::Report rewritten;
  POM_TRY(rewrite::optimise(program, pipeline, rewritten));
  report.border.insert(report.border.end(), rewritten.sentences.begin(), rewritten.sentences.end());
  note_shapes(program);
  for (const auto& function : program.functions) count_ops(function->body, report.ops);
  return {};
}

Status compress_program(Program& program, const ConvertOptions& options, ConvertReport& report) {
  compress::Request request{POM_TRY(compress::make_scheme(*options.compress))};
  report.weights = POM_TRY(compress::compress(program, request)).lines;
  return {};
}

}  // namespace

Result<ConvertReport> convert(const std::string& source, const std::string& output, const ConvertOptions& options,
                              const Progress& progress) {
  auto target = target_named(*options.target);
  POM_REQUIRE(target, "there is no target '{}'; targets are iOS15 to iOS18, iOS26 and the systems of those years",
              *options.target);
  POM_REQUIRE(options.against->empty() || *options.against == "onnxruntime", "--against takes 'onnxruntime', not '{}'",
              *options.against);
  auto pipeline = POM_TRY(pipeline_options(options, *target));
  BorderRequest border = POM_TRY(border_request(options));
  if (!options.dry_run) POM_TRY(check_free(output, options.force));

  ConvertReport report;
  Stages stage(report, progress);
  OpenOptions open{*target, border.shapes, border.constants};
  Model model = POM_TRY(stage("read", [&] { return open_model(source, open); }));
  report.source_format = model.format;
  report.source_bytes = size_on_disk(source);
  report.output = output;
  report.border = POM_TRY(apply(border, model.program));
  POM_TRY(set_metadata(model.program, source, options));
  POM_TRY(stage("rewrite", [&] { return rewrite_program(model.program, pipeline, options, report); }));
  if (!options.compress->empty())
    POM_TRY(stage("compress", [&] { return compress_program(model.program, options, report); }));
  if (!options.dry_run) {
    mlpackage::WriteOptions write{options.force, {}};
    if (progress)
      write.progress = [&](std::uint64_t done, std::uint64_t total) {
        progress("write", total ? double(done) / double(total) : 1);
      };
    POM_TRY(stage("write", [&] { return mlpackage::write_package(model.program, output, write); }));
    report.output_bytes = size_on_disk(output);
  }
  report.peak_memory = peak_memory_bytes();
  if (options.dry_run || options.no_verify) return report;

  Model import = POM_TRY(open_model(source, open));
  POM_TRY(apply(border, import.program));
  bool half = pipeline.precision != rewrite::Precision::single;
  double bar = !options.compress->empty() ? compressed_cosine : half ? half_cosine : single_cosine;
  ConversionCheck check{output, &import.program, options.against, source, bar, options.verify_seconds, half};
  report.verification = POM_TRY(stage("verify", [&] { return verify_conversion(check); }));
  return report;
}

}  // namespace pomona::api
