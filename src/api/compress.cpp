#include "api/compress.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/border.h"
#include "api/calibration.h"
#include "api/compress_config.h"
#include "api/files.h"
#include "cpu/runner.h"
#include "formats/mlpackage/package.h"

namespace pomona::api {
namespace {

mlpackage::WriteOptions write_options(bool force, const Progress& progress) {
  mlpackage::WriteOptions options{force, {}};
  if (progress)
    options.progress = [&progress](std::uint64_t done, std::uint64_t total) {
      progress("write", total ? double(done) / double(total) : 1);
    };
  return options;
}

Result<compress::Recipe> recipe_from(const CompressOptions& options, const compress::SchemeOptions& scheme_options) {
  POM_REQUIRE(
      options.config->empty() || (options.scheme->empty() && scheme_options.empty() && options.activations->empty()),
      "--config says all about the schemes: --scheme and its options do not go with it");
  if (!options.config->empty()) return read_recipe(options.config);
  if (!options.activations->empty()) {
    compress::SchemeOptions all = scheme_options;
    all["activation_dtype"] = *options.activations;
    return compress::one_scheme("activations" + (options.scheme->empty() ? "" : "+" + *options.scheme), all);
  }
  if (!options.scheme->empty()) return compress::one_scheme(*options.scheme, scheme_options);
  std::string names;
  for (const auto& each : compress::schemes()) names += (names.empty() ? "" : ", ") + std::string(each.name);
  for (const auto& each : compress::short_names()) names += ", " + std::string(each.name);
  return fail("no scheme is given").advise("--scheme with one of: " + names);
}

}  // namespace

namespace {

// Ways of storing weights that some engine is known to refuse or to run slowly.
void warn_of_engines(CompressReport& report) {
  bool blocks = false, sub_byte = false;
  for (const auto& line : report.lines) {
    blocks = blocks || line.scheme.find("per block") != std::string::npos;
    sub_byte = sub_byte || line.scheme.find("int4 per channel") != std::string::npos;
  }
  if (blocks)
    report.warnings.push_back(
        "codes per block are for the GPU: the Neural Engine takes scales per channel or per tensor, and leaves such "
        "layers to others");
  if (sub_byte)
    report.warnings.push_back(
        "linear 4-bit codes were seen to run on the CPU on M4; tables of 4 bits run on the Neural "
        "Engine");
}

// Activations of the main function; those of others stay as they are.
Status quantise_activations(Program& program, const std::vector<NamedTensors>& samples, compress::Request& request,
                            CompressReport& report) {
  bool wanted = false;
  for (const auto& scheme : request.recipe.schemes()) wanted = wanted || scheme->activations();
  if (!wanted) return {};
  if (samples.empty())
    return fail("activations are quantised from data, and there are none")
        .advise("--calibrate with an .npz, a folder, pictures or a text");
  for (const auto& function : program.functions)
    for (const auto& scheme : request.recipe.schemes())
      POM_TRY_IN(scheme->check(function->opset), "function '{}'", function->name);
  Function& main = program.main();
  report.activations = POM_TRY_IN(compress::quantise_activations(main, samples, request.recipe, request.used_names),
                                  "while calibrating");
  request.activations_done = true;
  if (program.functions.size() > 1)
    report.warnings.push_back(
        fmt::format("the data are for function '{}': activations of the other functions stay as they are", main.name));
  return {};
}

// The outputs of the package at `path` against those of the input, sample by sample.
Result<VerifyReport> verify_compressed(const std::string& path, const std::string& input,
                                       const std::vector<NamedTensors>& samples, double min_cosine) {
  Stopwatch watch;
  Model before = POM_TRY(open_model(input)), after = POM_TRY(open_model(path));
  Function& reference = before.program.main();
  cpu::Runner expected(reference, {}), got(after.program.main(), {});
  VerifyReport report;
  report.reference = fmt::format("'{}', {} samples", input, samples.size());
  for (std::size_t s = 0; s < samples.size(); ++s) {
    expected.reset_states();
    got.reset_states();
    NamedTensors want = source_outputs(before.program, reference, POM_TRY(expected.run(samples[s])));
    NamedTensors have = source_outputs(after.program, after.program.main(), POM_TRY(got.run(samples[s])));
    std::size_t first = report.lines.size();
    // Without a bar the lines are told, and nothing fails.
    POM_TRY(add_lines(report, have, want, {.min_cosine = min_cosine, .min_equal = min_cosine < -1 ? 0.0 : 0.9}));
    for (std::size_t i = first; i < report.lines.size(); ++i)
      if (samples.size() > 1) report.lines[i].name += fmt::format(" ({})", s);
  }
  report.seconds = watch.seconds();
  return report;
}

}  // namespace

Result<CompressReport> compress(const std::string& input, const std::string& output, const CompressOptions& options,
                                const compress::SchemeOptions& scheme_options, const Progress& progress) {
  Stopwatch watch;
  compress::Request request(POM_TRY(recipe_from(options, scheme_options)));
  POM_TRY(check_package_output(output, options.force));
  Model model = POM_TRY(open_model(input));
  POM_REQUIRE(is_core_ml(model), "'{}' is {}: convert it first, with --compress", input, model.format);
  std::vector<NamedTensors> samples;
  bool with_data = !options.calibrate->empty();
  if (with_data || options.min_cosine->has_value())
    samples = POM_TRY(calibration_samples(
        {with_data ? *options.calibrate : "random", options.tokenizer, with_data ? *options.samples : 2, options.seed},
        model.program, model.program.main()));
  CompressReport report;
  POM_TRY(quantise_activations(model.program, with_data ? samples : std::vector<NamedTensors>(), request, report));
  if (with_data) {
    request.calibration = std::make_shared<compress::Calibration>(model.program.main(), samples);
    request.round = !options.no_rounding;
    request.rounding = {!options.no_activation_order, options.damping};
  }
  auto found = POM_TRY(compress::compress(model.program, request));
  Unfinished draft = POM_TRY(mlpackage::write_draft(model.program, output, write_options(options.force, progress)));
  report.bytes_before = size_on_disk(input);
  report.bytes_after = size_on_disk(draft.path());
  report.peak_memory = peak_memory_bytes();
  report.lines = std::move(found.lines);
  std::ranges::move(found.warnings, std::back_inserter(report.warnings));
  warn_of_engines(report);
  if (*options.calibrate == "random") report.warnings.push_back("random inputs say little about a model's real ones");
  if (!samples.empty()) {
    samples.resize(std::min<std::size_t>(samples.size(), 4));
    report.verification =
        POM_TRY_IN(verify_compressed(draft.path(), input, samples, options.min_cosine->value_or(-2)), "verifying");
  }
  report.written = !report.verification || report.verification->passed || options.keep;
  if (report.written) POM_TRY(draft.move_to(output));
  report.seconds = watch.seconds();
  return report;
}

Result<DecompressReport> decompress(const std::string& input, const std::string& output, bool force,
                                    const Progress& progress) {
  POM_TRY(check_package_output(output, force));
  Model model = POM_TRY(open_model(input));
  POM_REQUIRE(is_core_ml(model), "'{}' is {}, not a Core ML package", input, model.format);
  std::size_t weights = POM_TRY(compress::decompress(model.program));
  POM_TRY(mlpackage::write_package(model.program, output, write_options(force, progress)));
  return DecompressReport{size_on_disk(input), size_on_disk(output), weights};
}

}  // namespace pomona::api
