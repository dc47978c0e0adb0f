#include "api/compress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>

#include "api/border.h"
#include "api/calibration.h"
#include "api/compress_config.h"
#include "api/files.h"
#include "api/importance.h"
#include "api/run.h"
#include "compress/observe.h"
#include "cpu/runner.h"
#include "formats/mlpackage/package.h"
#include "llm/language_model.h"
#include "llm/rope.h"
#include "ops/conv.h"
#include "ops/linear.h"
#include "ops/pool.h"
#include "pomona/version.h"

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

// Samples for the function they are for.
struct Samples {
  std::string function;
  std::vector<NamedTensors> inputs;
  std::vector<bool> continues;  // as LanguageSamples has it
  bool continuing(std::size_t s) const { return s < continues.size() && continues[s]; }
};

Result<Samples> samples_for(Program& program, const CompressOptions& options) {
  bool with_data = !options.calibrate->empty();
  if (!with_data && !options.min_cosine->has_value()) return Samples{};
  SampleChoice choice{with_data ? *options.calibrate : "random", options.tokenizer, with_data ? *options.samples : 2,
                      options.seed};
  if (llm::is_language_model(program) && choice.place.ends_with(".txt")) {
    LanguageSamples found = POM_TRY_IN(language_samples(choice, program), "'{}'", choice.place);
    return Samples{found.function->name, std::move(found.inputs), std::move(found.continues)};
  }
  return Samples{program.main().name, POM_TRY(calibration_samples(choice, program, program.main())), {}};
}

// Activations of the main function; those of others stay as they are.
Status quantise_activations(Program& program, const Samples& samples, compress::Request& request,
                            CompressReport& report) {
  POM_TRY(compress::check_recipe(program, request.recipe, !samples.inputs.empty()));
  bool wanted = false;
  for (const auto& scheme : request.recipe.schemes()) wanted = wanted || scheme->activations();
  if (!wanted) return {};
  Function& main = program.main();
  POM_REQUIRE(samples.function == main.name, "a text calibrates the weights of a language model, not its activations");
  report.activations = POM_TRY_IN(
      compress::quantise_activations(main, samples.inputs, request.recipe, request.used_names), "while calibrating");
  request.activations_done = true;
  if (program.functions.size() > 1)
    report.warnings.push_back(
        fmt::format("the data are for function '{}': activations of the other functions stay as they are", main.name));
  return {};
}

bool is_layer(const Node& node) {
  return is<mil::conv>(&node) || is<mil::conv_transpose>(&node) || is<mil::linear>(&node) || is<mil::matmul>(&node) ||
         is<mil::max_pool>(&node) || is<mil::avg_pool>(&node);
}

// The scales that a value was divided by, taken out again.
void undo_scaling(Tensor& floats, const compress::ScaledValue& scaled) {
  std::span<float> all = floats.mutable_view<float>();
  auto inner = std::size_t(strides_of(floats.sizes())[scaled.axis]);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] *= (*scaled.scales)[i / inner % scaled.scales->size()];
}

// Each layer's results in one program against those in the other, some layers at a time.
Result<std::vector<LayerLoss>> compare_layers(Function& before, Function& after,
                                              const std::vector<NamedTensors>& samples,
                                              const compress::Scaled& scaled) {
  constexpr std::size_t at_once = 32;
  struct Pair {
    Value before, after;
  };
  std::map<std::string, Value> by_name;
  for (const auto& node : after.body.nodes())
    if (node->output_count() == 1) by_name.try_emplace(node->output().name(), node->output());
  std::vector<Pair> pairs;
  for (const auto& node : before.body.nodes())
    if (is_layer(*node) && is_float(node->output().dtype()))
      if (auto at = by_name.find(node->output().name()); at != by_name.end())
        pairs.push_back({node->output(), at->second});
  std::vector<LayerLoss> lines;
  for (std::size_t first = 0; first < pairs.size(); first += at_once) {
    Values left, right;
    for (std::size_t i = first; i < std::min(first + at_once, pairs.size()); ++i)
      left.push_back(pairs[i].before), right.push_back(pairs[i].after);
    std::map<std::pair<std::size_t, std::size_t>, Tensor> wanted;
    POM_TRY(compress::observe(before, left, samples, [&](std::size_t value, std::size_t sample, const Tensor& tensor) {
      wanted[{value, sample}] = tensor;
    }));
    std::vector<double> power(left.size()), error(left.size());
    POM_TRY(compress::observe(after, right, samples, [&](std::size_t value, std::size_t sample, const Tensor& tensor) {
      const Tensor& want = wanted.at({value, sample});
      if (want.sizes() != tensor.sizes()) return;
      Tensor a = want.converted(DType::fp32), b = tensor.converted(DType::fp32);
      if (auto at = scaled.values.find({before.name, left[value].name()}); at != scaled.values.end())
        undo_scaling(b, at->second);
      for (std::size_t i = 0; i < a.count(); ++i) {
        double x = double(a.view<float>()[i]), off = double(b.view<float>()[i]) - x;
        if (!std::isfinite(x) || !std::isfinite(off)) continue;
        power[value] += x * x;
        error[value] += off * off;
      }
    }));
    for (std::size_t i = 0; i < left.size(); ++i)
      lines.push_back({left[i].name(), std::string(left[i].producer()->op->name),
                       error[i] > 0 ? 10 * std::log10(power[i] / error[i]) : std::numeric_limits<double>::infinity()});
  }
  return lines;
}

// The outputs of the package at `path` against those of the input, sample by sample.
Result<VerifyReport> verify_compressed(const std::string& path, const std::string& input, const Samples& samples,
                                       double min_cosine, const compress::Scaled& scaled,
                                       std::vector<LayerLoss>* layers) {
  Stopwatch watch;
  Model before = POM_TRY(open_model(input)), after = POM_TRY(open_model(path));
  Function &reference = *POM_TRY(function_of(before.program, samples.function)),
           &compressed = *POM_TRY(function_of(after.program, samples.function));
  cpu::Runner expected(reference, {}), got(compressed, {});
  std::size_t count = std::min<std::size_t>(samples.inputs.size(), 4);
  VerifyReport report;
  report.reference = fmt::format("'{}', {} samples", input, count);
  for (std::size_t s = 0; s < count; ++s) {
    const NamedTensors& sample = samples.inputs[s];
    if (!samples.continuing(s)) expected.reset_states(), got.reset_states();
    NamedTensors want = source_outputs(before.program, reference, POM_TRY(expected.run(sample)));
    NamedTensors have = source_outputs(after.program, compressed, POM_TRY(got.run(sample)));
    std::size_t told = report.lines.size();
    // Without a bar the lines are told, and nothing fails.
    POM_TRY(add_lines(report, have, want, {.min_cosine = min_cosine, .min_equal = min_cosine < -1 ? 0.0 : 0.9}));
    for (std::size_t i = told; i < report.lines.size(); ++i)
      if (count > 1) report.lines[i].name += fmt::format(" ({})", s);
  }
  // Layers are looked at from empty states.
  std::vector<NamedTensors> first;
  for (std::size_t s = 0; s < count; ++s)
    if (!samples.continuing(s)) first.push_back(samples.inputs[s]);
  if (layers) *layers = POM_TRY(compare_layers(reference, compressed, first, scaled));
  report.seconds = watch.seconds();
  return report;
}

// What the configuration says beside schemes, with what flags say on top.
compress::Recipe::Methods methods_of(const compress::Recipe& recipe, const CompressOptions& options) {
  compress::Recipe::Methods methods = recipe.methods;
  if (!options.scaling->empty()) methods.scaling = *options.scaling;
  if (options.smoothing_strength->has_value()) methods.smoothing_strength = *options.smoothing_strength;
  if (options.bias_correction) methods.bias_correction = true;
  if (!options.importance->empty()) methods.importance = *options.importance;
  return methods;
}

Status check_methods(const compress::Recipe::Methods& methods, bool with_data) {
  if (!methods.scaling.empty()) POM_TRY(compress::scaling_method(methods.scaling));
  POM_REQUIRE(!methods.smoothing_strength || methods.scaling == "smooth_quant",
              "smoothing_strength goes with scaling smooth_quant");
  double strength = methods.smoothing_strength.value_or(0.5);
  POM_REQUIRE(strength >= 0 && strength <= 1, "smoothing_strength is {}, not 0 to 1", strength);
  std::string needs = !methods.scaling.empty()  ? "scaling " + methods.scaling
                      : methods.bias_correction ? "bias_correction"
                                                : methods.needs_data;
  if (needs.empty() || with_data) return {};
  return fail("{} needs data, and there are none", needs)
      .advise("--calibrate with an .npz, a folder, pictures or a text");
}

// Sizes and times of a file, or of all files below a folder.
std::string traces_of(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code failed;
  std::vector<std::string> lines;
  auto add = [&](const fs::path& file) {
    auto time = fs::last_write_time(file, failed).time_since_epoch().count();
    lines.push_back(fmt::format("{} {} {}", file.string(), fs::file_size(file, failed), time));
  };
  if (fs::is_regular_file(path, failed)) add(path);
  if (fs::is_directory(path, failed))
    for (const auto& entry : fs::recursive_directory_iterator(path, failed))
      if (entry.is_regular_file(failed)) add(entry.path());
  std::ranges::sort(lines);
  return fmt::format("{}\n{}\n", path, fmt::join(lines, "\n"));
}

// All that the result depends on.
std::string job_text(const std::string& input, const CompressOptions& options,
                     const compress::SchemeOptions& scheme_options) {
  std::string text = fmt::format("pomona {}\n", version()) + traces_of(input);
  for (const std::string* file : {&*options.config, &*options.calibrate, &*options.importance, &*options.tokenizer})
    if (!file->empty()) text += traces_of(*file);
  const RecordInfo& fields = record_of<CompressOptions>();
  for (std::size_t i = 0; i < fields.fields.size(); ++i)
    if (std::string_view name = fields.fields[i]->name; name != "force" && name != "keep")
      text += fmt::format("{} = {}\n", name, to_string(fields.fields[i]->get(fields.at(&options, i))));
  for (const auto& [name, value] : scheme_options) text += fmt::format("{} = {}\n", name, to_string(value));
  return text;
}

Result<compress::Scaled> scale_inputs(Program& program, const compress::Recipe::Methods& methods,
                                      const compress::Request& request) {
  if (methods.scaling.empty()) return compress::Scaled();
  compress::ScalingOptions options;
  options.method = POM_TRY(compress::scaling_method(methods.scaling));
  options.strength = methods.smoothing_strength.value_or(0.5);
  return POM_TRY_IN(compress::scale_inputs(program, *request.calibration, request.recipe, options), "while scaling");
}

}  // namespace

Result<CompressReport> compress(const std::string& input, const std::string& output, const CompressOptions& given,
                                const compress::SchemeOptions& scheme_options, const Progress& progress) {
  Stopwatch watch;
  CompressOptions options = given;
  // An importance matrix says what data would, and may stand where data do.
  if (is_importance_file(options.calibrate)) std::swap(options.calibrate.value, options.importance.value);
  compress::Request request(POM_TRY(recipe_from(options, scheme_options)));
  const compress::Recipe::Methods methods = methods_of(request.recipe, options);
  POM_TRY(check_package_output(output, options.force));
  Model model = POM_TRY(open_model(input));
  POM_REQUIRE(is_core_ml(model), "'{}' is {}: convert it first, with --compress", input, model.format);
  const bool language = llm::is_language_model(model.program);
  request.keep_first_layers = !language;
  if (language)
    for (const std::string& name : llm::rope_table_names(model.program)) request.left[name] = "a table of positions";
  POM_REQUIRE(!(options.recompress && options.joint), "--recompress and --joint exclude each other");
  if (options.joint) request.already = compress::already_compressed(model.program);
  if (options.recompress || options.joint) POM_TRY(compress::decompress(model.program));
  request.journal = POM_TRY(compress::Journal::open(output + ".unfinished", job_text(input, given, scheme_options)));
  Samples samples = POM_TRY(samples_for(model.program, options));
  bool with_data = !options.calibrate->empty();
  CompressReport report;
  POM_TRY(check_methods(methods, with_data));
  if (!methods.importance.empty())
    request.importance = POM_TRY(read_importance(methods.importance, model.program, report.warnings));
  if (with_data) {
    request.calibration =
        std::make_shared<compress::Calibration>(*POM_TRY(function_of(model.program, samples.function)), samples.inputs);
    request.calibration->set_continuing(samples.continues);
    request.round = !options.no_rounding;
    request.rounding = {methods.activation_order.value_or(true) && !options.no_activation_order,
                        methods.damping.value_or(options.damping), !options.no_refinement};
    request.correct_bias = methods.bias_correction;
  }
  compress::Scaled scaled = POM_TRY(scale_inputs(model.program, methods, request));
  report.scaling = scaled.lines;
  POM_TRY(quantise_activations(model.program, with_data ? samples : Samples{}, request, report));
  auto found = POM_TRY(compress::compress(model.program, request));
  Unfinished draft = POM_TRY(mlpackage::write_draft(model.program, output, write_options(options.force, progress)));
  report.bytes_before = size_on_disk(input);
  report.bytes_after = size_on_disk(draft.path());
  report.peak_memory = peak_memory_bytes();
  report.lines = std::move(found.lines);
  std::ranges::move(found.warnings, std::back_inserter(report.warnings));
  warn_of_engines(report);
  if (*options.calibrate == "random") report.warnings.push_back("random inputs say little about a model's real ones");
  if (!samples.inputs.empty())
    report.verification = POM_TRY_IN(verify_compressed(draft.path(), input, samples, options.min_cosine->value_or(-2),
                                                       scaled, with_data ? &report.layers : nullptr),
                                     "verifying");
  report.written = !report.verification || report.verification->passed || options.keep;
  if (report.written) POM_TRY(draft.move_to(output));
  if (request.journal->taken() > 0)
    report.warnings.push_back(fmt::format("resumed: {} weights had been done before", request.journal->taken()));
  request.journal->finish();
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
