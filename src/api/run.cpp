#include "api/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "api/border.h"
#include "api/files.h"
#include "api/tensors.h"
#include "api/text.h"
#include "verify/inputs.h"

namespace pomona::api {
namespace {

Status load_states(cpu::Runner& runner, const Function& function, const std::string& path) {
  for (auto& [name, tensor] : POM_TRY(read_tensor_file(path))) {
    Value state = function.body.input(name);
    POM_REQUIRE(state && state.type().kind == Type::Kind::state, "the function has no state '{}'", name);
    POM_REQUIRE(tensor.shape() == state.shape(), "state '{}' is {}, not {}", name, tensor.type().text(),
                state.type().text());
    runner.state(name) = tensor.converted(state.dtype());
  }
  return {};
}

Status save_states(cpu::Runner& runner, const Function& function, const std::string& path, bool force) {
  NamedTensors states;
  for (std::size_t i = 0; i < function.body.input_count(); ++i)
    if (Value state = function.body.input(i); state.type().kind == Type::Kind::state)
      states[state.name()] = runner.state(state.name());
  POM_REQUIRE(!states.empty(), "the function has no state");
  return write_tensors(path, states, {}, force);
}

Result<NamedTensors> inputs_of(const RunOptions& options, const Program& program, const Function& function) {
  bool needs_any = false;
  for (std::size_t i = 0; i < function.body.input_count(); ++i) {
    Value input = function.body.input(i);
    const Feature* feature = find_feature(function.inputs, input.name());
    needs_any = needs_any || (input.type().kind != Type::Kind::state && !(feature && feature->optional));
  }
  POM_REQUIRE(!options.random || options.inputs->empty(), "--random and --inputs exclude each other");
  if (options.random) return verify::random_inputs(function, {.seed = std::uint64_t(*options.seed)});
  if (needs_any && options.inputs->empty())
    return fail("the model needs inputs").advise("--inputs in.npz, or --random for seeded ones");
  return read_tensors(*options.inputs, program, function);
}

std::vector<Feature> features_by_source_name(const Program& program, const Function& function) {
  std::vector<Feature> features = function.outputs;
  for (Feature& feature : features) feature.name = source_name(program, false, feature.name);
  return features;
}

}  // namespace

Result<bool> accumulates_half(const std::string& dtype) {
  POM_REQUIRE(dtype.empty() || dtype == "fp16" || dtype == "fp32", "products are accumulated in fp16 or fp32, not '{}'",
              dtype);
  return dtype == "fp16";
}

Result<Function*> function_of(Program& program, const std::string& name) {
  if (name.empty()) return &program.main();
  if (Function* function = program.function(name)) return function;
  std::string names;
  for (const auto& function : program.functions) names += (names.empty() ? "" : ", ") + function->name;
  return fail("there is no function '{}'; there is {}", name, names);
}

Result<NamedTensors> call(cpu::Runner& runner, const Program& program, const Function& function,
                          const NamedTensors& given) {
  NamedTensors inputs = POM_TRY(program_inputs(program, function, given));
  return source_outputs(program, function, POM_TRY(runner.run(inputs)));
}

void expose_all_tensors(Function& function) {
  Values results = function.body.results();
  std::set<Value> seen(results.begin(), results.end());
  for (const auto& node : function.body.nodes())
    for (std::size_t i = 0; i < node->output_count(); ++i) {
      Value value = node->output(i);
      if (value.type().kind != Type::Kind::tensor || value.is_weight() || value.dtype() == DType::string) continue;
      if (seen.insert(value).second) results.push_back(value);
    }
  function.body.set_results(std::move(results));
}

namespace {

// Every text on its own; the outputs of text i are called name.i, unless they are pooled into one array.
Result<NamedTensors> run_texts(cpu::Runner& runner, const Program& program, const Function& function,
                               const RunOptions& options) {
  POM_REQUIRE(options.inputs->empty() && !options.random,
              "--text gives the inputs; --inputs and --random do not go with it");
  auto tokenizer = POM_TRY(tokenizer_for(program, options.tokenizer));
  NamedTensors outputs;
  std::vector<double> embeddings;
  std::int64_t width = 0;
  for (std::size_t i = 0; i < options.text->size(); ++i) {
    const std::string& text = (*options.text)[i];
    NamedTensors given = POM_TRY(text_inputs(*tokenizer, text, program, function));
    NamedTensors found = POM_TRY_IN(call(runner, program, function, given), "text {}", i + 1);
    if (options.pool->empty()) {
      for (auto& [name, tensor] : found)
        outputs[options.text->size() > 1 ? fmt::format("{}.{}", name, i) : name] = tensor;
      continue;
    }
    Tensor embedding = POM_TRY(pooled(options.pool, found, given));
    width = std::int64_t(embedding.count());
    for (double v : embedding.numbers()) embeddings.push_back(v);
  }
  if (!options.pool->empty())
    outputs["embedding"] = Tensor::from_numbers(DType::fp32, {std::int64_t(options.text->size()), width}, embeddings);
  return outputs;
}

}  // namespace

Result<RunReport> run(const std::string& path, const RunOptions& options) {
  for (const std::string& output : *options.outputs) POM_TRY(check_place(output, options.force));
  RunReport report;
  Stopwatch loading;
  Model model = POM_TRY(open_model(path));
  Function& function = *POM_TRY(function_of(model.program, options.function));
  report.features = features_by_source_name(model.program, function);
  cpu::RunOptions how{.rounding = options.strict ? cpu::Rounding::strict : cpu::Rounding::fast,
                      .accumulate_half = POM_TRY(accumulates_half(options.accumulate))};
  if (!options.text->empty()) {
    POM_REQUIRE(options.all_tensors->empty() && options.state_in->empty() && options.state_out->empty(),
                "--text does not go with --all-tensors, --state-in or --state-out");
    cpu::Runner runner(function, how);
    report.load_seconds = loading.seconds();
    Stopwatch running;
    report.outputs = POM_TRY(run_texts(runner, model.program, function, options));
    report.run_seconds = running.seconds();
    for (const std::string& output : *options.outputs)
      POM_TRY(write_tensors(output, report.outputs, report.features, options.force));
    return report;
  }
  NamedTensors given = POM_TRY(inputs_of(options, model.program, function));
  std::size_t own_results = function.body.results().size();
  if (!options.all_tensors->empty()) expose_all_tensors(function);
  cpu::Runner runner(function, how);
  if (!options.state_in->empty()) POM_TRY(load_states(runner, function, options.state_in));
  report.load_seconds = loading.seconds();

  Stopwatch running;
  NamedTensors inputs = POM_TRY(program_inputs(model.program, function, given));
  Tensors results = POM_TRY(runner.run(inputs));
  report.run_seconds = running.seconds();
  if (!options.all_tensors->empty()) {
    NamedTensors all = inputs;
    for (std::size_t i = 0; i < results.size(); ++i)
      if (!results[i].is_dictionary()) all[function.body.results()[i].name()] = results[i];
    POM_TRY(write_tensors(options.all_tensors, all, {}, options.force));
    Values own(function.body.results().begin(), function.body.results().begin() + std::ptrdiff_t(own_results));
    function.body.set_results(std::move(own));
    results.resize(own_results);
  }
  report.outputs = source_outputs(model.program, function, std::move(results));
  for (const std::string& output : *options.outputs)
    POM_TRY(write_tensors(output, report.outputs, report.features, options.force));
  if (!options.state_out->empty()) POM_TRY(save_states(runner, function, options.state_out, options.force));
  return report;
}

}  // namespace pomona::api
