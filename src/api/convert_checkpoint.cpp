#include "api/convert_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "api/calibration.h"
#include "api/convert_parts.h"
#include "api/verify_language_model.h"
#include "compress/scaling.h"
#include "llm/language_model.h"
#include "llm/rope.h"
#include "llm/tokenizer.h"
#include "ops/conv.h"
#include "ops/linear.h"

namespace pomona::api {
namespace {

// Files of weights that the Neural Engine takes end here; axes, too, have an end.
constexpr std::uint64_t engine_most_bytes = std::uint64_t(1) << 31;
constexpr std::int64_t engine_most_axis = 16384;
// What a model reads at a time to have its weights fitted, and the least that a text must have.
constexpr std::size_t calibration_tokens = 512, least_tokens = 64;

// Options of a model whose inputs are its own are of no use to a program that is built here.
Status check_options(const ConvertOptions& options) {
  struct Given {
    const char* flag;
    bool given;
  };
  for (Given each : {Given{"--input", !options.input->empty()}, Given{"--dynamic", !options.dynamic->empty()},
                     Given{"--enumerate", !options.enumerate->empty()}, Given{"--image", !options.image->empty()},
                     Given{"--classes", !options.classes->empty()}, Given{"--constant", !options.constant->empty()},
                     Given{"--rename", !options.rename->empty()}, Given{"--against", !options.against->empty()},
                     Given{"--custom-op", !options.custom_op->empty() || !options.custom_bodies.empty()},
                     Given{"a rewrite rule", !options.rules.empty()}})
    if (each.given)
      return fail("{} is not for checkpoints, whose program has inputs and outputs of its own", each.flag)
          .advise("--for, --cache, --context, --prefill, --requantize and --split-head, which say what is built");
  return {};
}

Result<llm::BuildOptions> build_options(const ConvertOptions& options) {
  llm::BuildOptions build;
  if (!options.target->empty()) {
    auto target = target_named(*options.target);
    POM_REQUIRE(target, "there is no target '{}'; targets are iOS16 to iOS18, iOS26 and the systems of those years",
                *options.target);
    build.target = *target;
  }
  POM_REQUIRE(build.target >= Target::iOS16, "language models are written for iOS16 and later, not for {}",
              name(build.target));
  POM_REQUIRE(options.engine->empty() || *options.engine == "ane" || *options.engine == "gpu",
              "--for is ane or gpu, not '{}'", *options.engine);
  build.engine = *options.engine == "ane" ? llm::Engine::ane : llm::Engine::gpu;
  const std::string& cache = options.cache;
  POM_REQUIRE(cache.empty() || cache == "state" || cache == "io" || cache == "none",
              "--cache is state, io or none, not '{}'", cache);
  // The Neural Engine takes caches as inputs best; states came with iOS18.
  bool state = cache.empty() ? build.engine == llm::Engine::gpu && build.target >= Target::iOS18 : cache == "state";
  build.cache = state ? llm::Cache::state : cache == "none" ? llm::Cache::none : llm::Cache::io;
  const std::string& precision = options.precision;
  POM_REQUIRE(precision.empty() || precision == "fp16" || precision == "mixed" || precision == "fp32",
              "--precision is fp16, mixed or fp32, not '{}'", precision);
  build.dtype = precision == "fp32" ? DType::fp32 : DType::fp16;
  POM_REQUIRE(options.context >= 0 && options.prefill > 0 && options.split_head >= 0,
              "--context, --prefill and --split-head are positive");
  build.context = options.context;
  build.prefill = options.prefill;
  build.split_head = options.split_head;
  build.stack_states = options.stack_states;
  bool with_data = !options.calibrate->empty();
  if (!options.scaling->empty()) POM_TRY(compress::scaling_method(*options.scaling));
  POM_REQUIRE(options.scaling->empty() || with_data, "--scaling needs data: --calibrate with a text");
  POM_REQUIRE(!with_data || !options.requantize->empty() || !options.compress->empty(),
              "--calibrate says how --requantize chooses codes, and there is none");
  build.keep_quantised = options.requantize->empty() && options.compress->empty();
  return build;
}

std::int64_t vocabulary_of(const llm::Checkpoint& checkpoint) {
  // The longest first axis: an embedding has a row per token.
  std::int64_t most = 1;
  for (const auto& [name, tensor] : checkpoint.tensors)
    if (tensor.sizes.size() == 2 && name.find("emb") != name.npos) most = std::max(most, tensor.sizes[0]);
  return most;
}

std::string change_text(std::uint64_t before, std::uint64_t after) {
  if (!before) return size_text(after);
  double percent = 100 * (double(after) / double(before) - 1);
  return fmt::format("{} in the source, {} here ({:+.1f} %)", size_text(before), size_text(after), percent);
}

// A sentence per way of storing, and one for all.
void tell_weights(const llm::BuildReport& built, ConvertReport& report) {
  struct Group {
    std::size_t count = 0;
    std::uint64_t before = 0, after = 0;
  };
  std::map<std::string, Group> groups;
  Group all;
  for (const llm::MatrixLine& line : built.matrices) {
    std::string how = fmt::format("{} -> {}{}{}", line.storage, line.scheme, line.note.empty() ? "" : ": ", line.note);
    for (Group* group : {&groups[how], &all}) {
      ++group->count;
      group->before += line.stored_bytes;
      group->after += line.bytes;
    }
  }
  for (const auto& [how, group] : groups)
    report.border.push_back(fmt::format("{} tensor{} {}; {}", group.count, group.count == 1 ? "" : "s", how,
                                        change_text(group.before, group.after)));
  report.border.push_back("weights: " + change_text(all.before, all.after));
}

// The text that weights are fitted to.
Result<std::vector<int>> calibration_text(const llm::Checkpoint& checkpoint, const ConvertOptions& options) {
  if (options.calibrate->empty()) return std::vector<int>();
  POM_REQUIRE(*options.samples > 0, "--samples is {}", *options.samples);
  POM_REQUIRE(!checkpoint.tokenizer.empty(), "--calibrate takes a text, and the checkpoint has no tokenizer");
  auto tokenizer = POM_TRY(llm::Tokenizer::from_json(checkpoint.tokenizer));
  Bytes text = POM_TRY(map_file(options.calibrate));
  std::vector<int> ids = POM_TRY_IN(tokenizer->encode(text.text(), {.special = false}), "'{}'", *options.calibrate);
  POM_REQUIRE(ids.size() >= least_tokens, "'{}' has {} tokens, and {} are the least", *options.calibrate, ids.size(),
              least_tokens);
  return ids;
}

// Pieces from all over the text, as the function "calibration" reads them.
std::vector<NamedTensors> text_samples(const std::vector<int>& ids, const Function& function, int most) {
  std::int64_t length = function.body.input("input_ids").shape()[1].value();
  std::vector<NamedTensors> samples;
  for (std::size_t at : spread_pieces(ids.size(), std::size_t(length), std::size_t(most))) {
    auto first = ids.begin() + std::ptrdiff_t(at);
    std::vector<std::int64_t> piece(first, first + std::ptrdiff_t(length));
    samples.push_back({{"input_ids", Tensor::ints(piece).reshaped({1, length})}});
  }
  return samples;
}

// Names of the weights that logits come from.
std::set<std::string> head_weights(const Function& function) {
  std::set<std::string> names;
  Values open;
  for (Value result : function.body.results())
    if (result.name() == "logits") open.push_back(result);
  while (!open.empty()) {
    const Node* node = open.back().producer();
    open.pop_back();
    if (!node || node->output().is_weight()) continue;
    if (is<mil::conv>(node) || is<mil::linear>(node))
      names.insert(node->input("weight").name());
    else
      open.insert(open.end(), node->inputs().begin(), node->inputs().end());
  }
  return names;
}

// A model's two ends and some weights between bear tables of 16 entries badly: 64 cost two bits more for a part of the
// weights.
Status spare_fragile(const Program& program, const llm::BuildReport& built, std::string_view scheme,
                     compress::Recipe& recipe) {
  constexpr std::string_view small[] = {"lut1", "lut2", "lut3", "lut4"};
  if (std::find(std::begin(small), std::end(small), scheme) == std::end(small)) return {};
  auto finer = POM_TRY(compress::make_scheme("lut6"));
  recipe.types["gather"] = finer;
  for (const std::string& name : head_weights(*program.functions.back())) recipe.names.push_back({name, finer});
  for (const std::string& name : built.fragile) recipe.names.push_back({name, finer});
  return {};
}

Status scale_weights(Program& program, const ConvertOptions& options, compress::Request& request,
                     ConvertReport& report) {
  if (options.scaling->empty()) return {};
  compress::ScalingOptions scaling{.method = POM_TRY(compress::scaling_method(*options.scaling))};
  auto scaled =
      POM_TRY_IN(compress::scale_inputs(program, *request.calibration, request.recipe, scaling), "while scaling");
  for (const auto& line : scaled.lines)
    report.border.push_back(
        line.note.empty()
            ? fmt::format("the inputs of {} are scaled with exponent {:.1f}, the opposite is in {}",
                          fmt::join(line.weights, ", "), line.exponent, line.into)
            : fmt::format("the inputs of {} are not scaled: {}", fmt::join(line.weights, ", "), line.note));
  return {};
}

Status compress_weights(Program& program, const std::vector<int>& text, const llm::BuildReport& built,
                        const ConvertOptions& options, ConvertReport& report) {
  POM_REQUIRE(options.requantize->empty() || options.compress->empty(),
              "--requantize and --compress say the same of a checkpoint; give one");
  const std::string& name = options.requantize->empty() ? *options.compress : *options.requantize;
  compress::Request request{POM_TRY(compress::make_scheme(name))};
  request.keep_first_layers = false;
  for (const std::string& table : llm::rope_table_names(program)) request.recipe.names.push_back({table, nullptr});
  POM_TRY(spare_fragile(program, built, name, request.recipe));
  bool with_data = !text.empty();
  if (with_data)
    request.calibration = std::make_shared<compress::Calibration>(
        *program.functions.front(), text_samples(text, *program.functions.front(), options.samples));
  POM_TRY(scale_weights(program, options, request, report));
  report.weights = POM_TRY(compress::compress(program, request)).lines;
  if (!with_data) return {};
  program.functions.erase(program.functions.begin());
  // Of equal weights the first has been counted, in the function that is gone.
  std::erase_if(report.weights, [](const auto& line) { return line.bytes_before == 0 && line.bytes_after == 0; });
  return {};
}

void warn_of_size(const llm::BuildOptions& build, const std::string& output, ConvertReport& report) {
  if (build.engine != llm::Engine::ane || report.output_bytes <= engine_most_bytes) return;
  report.border.push_back(
      fmt::format("the package has {}, and the Neural Engine refuses files of weights over 2 GiB: smaller weights "
                  "(--requantize lut4), or parts (pomona split '{}' -o DIR --max-bytes 1900000000)",
                  size_text(report.output_bytes), output));
}

Tolerance tolerance_of(const ConvertOptions& options, const llm::BuildOptions& build) {
  if (!options.compress->empty() || !options.requantize->empty()) return compressed_tolerance;
  return build.dtype == DType::fp32 ? single_tolerance : half_tolerance;
}

}  // namespace

Result<bool> is_checkpoint(const std::string& source) { return is_checkpoint_format(POM_TRY(format_of(source))); }

std::string checkpoint_option_given(const ConvertOptions& options) {
  ConvertOptions usual;
  if (!options.cache->empty()) return "--cache";
  if (*options.context != *usual.context) return "--context";
  if (*options.prefill != *usual.prefill) return "--prefill";
  if (!options.requantize->empty()) return "--requantize";
  if (!options.scaling->empty()) return "--scaling";
  if (!options.calibrate->empty() && *options.precision != "mixed") return "--calibrate";
  if (*options.split_head != *usual.split_head) return "--split-head";
  if (options.stack_states) return "--stack-states";
  return {};
}

Result<ConvertReport> convert_checkpoint(const std::string& source, const std::string& output,
                                         const ConvertOptions& options, const Progress& progress) {
  POM_TRY(check_options(options));
  llm::BuildOptions build = POM_TRY(build_options(options));
  ConvertReport report;
  Stages stage(report, progress);
  report.source_format = POM_TRY(format_of(source));
  report.source_bytes = size_on_disk(source);
  report.output = output;
  llm::Checkpoint checkpoint = POM_TRY(stage("read", [&] { return llm::open_checkpoint(source); }));
  if (build.split_head == 0) {
    std::int64_t needed = (vocabulary_of(checkpoint) + engine_most_axis - 1) / engine_most_axis;
    build.split_head = build.engine == llm::Engine::ane ? int(needed) : 1;
  }
  std::vector<int> text = POM_TRY(stage("tokenize", [&] { return calibration_text(checkpoint, options); }));
  build.calibration_tokens = std::int64_t(std::min(text.size(), calibration_tokens));
  llm::BuildReport built;
  Program program = POM_TRY_IN(stage("build", [&] { return llm::build_program(checkpoint, build, &built); }),
                               "checkpoint '{}'", source);
  build.calibration_tokens = 0;  // what is verified has none
  POM_TRY(set_metadata(program, source, options));
  for (const auto& function : program.functions) count_ops(function->body, report.ops);
  if (build.keep_quantised)
    tell_weights(built, report);
  else
    POM_TRY(stage("compress", [&] { return compress_weights(program, text, built, options, report); }));
  report.peak_memory = peak_memory_bytes();
  if (options.dry_run) return report;
  mlpackage::WriteOptions write = write_options(options, progress);
  Unfinished draft = POM_TRY(stage("write", [&] { return mlpackage::write_draft(program, output, write); }));
  report.output_bytes = size_on_disk(draft.path());
  report.peak_memory = peak_memory_bytes();
  warn_of_size(build, output, report);
  if (!options.no_verify) {
    LanguageModelCheck check{draft.path(), &checkpoint, build, tolerance_of(options, build), options.verify_seconds};
    report.verification = POM_TRY(stage("verify", [&] { return verify_language_model(check); }));
  }
  report.written = !report.verification || report.verification->passed || options.keep;
  if (report.written) POM_TRY(draft.move_to(output));
  return report;
}

}  // namespace pomona::api
