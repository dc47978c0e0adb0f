#include "api/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "api/compute_plan.h"
#include "api/convert.h"
#include "api/files.h"
#include "api/run.h"
#include "base/ascii.h"
#include "cpu/runner.h"
#include "ir/op.h"
#include "llm/language_model.h"
#include "report/plan_page.h"
#include "silicon/check.h"
#include "verify/inputs.h"

namespace pomona::api {
namespace {

using Json = nlohmann::json;

Result<silicon::Units> units_named(const std::string& name) {
  if (name == "all") return silicon::Units::all;
  if (name == "cpu_ne" || name == "cpu_and_ne") return silicon::Units::cpu_ne;
  if (name == "cpu_gpu" || name == "cpu_and_gpu") return silicon::Units::cpu_gpu;
  if (name == "cpu" || name == "cpu_only") return silicon::Units::cpu;
  return fail("--units is all, cpu_ne, cpu_gpu or cpu, not '{}'", name);
}

Result<std::vector<const silicon::Chip*>> chips_of(const PlanOptions& options) {
  std::vector<const silicon::Chip*> found;
  if (*options.chips == "all") {
    for (const silicon::Chip& chip : silicon::chips()) found.push_back(&chip);
    return found;
  }
  std::string rest = options.chips->empty() ? *options.chip : *options.chips;
  while (!rest.empty()) {
    std::size_t comma = std::min(rest.find(','), rest.size());
    found.push_back(POM_TRY(silicon::chip_named(rest.substr(0, comma))));
    rest.erase(0, comma + 1);
  }
  return found;
}

Result<silicon::SpeedConstants> constants_of(const std::string& path) {
  if (path.empty()) return silicon::default_speed_constants();
  Bytes bytes = POM_TRY(map_file(path));
  return POM_TRY_IN(silicon::speed_constants_from_json(bytes.text()), "file '{}'", path);
}

double cache_bytes_per_token(const llm::LanguageModel& model) {
  double bytes = 0;
  for (const llm::CacheLayout& cache : model.caches)
    if (cache.shape.size() >= 4)
      bytes += 2 * 2 * double(cache.shape[cache.shape.size() - 3]) * double(cache.shape.back());
  return bytes;
}

Result<LanguagePlan> language_plan(const llm::LanguageModel& model, const ChipPlan& at, std::size_t parameters,
                                   const PlanOptions& options, const silicon::SpeedConstants& constants) {
  double weights = double(at.placement.memory.weights), cached = cache_bytes_per_token(model);
  silicon::SpeedCase row;
  row.chip = at.chip->name;
  row.gpu_cores = options.gpu_cores;
  row.params_b = double(parameters) / 1e9;
  row.weight_gib = weights / 1073741824.0;
  double bits = weights * 8 / double(parameters);
  row.quant = bits > 12 ? "F16" : bits > 7 ? "Q8_0" : "Q4_0";
  row.model = model.cache == llm::Cache::io ? "KV cache as I/O" : "stateful KV";
  row.runtime = model.engine == llm::Engine::ane ? "coreml-ane" : "coreml-gpu";
  LanguagePlan plan;
  plan.runtime = row.runtime;
  double room = at.limit_gb * 1e9 - weights;
  if (cached > 0) plan.tokens_that_fit = std::int64_t(std::max(0.0, room / cached));
  row.phase = "prompt";
  row.test = "pp512";
  plan.prompt = POM_TRY(silicon::predict_speed(row, constants));
  row.phase = "decode";
  for (std::int64_t context : {128, 512, 1024, 2048, 4096, 8192, 16384, 32768}) {
    if (model.context > 0 && context > model.context && context > 128) break;
    row.test = fmt::format("max context {}", context);
    ContextSpeed line{context, POM_TRY(silicon::predict_speed(row, constants)), 0, true};
    line.cache_bytes = std::uint64_t(cached * double(context));
    line.fits = double(line.cache_bytes) <= room;
    plan.decode.push_back(std::move(line));
  }
  return plan;
}

std::vector<std::string> warnings_of(const Program& program, std::size_t ops) {
  std::vector<std::string> warnings;
  std::uint64_t bytes = silicon::weight_file_bytes(program);
  if (bytes > (std::uint64_t(1) << 31))
    warnings.push_back(
        fmt::format("the weights are {}; the Neural Engine refuses a weight file of more than 2 GiB: split "
                    "the model (coremltools pull request 2593)",
                    size_text(bytes)));
  else if (bytes > 1'000'000'000)
    warnings.push_back(
        fmt::format("the weights are {}; above 1 GB an iPhone keeps a model off the Neural Engine (Apple, "
                    "mlmodel-utilities)",
                    size_text(bytes)));
  if (ops > 5000)
    warnings.push_back(
        fmt::format("{} operations: the first load, which compiles for the Neural Engine, may take minutes", ops));
  return warnings;
}

std::size_t parameter_count(const Function& function) {
  std::size_t count = 0;
  for (const auto& node : function.body.nodes()) {
    bool decodes = node->op && node->op->constexpr_op;
    if (!node->literal && !decodes) continue;
    Value value = node->output();
    bool decoded_further = std::any_of(value.users().begin(), value.users().end(),
                                       [](const Node* user) { return user->op && user->op->constexpr_op; });
    if (!decoded_further && value.rank() > 0 && all_known(value.shape()))
      count += std::size_t(element_count(known_sizes(value.shape())));
  }
  return count;
}

// The sizes that `inputs` give to names, so that the plan is of what `bench` runs.
void take_sizes(const Function& function, const NamedTensors& inputs, Dim::Bindings& sizes) {
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value input = function.body.input(i);
    auto given = inputs.find(input.name());
    for (std::size_t axis = 0; given != inputs.end() && axis < input.rank(); ++axis)
      if (auto symbol = input.shape()[axis].symbol()) sizes.emplace(*symbol, given->second.sizes()[axis]);
  }
}

// Laying out memory for the processor prepares its kernels' weights, which takes as long as reading them twice.
bool is_quick_to_prepare(const PlanReport& report) {
  if (report.chips.empty()) return false;
  const silicon::Placement& placement = report.chips[0].placement;
  return placement.memory.weights < 100'000'000 && placement.ops.size() < 2000;
}

// Of Pomona's own runtime; nothing where sizes depend on data, so that only a run would tell.
Result<std::optional<std::uint64_t>> cpu_working_bytes(const Function& function, const NamedTensors& inputs) {
  cpu::Runner runner(function, {});
  return POM_TRY(runner.plan(inputs));
}

}  // namespace

Result<PlanReport> plan(Model& model, const PlanOptions& options) {
  PlanReport report;
  report.path = model.path;
  report.units = options.units;
  silicon::PlaceOptions place;
  place.units = POM_TRY(units_named(options.units));
  place.gpu_cores = options.gpu_cores;
  auto system = target_named(*options.system);
  POM_REQUIRE(system, "there is no system '{}'", *options.system);
  place.system = *system;
  auto chips = POM_TRY(chips_of(options));
  auto constants = POM_TRY(constants_of(options.constants));
  Function* function = POM_TRY(function_of(model.program, options.function));
  report.function = function->name;
  place.sizes = POM_TRY(sizes_from(*function, options.size));
  NamedTensors inputs = POM_TRY(verify::random_inputs(*function, {.sizes = place.sizes}));
  take_sizes(*function, inputs, place.sizes);
  report.parameters = parameter_count(*function);
  auto language = llm::language_model_of(model.program);  // an error: it is none
  for (const silicon::Chip* chip : chips) {
    place.chip = chip;
    ChipPlan one;
    one.chip = chip;
    one.memory_gb = options.memory > 0 ? *options.memory : std::max(8, chip->max_memory_gb / 2);
    POM_REQUIRE(one.memory_gb >= 1 && one.memory_gb <= 4096, "--memory is in GB: {} is not a machine's", one.memory_gb);
    one.limit_gb = silicon::gpu_working_set_gb(one.memory_gb);
    one.placement = POM_TRY(silicon::place(*function, place));
    if (!place.memory) place.memory = one.placement.memory;  // the same on each chip
    one.fits = double(one.placement.memory.total()) <= one.limit_gb * 1e9;
    if (language) one.language = POM_TRY(language_plan(*language, one, report.parameters, options, constants));
    report.chips.push_back(std::move(one));
  }
  if (place.units == silicon::Units::cpu || is_quick_to_prepare(report))
    report.cpu_working_bytes = POM_TRY(cpu_working_bytes(*function, inputs));
  if (place.units == silicon::Units::cpu && report.cpu_working_bytes)
    for (ChipPlan& chip : report.chips) chip.placement.memory.activations = *report.cpu_working_bytes;
  if (!report.chips.empty()) report.warnings = warnings_of(model.program, report.chips[0].placement.counted());
  return report;
}

Status write_plan_page(const PlanReport& report, const std::string& output, bool force) {
  POM_REQUIRE(!report.chips.empty(), "there is no chip to draw");
  const ChipPlan& first = report.chips[0];
  std::string chip = fmt::format("{}, {:g} GB", first.chip->name, first.memory_gb);
  std::string title = fmt::format("{} on {}", report.path, first.chip->name);
  return write_whole_file(output, report::plan_page(title, first.placement, chip), force);
}

namespace {

Result<silicon::SpeedTable> read_table(const std::string& csv) {
  Bytes bytes = POM_TRY(map_file(csv));
  return POM_TRY_IN(silicon::read_speed_table(bytes.text()), "file '{}'", csv);
}

Result<MeasuredReport> compare_compute_plan(const std::vector<PlacedOperation>& placed, const ChipPlan* plan) {
  POM_REQUIRE(plan, "a compute plan is held against a model: give the MODEL too");
  std::map<std::string, const silicon::OpPlacement*> by_name;
  for (const auto& op : plan->placement.ops) {
    by_name[op.node->name] = &op;
    for (std::size_t i = 0; i < op.node->output_count(); ++i) by_name[op.node->output(i).name()] = &op;
  }
  MeasuredReport report{"compute plan", {}, 0};
  for (const PlacedOperation& operation : placed)
    for (const std::string& name : operation.names) {
      auto found = by_name.find(name);
      if (found == by_name.end()) continue;
      MeasuredLine line{name, std::string(silicon::name(found->second->engine)), operation.device, false};
      line.agrees = line.predicted == line.measured;
      report.agreeing += line.agrees;
      report.lines.push_back(std::move(line));
      break;
    }
  POM_REQUIRE(!report.lines.empty(), "none of the compute plan's {} operations has the name of one of this model's",
              placed.size());
  return report;
}

Result<MeasuredReport> compare_llama_bench(const Json& json, const std::string& chip) {
  MeasuredReport report{"llama-bench", {}, 0};
  for (const Json& entry : json) {
    silicon::SpeedCase row;
    row.chip = chip;
    row.runtime = entry.value("n_gpu_layers", 99) > 0 ? "llama.cpp-metal" : "llama.cpp-cpu";
    row.model = entry.value("model_type", "");
    row.params_b = entry.value("model_n_params", 0.0) / 1e9;
    row.weight_gib = entry.value("model_size", 0.0) / 1073741824.0;
    std::int64_t prompt = entry.value("n_prompt", std::int64_t(0)), generated = entry.value("n_gen", std::int64_t(0));
    row.phase = generated > 0 ? "decode" : "prompt";
    row.test = generated > 0 ? fmt::format("tg{}", generated) : fmt::format("pp{}", prompt);
    std::size_t space = row.model.rfind(' ');
    row.quant = space == std::string::npos ? "Q4_0" : row.model.substr(space + 1);
    row.build = fmt::format("{} ({})", entry.value("build_commit", ""), entry.value("test_time", "2026"));
    double measured = entry.value("avg_ts", 0.0);
    if (measured <= 0) continue;
    silicon::Speed speed = POM_TRY(silicon::predict_speed(row, silicon::default_speed_constants()));
    MeasuredLine line{fmt::format("{} {}", row.model, row.test),
                      fmt::format("{:.1f} ({:.1f} to {:.1f})", speed.tokens_per_s, speed.low, speed.high),
                      fmt::format("{:.1f}", measured), measured >= speed.low && measured <= speed.high};
    report.agreeing += line.agrees;
    report.lines.push_back(std::move(line));
  }
  POM_REQUIRE(!report.lines.empty(), "no entry has a measured speed (avg_ts)");
  return report;
}

}  // namespace

Result<silicon::SpeedPredictions> predict_rows(const std::string& csv, const std::string& output, bool force,
                                               const std::string& constants) {
  if (!output.empty()) POM_TRY(check_output(output, force));
  auto table = POM_TRY(read_table(csv));
  auto predictions = silicon::predict_table(table, POM_TRY(constants_of(constants)));
  if (!output.empty()) POM_TRY(write_whole_file(output, silicon::write_speed_table(table, predictions.lines), force));
  return predictions;
}

Result<silicon::SpeedStudy> fit_rows(const std::string& csv, const std::string& output, bool force) {
  if (!output.empty()) POM_TRY(check_output(output, force));
  auto table = POM_TRY(read_table(csv));
  auto study = POM_TRY_IN(silicon::fit_speed(table.cases), "file '{}'", csv);
  if (!output.empty()) POM_TRY(write_whole_file(output, silicon::speed_constants_json(study.constants) + "\n", force));
  return study;
}

Result<MeasuredReport> compare_measured(const std::string& file, const ChipPlan* plan, const std::string& chip) {
  Bytes bytes = POM_TRY(map_file(file));
  std::vector<PlacedOperation> placed = read_compute_plan(bytes.text());
  if (!placed.empty()) return compare_compute_plan(placed, plan);
  Json json = Json::parse(bytes.text(), nullptr, false);
  bool bench = json.is_array() && !json.empty() && json[0].is_object() && json[0].contains("avg_ts");
  POM_REQUIRE(bench,
              "'{}' is no compute plan (JSON with operations and their devices, Xcode's analytics.mil, CoreMLInspect's "
              "listing) and no llama-bench JSON",
              file);
  try {
    return compare_llama_bench(json, chip);
  } catch (const Json::exception& wrong) {
    return fail("'{}': {}", file, wrong.what());
  }
}

}  // namespace pomona::api
